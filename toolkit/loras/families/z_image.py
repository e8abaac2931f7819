"""Z-Image: diffusers' names under `diffusion_model.`, which both loaders read; the original network fuses qkv."""

from toolkit.loras.family import COMFYUI_DIFFUSERS, KOHYA, TRANSFORMER, Family
from toolkit.loras.names import Renaming, Rule, fused, renamed, same

BLOCK_SAME = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0")
OUTER = {
    "all_x_embedder.2-1": "x_embedder",
    "all_final_layer.2-1.linear": "final_layer.linear",
    "all_final_layer.2-1.adaLN_modulation.1": "final_layer.adaLN_modulation.1",
}


def _block(block: str) -> tuple[Rule, ...]:
    attention = f"{block}.*.attention."
    return (
        *fused(f"{attention}qkv", [f"{attention}to_{part}" for part in "qkv"]),
        *renamed({f"{attention}to_out.0": f"{attention}out"}),
        *same(*(f"{block}.*.{layer}" for layer in BLOCK_SAME)),
    )


RULES = (
    *_block("layers"),
    *_block("noise_refiner"),
    *_block("context_refiner"),
    *renamed(OUTER),
    *same("cap_embedder.1", "t_embedder.mlp.0", "t_embedder.mlp.2"),
)
FAMILY = Family(
    name="z_image",
    title="Z-Image",
    architecture="Z-Image",
    base_model_version="zimage",
    renaming=Renaming(RULES),
    diffusers=TRANSFORMER,
    comfyui=COMFYUI_DIFFUSERS,
    diffusers_reads={COMFYUI_DIFFUSERS: "", KOHYA: ""},
    also_known_as=frozenset({"z_image"}),
    reads_alpha=False,
)
