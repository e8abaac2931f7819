"""Pure functions of tensors and text; ComfyUI is not imported below here."""
