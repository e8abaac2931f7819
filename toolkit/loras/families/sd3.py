"""Stable Diffusion 3 and 3.5: ComfyUI takes diffusers' own names; the original network fuses qkv.

The modulation of the last block's text side is stored in another order than that of the other blocks, so the original
name of this layer is not mapped.
"""

from toolkit.loras.family import TRANSFORMER, Family
from toolkit.loras.names import Renaming, fused, nameless, renamed, swapped

BLOCK = "transformer_blocks.*."
JOINT = {
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
OUTER = {
    "context_embedder": "context_embedder",
    "pos_embed.proj": "x_embedder.proj",
    "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
}
RULES = (
    *fused("joint_blocks.*.x_block.attn.qkv", [f"{BLOCK}attn.to_{part}" for part in "qkv"]),
    *fused("joint_blocks.*.context_block.attn.qkv", [f"{BLOCK}attn.add_{part}_proj" for part in "qkv"]),
    *fused("joint_blocks.*.x_block.attn2.qkv", [f"{BLOCK}attn2.to_{part}" for part in "qkv"]),
    *renamed(JOINT, diffusers=BLOCK, original="joint_blocks.*."),
    *nameless(f"{BLOCK}norm1_context.linear"),
    *renamed(OUTER),
    *swapped("norm_out.linear", "final_layer.adaLN_modulation.1"),
)
FAMILY = Family(
    name="sd3",
    title="Stable Diffusion 3 and 3.5",
    architecture="stable-diffusion-3-medium",
    base_model_version="sd3",
    renaming=Renaming(RULES),
    diffusers=TRANSFORMER,
    comfyui=TRANSFORMER,
    also_known_as=frozenset(
        {"stable-diffusion-3", "stable-diffusion-3.5-medium", "stable-diffusion-3.5-large", "sd3m"}
    ),
    reads_alpha=False,
)
