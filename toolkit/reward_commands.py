"""What the commands for rewards and learned words do: check what is cheap, ask a child process, say the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from toolkit import commands, recipe
from toolkit.commands import out
from toolkit.errors import UsageError


def learn_words(
    likes: Path, output: Path, rewards: list[str], positive: str, negative: str, settings: list[str]
) -> None:
    """Learn a pair for each reward."""
    pair = commands.word_pair(positive, negative)
    named = [part for reward in rewards for part in ("--reward", reward)]
    facts = _ask(
        "learn-words", likes, output, settings, "--positive", pair.positive, "--negative", pair.negative, *named
    )
    table = Table("reward", "held-out pictures on their side", "AUC")
    for name, worth in facts["rewards"].items():
        columns = (f"{worth['before'][key]:.2f} -> {worth['after'][key]:.2f}" for key in ("accuracy", "auc"))
        table.add_row(name, *columns)
    out.print(table)
    out.print(f"Learned from {facts['learned']} pictures, checked on {facts['held_out']} of other prompts.")
    out.print(f"In a recipe: words: {{positive: {positive}, negative: {negative}, learned: {output}}}", markup=False)


def train_latent(source: Path, pairs: Path, output: Path, settings: list[str]) -> None:
    """Train a reward on noisy latents."""
    path = commands.recipe_file(source)
    recipe.read(path)  # what is wrong with it is said at once
    facts = _ask("train-latent", pairs, output, settings, "--recipe", str(path.resolve()))
    table = Table("noise level", "held-out pairs in the right order")
    for level, share in facts["accuracy"].items():
        table.add_row(level, f"{share:.2f}")
    out.print(table)
    out.print(f"Learned from {facts['learned']} pairs, checked on {facts['held_out']} of other prompts.")
    out.print(f"In a recipe: method: {{name: latent_reward, weights: {output.resolve()}}}", markup=False)


def tune(photos: Path, words: list[str], output: Path, reward: str, settings: list[str]) -> None:
    """Tune a reward to style words."""
    named = [part for word in words for part in ("--word", word)]
    facts = _ask("tune-reward", photos, output, settings, "--reward", reward, *named)
    table = Table("words", "AUC before", "after")
    for pair, before in facts["before"].items():
        table.add_row(pair, f"{before:.3f}", f"{facts['after'][pair]:.3f}")
    out.print(table)
    out.print(f"Learned from {facts['learned']} photos, checked on {facts['held_out']} of other captions.")
    out.print(f"In a recipe: reward: {{name: {reward}, tuned: {output.resolve()}}}", markup=False)


def export_comfyui(weights: Path, output: Path, reward: str, settings: list[str]) -> None:
    """Write a reward for ComfyUI."""
    facts = _ask("export-reward", weights, output, settings, "--reward", reward)
    out.print(f"{output}: {facts['reward']}, {facts['geometry']}, score {facts['scale']:.4g} x cosine.", markup=False)
    out.print("Put it into ComfyUI's models/palate; the node is called Load Preference Model.")


def _ask(command: str, source: Path, output: Path, settings: list[str], *more: str) -> Any:
    if output.suffix != ".safetensors":
        raise UsageError(f"`{output}` is not the name of a weights file.", action="Let it end in .safetensors.")
    changed = json.dumps(commands.overrides(settings))
    arguments = (str(source.expanduser().resolve()), "--output", str(output.resolve()), "--settings", changed, *more)
    return commands.ask_backend(command, *arguments, cwd=Path.cwd(), quiet=False)
