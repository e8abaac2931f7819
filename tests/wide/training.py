"""LoRAs of a few updates at real width: a recipe, Palate's own trainer, Palate's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tiny import folders

from toolkit.recipe import Section, parse
from toolkit.run_folder import RunFolder
from training import build
from training.interrupts import Interrupts
from training.train import save_lora
from training.trainer import Trainer

UPDATES = 2
PROMPTS = {"train": "a red cat", "validation": "a blue car", "test": "a dog"}
LORAS = {"everywhere": "all", "attention": "attention"}  # name → layers


def section(family: str, folder: Path) -> Section:
    """The base of FOLDER/pipeline, with pictures and texts as small as the tiny pipeline's."""
    tiny = folders.family(family)
    width, height = tiny.SIZE
    settings = {"weights": str(folder / "pipeline"), "dtype": "float32", "width": width, "height": height}
    few = {"max_tokens": 32} if family == "wan" else {}
    return Section(
        name=family, settings=settings | getattr(tiny, "SETTINGS", {}) | few | {"gradient_checkpointing": False}
    )


def recipe(family: str, folder: Path, name: str) -> dict[str, Any]:
    """SRPO in its smallest form, on one prompt."""
    few = {"every": UPDATES, "steps": 1, "previews": 0, "guidance_scale": 1.0, "batch_size": 1}
    return {
        "name": name,
        "base": section(family, folder).model_dump(),
        "method": {"name": "srpo", "rollout_steps": 1, "sigma_low": 0.1, "sigma_high": 0.95, "guidance_scale": 1.0},
        "words": {"positive": "3d render", "negative": "line art"},
        "prompts": {use: str(folder / f"{use}.txt") for use in PROMPTS},
        "lora": {"rank": 4, "layers": LORAS[name], "file_dtype": "float32"},
        "optimizer": {"learning_rate": 3e-3, "warmup_updates": 0},
        "training": {"updates": UPDATES, "batch_size": 1, "seed": len(name)},
        "validation": few,
    }


def train(family: str, folder: Path, name: str) -> None:
    """Palate's trainer to its end, and the LoRA of the last update whatever the guards think of random pictures."""
    for use, prompt in PROMPTS.items():
        (folder / f"{use}.txt").write_text(prompt)
    content = parse(recipe(family, folder, name))
    run, accelerator = RunFolder.create(folder / "runs", content), Accelerator(cpu=True)
    parts = build.parts(content, accelerator)
    trainer = Trainer(content, run, parts, accelerator, Interrupts())
    trainer.run()
    save_lora(run, content, parts.policy, trainer.checkpoints.adapter(UPDATES), UPDATES, parts.reward)


def loras(folder: Path, name: str) -> list[Path]:
    """What the run left: diffusers' file, and ComfyUI's, which may be the same."""
    return RunFolder(folder / "runs" / name).lora_files()
