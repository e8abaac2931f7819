"""A made-up run folder: every file a run leaves behind, without training one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from toolkit import recipe
from toolkit.run_folder import DONE, RunFolder

GUARDS = ("words", "second", "recall", "diversity", "texture")
WORDS = {"positive": "3d render", "negative": "line art"}


def check(update: int, **values: float) -> dict[str, Any]:
    measured = {"reward": 0.3, "second": 0.1, "recall": 0.9, "diversity": 0.4, "texture": 0.1, "words": 0.7} | values
    lights = {name: {"state": "ok", "sentence": ""} for name in GUARDS}
    return {"kind": "check", "time": 1000.0 + update, "update": update, "values": measured, "guards": lights}


def verdict(best: int, update: int = 20) -> dict[str, Any]:
    sentence = f"Finished {update} of {update} updates. Best checkpoint {best} kept."
    return {"kind": "verdict", "update": update, "best": best, "alarms": [], "sentence": sentence, "status": DONE}


def update(number: int, loss: float | None = -0.1) -> dict[str, Any]:
    return {"kind": "update", "time": 1000.0 + number, "update": number, "metrics": {"loss": loss}, "seconds": 1.0}


def append(run: RunFolder, *events: dict[str, Any]) -> None:
    with run.events_file.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def make(
    root: Path, name: str = "taste", status: str = DONE, best: int | None = 20, words: Any = WORDS, **state: Any
) -> RunFolder:
    content = recipe.parse({"name": name, "words": words, "training": {"updates": 20}})
    run = RunFolder.create(root, content)
    run.previews.mkdir()
    for at in (0, 10, 20):
        for prompt in range(2):
            Image.new("RGB", (8, 8)).save(run.previews / f"{at:06d}_{prompt:02d}.webp")
    append(run, check(0), *(update(n) for n in range(1, 11)), check(10, reward=0.35))
    append(run, *(update(n) for n in range(11, 21)), check(20, reward=0.42, second=0.2, diversity=0.38))
    if best is not None:
        append(run, verdict(best))
    run.log_file.write_text("Loading\n\rupdate 1\rupdate 2\nDone\n", encoding="utf-8")
    (run.checkpoints / "000020").mkdir(parents=True)
    run.lora.mkdir()
    (run.lora / f"{name}.safetensors").write_bytes(b"lora")
    run.write_state(status, **{"update": 20, "updates": 20, "pid": 0, **state})
    return run
