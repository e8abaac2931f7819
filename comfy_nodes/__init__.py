"""Palate's ComfyUI pack. Nothing of ComfyUI is imported here, so that `comfy_nodes.header` can be used anywhere."""


async def comfy_entrypoint():
    """What ComfyUI calls for the nodes."""
    from comfy_api.latest import ComfyExtension

    from .demo_world.latent import DemoWorldLatent
    from .demo_world.loader import DemoWorldLoader

    class Palate(ComfyExtension):
        async def get_node_list(self):
            return [DemoWorldLoader, DemoWorldLatent]

    return Palate()
