"""Train the autoencoder: 64 px pictures to 4 x 16 x 16 latents and back."""

import random
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from demo_world.build import common, pictures
from demo_world.build.data import SEED, World, load_world

BATCH = 24


SHAPE: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (16, 32, 64),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 64,
    "mid_block_add_attention": False,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def new_model() -> Any:
    """0.65M weights: three levels, one layer each, no attention."""
    model: Any = AutoencoderKL(**SHAPE)
    return model.to(memory_format=torch.channels_last)


def batch_of_pictures(world: World, pairs: list[tuple[int, int]], rng: random.Random) -> torch.Tensor:
    """Random training pictures in [-1,1]; half of them moved and scaled."""
    chosen = rng.choices(pairs, k=BATCH)
    sprites = torch.stack([world.sprites[subject, style] for subject, style in chosen])
    if rng.random() < 0.5:
        sprites = pictures.place(sprites, rng, (0.8, 1.1), 5)
    if rng.random() < 0.5:
        sprites = sprites.flip(3)
    colours = [pictures.background(pictures.pick_colour(style, rng), rng) for _, style in chosen]
    return pictures.compose(sprites, colours) * 2 - 1


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 + L1 of the gradients + MSE."""
    error = output - target
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + edges + functional.mse_loss(output, target)


@torch.no_grad()
def measure_latents(model: Any, world: World, pairs: list[tuple[int, int]]) -> None:
    """Store shift and scale so that latents have mean 0 and deviation 1."""
    rng = random.Random(SEED)
    latents = torch.cat([model.encode(batch_of_pictures(world, pairs, rng)).latent_dist.mean for _ in range(40)])
    model.register_to_config(scaling_factor=float(1 / latents.std()), shift_factor=float(latents.mean()))


@torch.no_grad()
def psnr(model: Any, world: World, which: str = "unseen") -> float:
    """Mean PSNR in dB of one coloured picture per (subject, style) pair."""
    rng = random.Random(SEED)
    pairs = world.pairs(which)
    sprites = torch.stack([world.sprites[subject, style] for subject, style in pairs])
    colours = [pictures.background(pictures.pick_colour(style, rng), rng) for _, style in pairs]
    images = pictures.compose(sprites, colours)
    decoded = model.decode(model.encode(images * 2 - 1).latent_dist.mean).sample / 2 + 0.5
    error = (decoded.clamp(0, 1) - images).square().mean((1, 2, 3))
    return float((-10 * error.log10()).mean())


def export(model: Any) -> None:
    """Write weights/vae in fp16."""
    common.ship(model, "vae")


def train(minutes: float = 9) -> None:
    """Train, export an early version after a minute, then the averaged weights."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    world = load_world("objects")
    pairs = world.pairs("train")
    model = new_model()
    average = common.Average(model, 0.998)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    clock, step, early = common.Clock(minutes), 0, False
    while clock.progress < 1:
        target = batch_of_pictures(world, pairs, rng).to(memory_format=torch.channels_last)
        posterior = model.encode(target).latent_dist
        loss = reconstruction_loss(model.decode(posterior.sample()).sample, target)
        loss = loss + 2e-3 * posterior.kl().mean() / target[0].numel() * 3
        common.descend(loss, optimizer, clock.cosine(step), model)
        average.update(model)
        if step % 100 == 0:
            common.log("vae", f"step {step} loss {float(loss):.4f}")
        step += 1
        if not early and clock.progress > 0.1:
            early = True
            export(average.module)
    measure_latents(average.module, world, pairs)
    export(average.module)
    common.log("vae", f"done at step {step}, PSNR on unseen subjects {psnr(average.module, world):.2f} dB")


def refine_decoder(minutes: float = 5) -> None:
    """Sharpen the decoder alone, on slightly noisy latents; cached latents stay valid. Replaces weights/vae."""
    torch.manual_seed(SEED + 1)
    rng = random.Random(SEED + 1)
    world = load_world("objects")
    pairs = world.pairs("train")
    model: Any = AutoencoderKL.from_pretrained(common.WEIGHTS / "vae", torch_dtype=torch.float32)
    before = psnr(model.eval().requires_grad_(False).to(memory_format=torch.channels_last), world)
    decoder = model.decoder.requires_grad_(True).train()
    average = common.Average(decoder, 0.998)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, weight_decay=1e-4)
    clock, step = common.Clock(minutes), 0
    while clock.progress < 1:
        target = batch_of_pictures(world, pairs, rng).to(memory_format=torch.channels_last)
        with torch.no_grad():
            latents = model.encode(target).latent_dist.mean
            latents += torch.randn_like(latents) * 0.05 / model.config.scaling_factor
        loss = reconstruction_loss(decoder(latents), target)
        common.descend(loss, optimizer, clock.cosine(step), decoder)
        average.update(decoder)
        step += 1
    model.decoder = average.module
    export(model)
    common.log("vae", f"decoder refined at step {step}: PSNR {before:.2f} to {psnr(model.eval(), world):.2f} dB")
