"""How long the Runs page takes over many runs: the first list, a tick in which nothing changed, a first search.

    python benchmarks/studio.py --runs 1000

The runs are made up: the files of a finished run with two checks, its previews single-coloured pictures. Measured is
processor time, which is what a tick takes from everybody else. It is the page's part alone; Gradio adds its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from toolkit import recipe
from toolkit.run_folder import DONE, FAILED, QUEUED, STOPPED, RunFolder
from toolkit.studio.launching import Launcher
from toolkit.studio.runs_listing import STEP, Listing

WORDS = (("3d render", "line art"), ("flat icon", "3d render"), ("cartoon", "line art"), ("dark", "bright"))
GUARDS = ("words", "second", "recall", "diversity", "texture")


def make(root: Path, number: int, waiting: int) -> None:
    """One finished run; the last `waiting` of them wait in line."""
    positive, negative = WORDS[number % len(WORDS)]
    name = f"{positive.replace(' ', '-')}-{number:04d}"
    run = RunFolder(root / name)
    run.path.mkdir(parents=True)
    run.recipe_file.write_text(
        recipe.parse({"name": name, "words": {"positive": positive, "negative": negative}}).to_yaml()
    )
    status = QUEUED if number < waiting else (DONE, DONE, DONE, STOPPED, FAILED)[number % 5]
    run.state_file.write_text(json.dumps({"status": status, "update": 100, "updates": 100}))
    if status == QUEUED:
        return
    run.previews.mkdir()
    picture = Image.new("RGB", (64, 64), (40 + number % 200, 120, 160))
    for update in (0, 50, 100):
        for prompt in range(4):
            picture.save(run.previews / f"{update:06d}_{prompt:02d}.webp")
    with run.events_file.open("w", encoding="utf-8") as file:
        for update in range(101):
            kind = {"kind": "update", "metrics": {"loss": 0.1}, "seconds": 1.0}
            if update % 50 == 0:
                lights = {guard: {"state": "ok", "sentence": ""} for guard in GUARDS}
                kind = {"kind": "check", "values": {"reward": 0.3, "second": 0.2}, "guards": lights}
            file.write(json.dumps({**kind, "update": update, "time": 1000.0 + update}) + "\n")
        sentence = "Finished 100 of 100 updates. Best checkpoint 100 kept."
        file.write(json.dumps({"kind": "verdict", "update": 100, "best": 100, "alarms": [], "sentence": sentence}))
        file.write("\n")


def measured(what: Callable[[], object]) -> float:
    """Milliseconds of processor time."""
    before = time.process_time()
    what()
    return 1000 * (time.process_time() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--waiting", type=int, default=20, help="of them in line")
    parser.add_argument("--keep", type=Path, help="make them in this folder and leave them there")
    asked = parser.parse_args()
    root = asked.keep or Path(tempfile.mkdtemp())
    for number in range(asked.runs):
        make(root, number, asked.waiting)
    launcher = Launcher(root)
    for path in sorted(root.glob("*/state.json")):
        if QUEUED in path.read_text():
            launcher.queue.add(path.parent.name)
    started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    listing = Listing(launcher)
    first = measured(listing.drawn)
    tick = min(measured(listing.drawn) for _ in range(5))
    search = measured(lambda: listing.drawn(search="cartoon"))
    again = min(measured(lambda: listing.drawn(search="cartoon")) for _ in range(5))
    everything = measured(lambda: listing.drawn(shown=asked.runs))
    tick_of_all = min(measured(lambda: listing.drawn(shown=asked.runs)) for _ in range(5))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - started
    lines = {
        f"first list ({STEP} shown, {asked.waiting} in line)": f"{first:7.0f} ms",
        "tick, nothing changed": f"{tick:7.1f} ms",
        "first search": f"{search:7.0f} ms",
        "tick while searching": f"{again:7.1f} ms",
        "first list of all": f"{everything:7.0f} ms",
        "tick with all shown": f"{tick_of_all:7.1f} ms",
        "the page": f"{len(listing.drawn()) / 1024:7.0f} kB",
        "memory for all of it": f"{memory:7.0f} MB",
    }
    for what, figure in lines.items():
        print(f"{what:40} {figure}")
    if asked.keep is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
