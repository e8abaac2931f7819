"""HunyuanDiT: a transformer that predicts v, bilingual CLIP and mT5 text, the picture's size as a condition."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_2d_rotary_pos_embed
from diffusers.pipelines.hunyuandit.pipeline_hunyuandit import get_resize_crop_region_for_grid
from torch import Tensor

from training.bases._diffusers import SharedSettings, hub
from training.bases._lora_layers import ATTENTION, FEED_FORWARD, layers
from training.bases._pictures import DdpmPictures
from training.contracts import Conditioning

TRAINED_SIZE = 1024  # pixels a side: what the pipeline calls the original size of every picture
ROPE_SIZE = 512  # pixels a side: the grid that rope positions are stretched to


class HunyuanDit(DdpmPictures):
    """HunyuanDiT 1.0 to 1.2 (diffusers HunyuanDiTPipeline): v or noise, 4 latent channels."""

    class Settings(SharedSettings):
        """HunyuanDiT settings."""

        weights: str = hub("Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers")

    pipeline = "HunyuanDiTPipeline"
    reader = "tokenizer_2"
    longest = 256
    lora_layers = layers(ATTENTION, *FEED_FORWARD, "skip_linear")
    lora_family = ("hunyuan_dit", "hunyuan-dit", "hunyuan_dit")

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """States of CLIP [B, 77, D] and mT5 [B, 256, E], each with its mask."""
        conditioning = {}
        for index, name in enumerate(("clip", "t5")):
            states, _, mask, _ = self.text.encode_prompt(
                prompts, do_classifier_free_guidance=False, text_encoder_index=index
            )
            conditioning |= {name: states, f"{name}_mask": mask}
        return conditioning

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """v or noise, without the variance that the network says too; guidance is applied by whoever calls."""
        dtype, size = self.network.dtype, (self.settings.height, self.settings.width)
        sizes = torch.tensor([TRAINED_SIZE, TRAINED_SIZE, *size, 0, 0], device=x_t.device, dtype=dtype)
        output = self.network(
            x_t.to(dtype),
            timestep.to(dtype),
            encoder_hidden_states=conditioning["clip"].to(dtype),
            text_embedding_mask=conditioning["clip_mask"],
            encoder_hidden_states_t5=conditioning["t5"].to(dtype),
            text_embedding_mask_t5=conditioning["t5_mask"],
            image_meta_size=sizes.repeat(len(x_t), 1),
            style=torch.zeros(len(x_t), dtype=torch.long, device=x_t.device),
            image_rotary_emb=self._positions(x_t),
            return_dict=False,
        )[0]
        return output[:, : x_t.shape[1]]

    def _positions(self, x_t: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of the rope angles, [tokens, D] each."""
        patch = self.network.config.patch_size
        grid = (x_t.shape[-2] // patch, x_t.shape[-1] // patch)
        region = get_resize_crop_region_for_grid(grid, ROPE_SIZE // self.pipe.vae_scale_factor // patch)
        width = self.network.inner_dim // self.network.num_heads
        return get_2d_rotary_pos_embed(width, region, grid, device=x_t.device, output_type="pt")  # type: ignore[return-value]
