"""CogVideoX: diffusers' names for both; ComfyUI's wrapper pack hands the file to diffusers."""

from toolkit.loras.family import TRANSFORMER, Family
from toolkit.loras.names import Renaming, same

BLOCK = (
    *(f"attn1.to_{part}" for part in ("q", "k", "v", "out.0")),
    *("norm1.linear", "norm2.linear", "ff.net.0.proj", "ff.net.2"),
)
OUTER = (
    *("patch_embed.proj", "patch_embed.text_proj", "norm_out.linear", "proj_out", "ofs_embedding.linear_1"),
    *("ofs_embedding.linear_2", "time_embedding.linear_1", "time_embedding.linear_2"),
)
FAMILY = Family(
    name="cogvideox",
    title="CogVideoX",
    architecture="cogvideox",
    base_model_version="cogvideox",
    renaming=Renaming(same(*(f"transformer_blocks.*.{layer}" for layer in BLOCK), *OUTER)),
    diffusers=TRANSFORMER,
    comfyui=TRANSFORMER,
    reads_alpha=False,
)
