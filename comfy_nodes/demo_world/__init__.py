"""Palate's embedded model inside ComfyUI. Nothing of ComfyUI is imported here."""
