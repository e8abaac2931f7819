"""Palate's ComfyUI pack. Nothing of ComfyUI is imported here, so that `comfy_nodes.header` can be used anywhere."""
