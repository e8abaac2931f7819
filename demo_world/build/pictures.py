"""Sprites to training pictures: backgrounds, placement and real degradations. Pictures are [B,3,64,64] in [0,1]."""

import random

import torch
from torch.nn import functional

from demo_world.build.captions import COLOURS
from demo_world.build.data import STYLES

LINE = STYLES.index("line art")


def pick_colour(style: int, rng: random.Random, white: float = 0.4) -> str | None:
    """A background colour name, None for white; black never goes under line art."""
    if rng.random() < white:
        return None
    return rng.choice([colour for colour in COLOURS if not (style == LINE and colour == "black")])


def background(colour: str | None, rng: random.Random) -> list[float]:
    """A jittered version of the named colour, or near-white."""
    if colour is None:
        return [1 - rng.random() * 0.03] * 3
    shade = rng.gauss(0, 9)
    return [min(255.0, max(0.0, value + shade + rng.gauss(0, 7))) / 255 for value in COLOURS[colour]]


def place(sprites: torch.Tensor, rng: random.Random, scale: tuple[float, float], shift: float) -> torch.Tensor:
    """Scale and move premultiplied RGBA sprites [B,4,64,64]; `shift` in pixels."""
    grids = []
    for _ in range(len(sprites)):
        zoom = 1 / rng.uniform(*scale)
        x, y = (rng.uniform(-shift, shift) / 32 for _ in range(2))
        grids.append([[zoom, 0.0, x], [0.0, zoom, y]])
    grid = functional.affine_grid(torch.tensor(grids), list(sprites.shape), align_corners=False)
    return functional.grid_sample(sprites, grid, align_corners=False)


def compose(sprites: torch.Tensor, colours: list[list[float]]) -> torch.Tensor:
    """Lay premultiplied sprites [B,4,64,64] over flat colours."""
    under = torch.tensor(colours, dtype=sprites.dtype)[:, :, None, None]
    return (sprites[:, :3] + (1 - sprites[:, 3:]) * under).clamp(0, 1)


def roughen(images: torch.Tensor, rng: random.Random, generator: torch.Generator) -> torch.Tensor:
    """Mild blur, noise and contrast on a share of the pictures, so that a scorer does not rely on exact pixels."""
    softened = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount, noise, gain = torch.zeros(3, len(images), 1, 1, 1)
    for place_ in range(len(images)):
        amount[place_] = rng.uniform(0, 0.6) if rng.random() < 0.3 else 0.0
        noise[place_] = rng.uniform(0, 0.04) if rng.random() < 0.5 else 0.0
        gain[place_] = rng.uniform(-0.08, 0.08)
    images = torch.lerp(images, softened, amount) * (1 + gain)
    return (images + noise * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def degrade(images: torch.Tensor, kind: str, rng: random.Random, generator: torch.Generator) -> torch.Tensor:
    """A plainly blurry, noisy, dark or bright version of the pictures."""
    if kind == "noisy":
        return (images + rng.uniform(0.1, 0.25) * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    if kind == "dark":
        return images * rng.uniform(0.25, 0.55)
    if kind == "bright":
        return 1 - (1 - images) * rng.uniform(0.3, 0.6)
    sigma = rng.uniform(1.0, 2.5)
    taps = torch.exp(-0.5 * (torch.arange(-6, 7) / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(images, (6, 6, 6, 6), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, taps, groups=3), taps.transpose(2, 3), groups=3)
