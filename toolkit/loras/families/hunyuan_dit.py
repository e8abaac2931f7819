"""HunyuanDiT: diffusers has no LoRA loader for it (ours: `training.lora_loading`); ComfyUI wants the original names."""

from toolkit.loras.family import COMFYUI, PEFT_ORIGINAL, TRANSFORMER, Family
from toolkit.loras.names import Renaming, fused, renamed, swapped

BLOCK = {
    "attn1.to_out.0": "attn1.out_proj",
    "attn2.to_q": "attn2.q_proj",
    "attn2.to_out.0": "attn2.out_proj",
    "norm1.linear": "default_modulation.1",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
    "skip_linear": "skip_linear",
}
OUTER = {
    "pos_embed.proj": "x_embedder.proj",
    "proj_out": "final_layer.linear",
    "text_embedder.linear_1": "mlp_t5.0",
    "text_embedder.linear_2": "mlp_t5.2",
    "time_extra_emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_extra_emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_extra_emb.extra_embedder.linear_1": "extra_embedder.0",
    "time_extra_emb.extra_embedder.linear_2": "extra_embedder.2",
    **{f"time_extra_emb.pooler.{part}_proj": f"pooler.{part}_proj" for part in "qkvc"},
}
RULES = (
    *fused("blocks.*.attn1.Wqkv", [f"blocks.*.attn1.to_{part}" for part in "qkv"]),
    *fused("blocks.*.attn2.kv_proj", [f"blocks.*.attn2.to_{part}" for part in "kv"]),
    *renamed(BLOCK, diffusers="blocks.*.", original="blocks.*."),
    *renamed(OUTER),
    *swapped("norm_out.linear", "final_layer.adaLN_modulation.1"),
)
FAMILY = Family(
    name="hunyuan_dit",
    title="HunyuanDiT",
    architecture="hunyuan-dit",
    base_model_version="hunyuan_dit",
    renaming=Renaming(RULES),
    diffusers=TRANSFORMER,
    comfyui=PEFT_ORIGINAL,
    diffusers_reads={COMFYUI: "", PEFT_ORIGINAL: ""},
    also_known_as=frozenset({"hydit"}),
)
