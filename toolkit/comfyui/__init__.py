"""What ComfyUI opens: graphs as code, how each family is drawn there, and the examples that ship with the nodes."""
