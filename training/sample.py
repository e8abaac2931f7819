"""`python -m training sample`: pictures or clips of one prompt, with or without a LoRA."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from toolkit import lora_file
from toolkit.recipe import Recipe
from training import build, latent_reward, previews

PURPOSE = "sample"


@dataclass(frozen=True)
class Guide:
    """A latent reward's file, and how strongly every step follows it."""

    file: Path
    scale: float


def sample(
    recipe: Recipe, lora: Path | None, prompt: str, output: Path, *, count: int, strength: float, steps: int,
    guide: Guide | None = None,
) -> list[Path]:  # fmt: skip
    """Write `count` PNGs, or animations, of one prompt at seeds recipe.seed, 0 … count - 1; returns their paths."""
    stage = build.stage(recipe, build.best_device())
    rate = stage.policy.base.frames_per_second
    if guide:
        reward = latent_reward.load(str(guide.file), stage.policy)
        stage = replace(stage, policy=latent_reward.Guided(stage.policy, reward, guide.scale))
    renderer = stage.renderer(recipe, PURPOSE, steps=steps)
    if lora is not None:
        stage.policy.load_adapter(lora_file.load(lora, stage.policy.base.lora_facts.component))
    paths = []
    with stage.policy.at_strength(strength if lora else 0.0):
        for number in range(count):
            path = output / f"{number:03d}.{'webp' if rate else 'png'}"
            text = parameters(
                prompt, steps=steps, guidance_scale=recipe.validation.guidance_scale,
                seed=f"{recipe.training.seed}/{number}", lora=lora.stem if lora else "none", strength=strength,
            ) + (f", Latent reward: {guide.file.stem} at {guide.scale:g}" if guide else "")  # fmt: skip
            shown = renderer([prompt], number)[0]
            if rate:
                previews.save_clip(path, shown, text, rate)
            else:
                previews.save_png(path, previews.to_picture(shown), {"parameters": text})
            paths.append(path)
    return paths


def parameters(prompt: str, *, steps: int, guidance_scale: float, seed: str, lora: str, strength: float) -> str:
    """How a picture was made, in the form that other programs read from PNGs."""
    return (
        f"{prompt}\nSteps: {steps}, Sampler: Euler, CFG scale: {guidance_scale:g}, "
        f"Seed: {seed}, LoRA: {lora} at {strength:g}"
    )
