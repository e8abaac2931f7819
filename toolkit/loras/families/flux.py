"""FLUX.1: ComfyUI takes diffusers' own names; the original network fuses qkv, and in single blocks the MLP too."""

from toolkit.loras.family import KOHYA_ORIGINAL, ONETRAINER, TRANSFORMER, Family
from toolkit.loras.names import Renaming, fused, renamed, swapped

DOUBLE = {
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
OUTER = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
}
ATTENTION = "transformer_blocks.*.attn."
SINGLE = "single_transformer_blocks.*."
DOUBLE_QKV = (
    *fused("double_blocks.*.img_attn.qkv", [f"{ATTENTION}to_{part}" for part in "qkv"]),
    *fused("double_blocks.*.txt_attn.qkv", [f"{ATTENTION}add_{part}_proj" for part in "qkv"]),
)
RULES = (
    *DOUBLE_QKV,
    *renamed(DOUBLE, diffusers="transformer_blocks.*.", original="double_blocks.*."),
    *fused(
        "single_blocks.*.linear1",
        [f"{SINGLE}attn.to_q", f"{SINGLE}attn.to_k", f"{SINGLE}attn.to_v", f"{SINGLE}proj_mlp"],
        sizes=(1, 1, 1, 4),
    ),
    *renamed({"proj_out": "linear2", "norm.linear": "modulation.lin"}, diffusers=SINGLE, original="single_blocks.*."),
    *renamed(OUTER),
    *swapped("norm_out.linear", "final_layer.adaLN_modulation.1"),
)
FAMILY = Family(
    name="flux",
    title="FLUX.1",
    architecture="flux-1-dev",
    base_model_version="flux1",
    renaming=Renaming(RULES),
    diffusers=TRANSFORMER,
    comfyui=TRANSFORMER,
    diffusers_reads={
        KOHYA_ORIGINAL: "|".join([*OUTER, "norm_out.linear"]),
        ONETRAINER: r".*(norm|norm1|norm1_context)\.linear|.*\.ff.*|single_.*proj_(mlp|out)",
    },
    also_known_as=frozenset({"flux-1-schnell", "flux1-dev", "flux1-schnell"}),
    reads_alpha=False,
)
