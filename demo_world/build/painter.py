"""Draw with the shipped weights: encode prompts, integrate the flow, decode. Also the packing of latents."""

from itertools import pairwise
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor
from transformers import CLIPTextModel

from demo_world.build.common import WEIGHTS
from demo_world.build.text_encoder import load_tokenizer, tokenize

SIDE = 16


def pack(latents: Tensor) -> Tensor:
    """[B,4,16,16] to [B,64,16]: 2 x 2 neighbours become one token."""
    batch, channels, height, width = latents.shape
    blocks = latents.view(batch, channels, height // 2, 2, width // 2, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(batch, height * width // 4, channels * 4)


def unpack(tokens: Tensor) -> Tensor:
    """The inverse of `pack`."""
    batch, half = len(tokens), SIDE // 2
    return tokens.view(batch, half, half, 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(batch, 4, SIDE, SIDE)


def image_ids() -> Tensor:
    """Positions [64,3]: (0, row, column) of every image token."""
    half = SIDE // 2
    places = torch.zeros(half, half, 3)
    places[..., 1] = torch.arange(half)[:, None]
    places[..., 2] = torch.arange(half)[None, :]
    return places.reshape(-1, 3)


def load_vae() -> AutoencoderKL:
    """The shipped autoencoder in fp32."""
    return AutoencoderKL.from_pretrained(WEIGHTS / "vae", torch_dtype=torch.float32).eval().requires_grad_(False)


def to_latents(vae: Any, images: Tensor) -> Tensor:
    """Pictures [B,3,64,64] in [0,1] to normalised latents [B,4,16,16]."""
    mean = vae.encode(images * 2 - 1).latent_dist.mean
    return (mean - vae.config.shift_factor) * vae.config.scaling_factor


def to_images(vae: Any, latents: Tensor) -> Tensor:
    """The way back, clamped to [0,1]."""
    plain = latents / vae.config.scaling_factor + vae.config.shift_factor
    return (vae.decode(plain).sample / 2 + 0.5).clamp(0, 1)


class Painter:
    """Text encoder, generator and autoencoder behind two calls: `encode` and `paint`."""

    def __init__(self) -> None:
        self.tokenizer = load_tokenizer()
        self.text_encoder = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder", dtype=torch.float32).eval()
        self.known: dict[str, tuple[Tensor, Tensor]] = {}
        self._transformer: FluxTransformer2DModel | None = None
        self._vae: AutoencoderKL | None = None

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Text states [B,20,128] and pooled text [B,128]; remembers what it has encoded."""
        new = sorted({prompt for prompt in prompts if prompt not in self.known})
        if new:
            output = self.text_encoder(tokenize(self.tokenizer, new))
            for prompt, states, pooled in zip(new, output.last_hidden_state, output.pooler_output, strict=True):
                self.known[prompt] = states.bfloat16(), pooled.clone()
        states, pooled = zip(*(self.known[prompt] for prompt in prompts), strict=True)
        return torch.stack(states).float(), torch.stack(pooled)

    def load(self) -> tuple[FluxTransformer2DModel, AutoencoderKL]:
        """Generator and autoencoder, read on first use."""
        if self._transformer is None or self._vae is None:
            transformer = FluxTransformer2DModel.from_pretrained(WEIGHTS / "transformer", torch_dtype=torch.float32)
            self._transformer, self._vae = transformer.eval().requires_grad_(False), load_vae()
        return self._transformer, self._vae

    @torch.no_grad()
    def paint(self, prompts: list[str], seed: int = 0, steps: int = 20, guidance: float = 3.0) -> Tensor:
        """Pictures [B,3,64,64] in [0,1] by Euler steps; noise depends on the seed and the place in the list."""
        transformer, vae = self.load()
        tokens = pack(torch.randn(len(prompts), 4, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)))
        states, pooled = self.encode(prompts + [""] * len(prompts))
        places, text_places = image_ids(), torch.zeros(20, 3)
        grid = torch.linspace(1, 0, steps + 1)
        for sigma, following in pairwise(grid):
            with torch.autocast("cpu", torch.bfloat16):
                velocity = transformer(
                    tokens.repeat(2, 1, 1), states, pooled, sigma.expand(2 * len(prompts)),
                    img_ids=places, txt_ids=text_places, return_dict=False,
                )[0]  # fmt: skip
            guided, free = velocity.float().chunk(2)
            tokens = tokens + (following - sigma) * (free + guidance * (guided - free))
        return to_images(vae, unpack(tokens))
