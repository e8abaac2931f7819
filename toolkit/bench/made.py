"""The data sets and weights that the arms learn from. What is there already is not made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import atomic, demo_pictures, recipe
from toolkit.bench.runs import Job, finish
from toolkit.bench.study import Study
from toolkit.commands import ask_backend
from toolkit.errors import PalateError
from toolkit.recipe import Recipe

TRAINED_STYLE = "3d render"  # of the photos: the positive word
SHIFT = {"words": {"positive": "flat icon", "negative": "line art"}, "training.updates": 60, "validation.every": 20}
SHIFT |= {"optimizer.learning_rate": 2e-4, "training.seed": 7}
TUNING = {"learning_rate": 1e-4, "size": demo_pictures.SIDE, "steps": 100}
LATENT_TRAINING = {"steps": 120}


@dataclass(frozen=True)
class Maker:
    """Makes what `study`'s arms name, below `folder`."""

    study: Study
    folder: Path
    say: Callable[[str], None]

    def make(self) -> None:
        """All of it, and what that is made from."""
        self.folder.mkdir(parents=True, exist_ok=True)
        makers: dict[str, Callable[[], Any]] = {
            "pairs": self.pairs,
            "shifted": self.shifted,
            "styles": self.styles,
            "tuned.safetensors": self.tuned,
            "latent_reward.safetensors": self.latent_reward,
        }
        for name in sorted({name.partition("/")[0] for name in self.study.made_names()}):
            makers[name]()

    def drawing(self) -> Recipe:
        """The recipe whose base draws and whose reward labels."""
        return self.study.made_recipe("srpo", self.folder, {"training.seed": self.study.budget.sweep_seed})

    def pairs(self) -> Path:
        """Best of eight against worst by the trained reward, of the base; and the same pictures as likes."""
        made = self._draw("pairs", self.drawing())
        text = (made / "pairs.jsonl").read_text(encoding="utf-8")
        likes = [
            {"prompt": line["prompt"], "picture": line[side], "liked": side == "chosen"}
            for line in map(json.loads, text.splitlines())
            for side in ("chosen", "rejected")
        ]
        _write_lines(made / "likes.jsonl", likes)
        return made

    def shifted(self) -> Path:
        """Pairs of a base that was first pulled towards another style."""
        shift = Job(self.folder / "shift-run", self.study.made_recipe("srpo", self.folder, SHIFT))
        finish([shift], workers=1, say=self.say)
        if not shift.run.events("verdict")[-1]["best"]:
            raise PalateError("The shifted model is the base itself.", action="Choose other words or a longer shift.")
        start = {"lora.start": str(shift.run.lora_files()[0])}
        return self._draw("shifted", recipe.parse(self.drawing().model_dump(mode="json"), start))

    def styles(self) -> Path:
        """The training prompts' subjects as photos: in the positive style, and in all styles that the captions name."""
        folder = self.folder / "styles"
        folder.mkdir(exist_ok=True)
        photos, captioned = list[dict[str, str]](), list[dict[str, str]]()
        for style in demo_pictures.STYLES:
            for subject, picture in demo_pictures.cut(style, demo_pictures.trained_on(style)):
                file = f"{subject.id}-{style.replace(' ', '-')}.png"
                picture.save(folder / file)
                captioned.append({"prompt": f"{style} of {subject.name}", "picture": file})
                photos += [{"prompt": subject.name, "picture": file}] if style == TRAINED_STYLE else []
        _write_lines(folder / "photos.jsonl", photos)
        _write_lines(folder / "captioned.jsonl", captioned)
        return folder

    def tuned(self) -> Path:
        """The demo's reward, tuned to the styles: a second opinion to mix in."""
        words = [part for style in demo_pictures.STYLES for part in ("--word", style)]
        return self._train(
            "tuned", "tune-reward", self.styles() / "captioned.jsonl", TUNING, "--reward", "demo", *words
        )

    def latent_reward(self) -> Path:
        """A reward on noisy latents, of the pairs."""
        file = self._recipe_file("drawing", self.drawing())
        return self._train("latent_reward", "train-latent", self.pairs(), LATENT_TRAINING, "--recipe", str(file))

    def _draw(self, name: str, drawing: Recipe) -> Path:
        """`pairs.jsonl` is written last, so that a folder with it is whole."""
        target = self.folder / name
        if not (target / "pairs.jsonl").exists():
            self.say(f"drawing {name}")
            shutil.rmtree(target, ignore_errors=True)
            file = self._recipe_file(name, drawing)
            ask_backend("pairs", str(file), "--output", str(target), cwd=self.folder, quiet=True)
        return target

    def _train(self, name: str, command: str, source: Path, settings: dict[str, Any], *more: str) -> Path:
        target = self.folder / f"{name}.safetensors"
        if not target.exists():
            self.say(f"training {name}")
            arguments = [command, str(source), "--output", str(target), "--settings", json.dumps(settings), *more]
            ask_backend(*arguments, cwd=self.folder, quiet=True)
        return target

    def _recipe_file(self, name: str, content: Recipe) -> Path:
        path = self.folder / f"{name}.yaml"
        atomic.write_file(path, content.to_yaml())
        return path


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    atomic.write_file(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
