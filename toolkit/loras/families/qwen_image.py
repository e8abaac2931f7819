"""Qwen-Image: the original network has diffusers' names, and both loaders take them without an alpha."""

from toolkit.loras.family import COMFYUI_DIFFUSERS, KOHYA, TRANSFORMER, Family
from toolkit.loras.names import Renaming, same

BLOCK = (
    *(f"attn.to_{part}" for part in ("q", "k", "v", "out.0", "add_out")),
    *(f"attn.add_{part}_proj" for part in "qkv"),
    *(f"{side}_{layer}" for side in ("img", "txt") for layer in ("mod.1", "mlp.net.0.proj", "mlp.net.2")),
)
OUTER = ("img_in", "txt_in", "norm_out.linear", "proj_out")
TIME = tuple(f"time_text_embed.timestep_embedder.linear_{n}" for n in (1, 2))
FAMILY = Family(
    name="qwen_image",
    title="Qwen-Image",
    architecture="Qwen-Image",
    base_model_version="qwen_image",
    renaming=Renaming(same(*(f"transformer_blocks.*.{layer}" for layer in BLOCK), *OUTER, *TIME)),
    diffusers=TRANSFORMER,
    comfyui=TRANSFORMER,
    diffusers_reads={COMFYUI_DIFFUSERS: "", KOHYA: ""},
    reads_alpha=False,
)
