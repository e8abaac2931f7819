"""Training pictures that went through the autoencoder with small flaws: scorers learn how drawn ones look."""

import random

import torch
from torch import Tensor

from demo_world.build import common, pictures
from demo_world.build.data import SEED, World
from demo_world.build.painter import load_vae, to_images, to_latents

VERSIONS = 3
FLAW = 0.3  # strongest deviation of the noise added to latents: drawn pictures are never quite right either
CACHE = common.WORK / "decoded.pt"


@torch.no_grad()
def decoded_pictures(world: World) -> dict[tuple[int, int], list[tuple[Tensor, str | None]]]:
    """For each training pair three decoded pictures (uint8 [3,64,64]) with their background colour names."""
    if CACHE.exists():
        return torch.load(CACHE)
    rng, vae, pairs = random.Random(SEED + 4), load_vae(), world.pairs("train")
    generator = torch.Generator().manual_seed(SEED + 4)
    content: dict[tuple[int, int], list[tuple[Tensor, str | None]]] = {pair: [] for pair in pairs}
    for start in range(0, len(pairs), 32):
        chosen = pairs[start : start + 32] * VERSIONS
        sprites = torch.stack([world.sprites[subject, style] for subject, style in chosen])
        sprites = pictures.place(sprites, rng, (0.9, 1.05), 2)
        colours = [pictures.pick_colour(style, rng) for _, style in chosen]
        images = pictures.compose(sprites, [pictures.background(colour, rng) for colour in colours])
        latents = to_latents(vae, images)
        flaws = FLAW * torch.rand(len(images), 1, 1, 1, generator=generator)
        latents = latents + flaws * torch.randn(latents.shape, generator=generator)
        output = (to_images(vae, latents) * 255).round().byte()
        for pair, image, colour in zip(chosen, output, colours, strict=True):
            content[pair].append((image.clone(), colour))
    common.save_atomically(CACHE, content)
    return content
