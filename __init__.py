"""A clone of this repository in ComfyUI's custom_nodes gives nodes and web files, and imports nothing else."""

if __package__:  # pytest imports this file, too, and some folder names are no package's
    from .comfy_nodes import comfy_entrypoint as comfy_entrypoint

WEB_DIRECTORY = "./comfy_nodes/web"
