"""Wan 2.1 and 2.2: ComfyUI reads the original names only, and diffusers reads those too, alpha included."""

from toolkit.loras.family import COMFYUI, KOHYA_ORIGINAL, TRANSFORMER, Family
from toolkit.loras.names import Renaming, renamed

PARTS = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
BLOCK = {
    **{f"attn1.{ours}": f"self_attn.{theirs}" for ours, theirs in PARTS.items()},
    **{f"attn2.{ours}": f"cross_attn.{theirs}" for ours, theirs in PARTS.items()},
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
CONDITION = {
    "time_embedder.linear_1": "time_embedding.0",
    "time_embedder.linear_2": "time_embedding.2",
    "time_proj": "time_projection.1",
    "text_embedder.linear_1": "text_embedding.0",
    "text_embedder.linear_2": "text_embedding.2",
    "image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "image_embedder.ff.net.2": "img_emb.proj.3",
}
RULES = (
    *renamed(BLOCK, diffusers="blocks.*.", original="blocks.*."),
    *renamed(CONDITION, diffusers="condition_embedder."),
    *renamed({"proj_out": "head.head", "patch_embedding": "patch_embedding"}),
)
FAMILY = Family(
    name="wan",
    title="Wan",
    architecture="wan2.1",
    base_model_version="wan2.1",
    renaming=Renaming(RULES),
    diffusers=TRANSFORMER,
    comfyui=COMFYUI,
    diffusers_reads={COMFYUI: "patch_embedding", KOHYA_ORIGINAL: r"condition_embedder\..*|proj_out|patch_embedding"},
    also_known_as=frozenset({"wan", "wan2.2", "wan21", "wan22"}),
)
