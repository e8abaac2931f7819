"""The picture beside each example that the Demo World alone draws: what it drew.

python tests/comfy_nodes/example_pictures.py COMFYUI/output/palate   after the examples ran there once, with the LoRAs
of `palate demo` and `palate train demo-dpo`. The others' pictures are a part of their graphs on ComfyUI's page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

from toolkit.comfyui.examples import EXAMPLES

FOLDER = Path(__file__).resolve().parents[2] / "comfy_nodes" / "example_workflows"
SIDE = 384  # pixels
LABELLED = ("compare_grid", "strength_sweep")  # as they are, for the letters' sake


def sheet(paths: list[Path]) -> Image.Image:
    """One picture, or several side by side, every pixel enlarged; as wide as high, or wider."""
    rows = int(len(paths) ** 0.5)
    columns = len(paths) // rows
    side = SIDE // columns
    made = Image.new("RGB", (columns * side, rows * side))
    for place, path in enumerate(paths):
        picture = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
        made.paste(picture, (place % columns * side, place // columns * side))
    return made


def candidates(folder: Path) -> list[Path]:
    """What Save for Arena wrote, the base's first."""
    lines = (folder / "candidates.jsonl").read_text(encoding="utf-8").splitlines()
    return [folder / about["picture"] for about in sorted(map(json.loads, lines), key=lambda about: about["lora"])]


def main(output: Path) -> None:
    for name, example in EXAMPLES.items():
        kinds = {node.name for node in example().nodes}
        if "PalateDemoWorldLoader" not in kinds or kinds & {"PalatePickBest", "PalatePreferenceScore"}:
            continue
        arena = "PalateSaveForArena" in kinds
        paths = candidates(output / name) if arena else sorted(output.glob(f"{name}_[0-9]*.png"))
        picture = Image.open(paths[0]).convert("RGB") if name in LABELLED else sheet(paths)
        picture.save(FOLDER / f"{name}.jpg", quality=90 if name in LABELLED else 85, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
