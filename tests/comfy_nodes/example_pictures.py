"""The picture beside each example that runs on the Demo World: what it drew.

python tests/comfy_nodes/example_pictures.py COMFYUI/output/palate   after the examples ran there, with the LoRAs of
`palate demo` and `palate train demo-dpo`. The others' pictures are their graphs on ComfyUI's page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from toolkit.comfyui.examples import EXAMPLES

FOLDER = Path(__file__).resolve().parents[2] / "comfy_nodes" / "example_workflows"
SIDE = 384  # pixels


def sheet(paths: list[Path]) -> Image.Image:
    """One picture, or several side by side, every pixel enlarged."""
    columns = round(len(paths) ** 0.5)
    side = SIDE // columns
    made = Image.new("RGB", (columns * side, columns * side))
    for place, path in enumerate(paths):
        picture = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
        made.paste(picture, (place % columns * side, place // columns * side))
    return made


def main(output: Path) -> None:
    for name, example in EXAMPLES.items():
        if any(node.name == "PalateDemoWorldLoader" for node in example().nodes):
            paths = sorted(output.glob(f"{name}_[0-9]*.png"))
            sheet(paths).save(FOLDER / f"{name}.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
