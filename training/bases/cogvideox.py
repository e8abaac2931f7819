"""CogVideoX: text to video by v-prediction down to pure noise, T5 text, one transformer over text and frames."""

from __future__ import annotations

from diffusers import CogVideoXDDIMScheduler
from pydantic import Field
from torch import Tensor

from toolkit.errors import UsageError
from training.bases._diffusers import ddpm_schedule, hub
from training.bases._lora_layers import ATTENTION, FEED_FORWARD, layers
from training.bases._video import VideoBase, VideoSettings
from training.contracts import Conditioning


class CogVideoX(VideoBase):
    """CogVideoX-2B and -5B (diffusers CogVideoXPipeline): v, 16 latent channels, zero terminal SNR, true guidance."""

    class Settings(VideoSettings):
        """CogVideoX settings."""

        frames_at_a_time = 8  # the VAE decodes latent frames in pairs: a lone pair would come out one frame too long

        weights: str = hub("zai-org/CogVideoX-2b")
        frames: int = Field(default=49, ge=1, le=1025, description="Frames of a clip; the first one stands alone.")
        width: int = Field(default=720, ge=16, le=4096, multiple_of=16, description="Picture width in pixels.")
        height: int = Field(default=480, ge=16, le=4096, multiple_of=16, description="Picture height in pixels.")

    pipeline = "CogVideoXPipeline"
    frames_per_second = 8
    longest = 226
    lora_layers = layers(ATTENTION, *FEED_FORWARD)
    lora_family = ("cogvideox", "cogvideox", "cogvideox")

    def __init__(self, settings: VideoSettings) -> None:
        """Load; levels come from the scheduler's config. Raises UsageError for CogVideoX 1.5."""
        super().__init__(settings)
        network = self.network.config
        if network.patch_size_t is not None:
            raise UsageError(
                f"`{self.lora_facts.base_name}` is a CogVideoX 1.5, which joins frames before the network.",
                action="Use CogVideoX-2b or CogVideoX-5b as `base.weights`.",
            )
        self.max_tokens = network.max_text_seq_length
        # Where steps do not divide 1000, diffusers lands one timestep beside the one it feeds next; we land on it.
        config = self.pipe.scheduler.config
        self.parametrisation = config.prediction_type
        self.schedule = ddpm_schedule(CogVideoXDDIMScheduler, config)

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """T5 states [B, T, D], padding included: the network was trained with it."""
        states, _ = self.text.encode_prompt(
            prompts, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
        )
        return {"states": states}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """v; the network takes frames before channels. The 5B model turns positions, the 2B model adds them itself."""
        rope = None
        if self.network.config.use_rotary_positional_embeddings:
            rope = self.pipe._prepare_rotary_positional_embeddings(
                self.settings.height, self.settings.width, x_t.shape[2], x_t.device
            )
        dtype = self.network.dtype
        output = self.network(
            x_t.to(dtype).transpose(1, 2),
            encoder_hidden_states=conditioning["states"].to(dtype),
            timestep=timestep,
            image_rotary_emb=rope,
            return_dict=False,
        )[0]
        return output.transpose(1, 2)
