"""ComfyUI's MODEL, CLIP and VAE from a Demo World file, so that core's own nodes sample, patch, encode and decode.

All weights are float32: the file holds the float16 weights that ship, and training used them in float32 too.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import comfy.clip_model
import comfy.latent_formats
import comfy.model_base
import comfy.model_detection
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from .autoencoder import Autoencoder
from .header import AUTOENCODER, NETWORK, TEXT_ENCODER, DemoWorldHeader, read

Weights = dict[str, Tensor]


def load(path: str) -> tuple[Any, Any, DemoVae]:
    """(MODEL, CLIP, VAE). Raises ValueError with a sentence for a file that is none of ours."""
    with safe_open(path, "pt") as file:
        header = read(file.metadata())
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return (
        model(header, _part(weights, NETWORK)),
        clip(header, _part(weights, TEXT_ENCODER)),
        DemoVae(header, _part(weights, AUTOENCODER)),
    )


class DemoLatents(comfy.latent_formats.LatentFormat):
    """The network sees (latents - shift) · scale."""

    def __init__(self, scale: float, shift: float, channels: int) -> None:
        self.scale_factor, self.shift_factor, self.latent_channels = scale, shift, channels

    def process_in(self, latent: Tensor) -> Tensor:
        """As the autoencoder gives them → as the network sees them."""
        return (latent - self.shift_factor) * self.scale_factor

    def process_out(self, latent: Tensor) -> Tensor:
        """Inverse of `process_in`."""
        return latent / self.scale_factor + self.shift_factor


class DemoWorld(comfy.model_base.Flux):
    """A class of its own, so that LoRAs of FLUX.1 can be told from LoRAs of the demo."""


def model(header: DemoWorldHeader, weights: Weights) -> Any:
    """ComfyUI's own FLUX network at the demo's size, sampled as schnell is: sigma is the time, and it is not shifted.

    What this release wants to know beyond our sizes, it finds out from the weights as for any FLUX file.
    """
    found = comfy.model_detection.detect_unet_config(weights, "")
    config = comfy.supported_models.FluxSchnell({**found, **header.network})
    config.set_inference_dtype(torch.float32, None)
    config.latent_format = DemoLatents(header.scaling_factor, header.shift_factor, header.autoencoder["latents"])
    offload = comfy.model_management.unet_offload_device()
    network = DemoWorld(config, model_type=comfy.model_base.ModelType.FLOW, device=offload)
    network.diffusion_model.load_state_dict(config.process_unet_state_dict(weights))
    return comfy.model_patcher.ModelPatcher(
        network, load_device=comfy.model_management.get_torch_device(), offload_device=offload
    )


class FirstWindow(comfy.sd1_clip.SDTokenizer):
    """What stands beyond the encoder's window is cut off, as in training; core would encode further windows."""

    def __init__(self, content: str, window: int, width: int, **_: Any) -> None:
        super().__init__(max_length=window, embedding_size=width, tokenizer_class=TextTokenizer(content))
        self.max_word_length = 1  # core's word for: cut at the window's edge, wherever it falls

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **options: Any) -> Any:
        """Core's, its first window."""
        return super().tokenize_with_weights(text, return_word_ids, **options)[:1]


class TextTokenizer:
    """A tokenizer from the JSON inside the file, with the methods that core calls of transformers' class."""

    def __init__(self, content: str) -> None:
        self._tokenizer = Tokenizer.from_str(content)

    def from_pretrained(self, _path: str) -> TextTokenizer:
        """Itself: core names a folder, and nothing is read from it."""
        return self

    def __call__(self, text: str) -> dict[str, list[int]]:
        """Ids from start token to end token."""
        return {"input_ids": self._tokenizer.encode(text).ids}

    def get_vocab(self) -> dict[str, int]:
        """Token → id."""
        return self._tokenizer.get_vocab()


class TextModel(comfy.clip_model.CLIPTextModel):
    """ComfyUI's CLIP text encoder, whose vocabulary would always be OpenAI's, with the demo's."""

    def __init__(self, config: dict[str, Any], dtype: Any, device: Any, operations: Any) -> None:
        super().__init__(config, dtype, device, operations)
        size = config["vocab_size"], config["hidden_size"]
        self.set_input_embeddings(operations.Embedding(*size, dtype=dtype, device=device))


def clip(header: DemoWorldHeader, weights: Weights) -> Any:
    """Core's CLIP around the demo's encoder and tokenizer. The pooled state is not projected."""
    config = header.text_encoder
    window, width = config["max_position_embeddings"], config["hidden_size"]
    special = {"start": config["bos_token_id"], "end": config["eos_token_id"], "pad": config["pad_token_id"]}
    encoder = partial(
        comfy.sd1_clip.SDClipModel,
        max_length=window,
        model_class=TextModel,
        textmodel_json_config=dict(config),
        special_tokens=special,
    )
    target = comfy.supported_models_base.ClipTarget(
        partial(comfy.sd1_clip.SD1Tokenizer, tokenizer=partial(FirstWindow, header.tokenizer, window, width)),
        partial(comfy.sd1_clip.SD1ClipModel, clip_model=encoder),
    )
    made = comfy.sd.CLIP(target, model_options={"dtype": torch.float32})
    made.cond_stage_model.clip_l.transformer.load_state_dict({**weights, "text_projection.weight": torch.eye(width)})
    return made


class DemoVae:
    """What core's nodes ask of a VAE. A picture of 64 x 64 needs no tiles."""

    def __init__(self, header: DemoWorldHeader, weights: Weights) -> None:
        self.first_stage_model = Autoencoder(**header.autoencoder).eval().requires_grad_(False)
        self.first_stage_model.load_state_dict(weights)
        self.latent_channels, self.latent_dim, self.output_channels = self.first_stage_model.latents, 2, 3
        self.downscale_ratio = self.upscale_ratio = self.first_stage_model.factor
        self.vae_dtype, self.device = torch.float32, comfy.model_management.vae_device()
        self.patcher = comfy.model_patcher.ModelPatcher(
            self.first_stage_model,
            load_device=self.device,
            offload_device=comfy.model_management.vae_offload_device(),
        )

    def decode(self, samples: Tensor, **_: Any) -> Tensor:
        """Latents [B, 4, h, w] → IMAGE [B, 4h, 4w, 3] in [0, 1]."""
        comfy.model_management.load_models_gpu([self.patcher])
        pictures = self.first_stage_model.decode(samples.to(self.device, torch.float32))
        return pictures.to(comfy.model_management.intermediate_device()).movedim(1, -1)

    def encode(self, pixels: Tensor, **_: Any) -> Tensor:
        """IMAGE [B, h, w, 3 or 4] → latents [B, 4, h/4, w/4]; what does not fill a latent at the far edges is cut."""
        comfy.model_management.load_models_gpu([self.patcher])
        height, width = (size - size % self.downscale_ratio for size in pixels.shape[1:3])
        pictures = pixels[:, :height, :width, :3].movedim(-1, 1).to(self.device, torch.float32)
        return self.first_stage_model.encode(pictures).to(comfy.model_management.intermediate_device())

    decode_tiled, encode_tiled = decode, encode

    def spacial_compression_decode(self) -> int:
        """Pixels per latent; the spelling is core's."""
        return self.upscale_ratio

    def spacial_compression_encode(self) -> int:
        """Pixels per latent."""
        return self.downscale_ratio

    def get_sd(self) -> Weights:
        """The weights, for core's Save VAE."""
        return self.first_stage_model.state_dict()


def _part(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
