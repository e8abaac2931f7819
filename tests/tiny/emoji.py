"""Pictures of the demo world on disk, as a creator would keep them: one folder per verdict, a caption beside each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from torchvision.transforms.functional import to_pil_image

from demo_world.build import pictures
from demo_world.build.data import STYLES, load_world

COLOURS = (None, "red", "blue", "green", "yellow")


def write(folder: Path, subjects: Iterable[int], place: Callable[[str, str], tuple[str, str]]) -> Path:
    """place: (style, subject's name) → (sub-folder, caption). Every style of every subject, on a coloured ground."""
    world, rng = load_world(), random.Random(3)
    for subject in subjects:
        for number, style in enumerate(STYLES):
            where, caption = place(style, world.subjects[subject]["name"])
            ground = [pictures.background(rng.choice(COLOURS), rng)]
            file = folder / where / f"{subject:03d}_{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            to_pil_image(pictures.compose(world.sprites[subject, number][None], ground)[0]).save(file)
            file.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return folder
