"""FLUX.2: the original names for ComfyUI, which every release reads; diffusers keeps the single blocks fused too."""

from toolkit.loras.families.flux import DOUBLE_QKV
from toolkit.loras.family import COMFYUI, TRANSFORMER, Family
from toolkit.loras.names import Renaming, renamed, swapped

DOUBLE = {
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
SINGLE = {"attn.to_qkv_mlp_proj": "linear1", "attn.to_out": "linear2"}
OUTER = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "proj_out": "final_layer.linear",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
}
RULES = (
    *DOUBLE_QKV,
    *renamed(DOUBLE, diffusers="transformer_blocks.*.", original="double_blocks.*."),
    *renamed(SINGLE, diffusers="single_transformer_blocks.*.", original="single_blocks.*."),
    *renamed(OUTER),
    *swapped("norm_out.linear", "final_layer.adaLN_modulation.1"),
)
FAMILY = Family(
    name="flux2",
    title="FLUX.2",
    architecture="Flux.2-dev",
    base_model_version="flux2",
    renaming=Renaming(RULES),
    diffusers=TRANSFORMER,
    comfyui=COMFYUI,
    diffusers_reads={COMFYUI: r"norm_out\.linear"},
    also_known_as=frozenset({"Flux.2-klein-4b", "Flux.2-klein-9b", "flux2_klein_4b", "flux2_klein_9b"}),
    reads_alpha=False,
)
