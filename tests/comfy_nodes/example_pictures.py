"""The picture beside each example: what it drew, or for those that need large models how its graph looks.

python tests/comfy_nodes/example_pictures.py COMFYUI/output/palate   after the examples ran there, with the LoRAs of
`palate demo` and `palate train demo-dpo`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from toolkit.comfyui.examples import EXAMPLES

FOLDER = Path(__file__).resolve().parents[2] / "comfy_nodes" / "example_workflows"
SIDE, WIDTH, MARGIN, TITLE, ROW = 384, 640, 40, 30, 24
COLOURS = {"MODEL": "#b39ddb", "CLIP": "#ffd500", "VAE": "#ff6e6e", "CONDITIONING": "#ffa931", "LATENT": "#ff9cf9",
           "IMAGE": "#64b5f6", "STRING": "#77ff77"}  # fmt: skip


def sheet(paths: list[Path]) -> Image.Image:
    """One picture, or several side by side, every pixel enlarged."""
    columns = round(len(paths) ** 0.5)
    side = SIDE // columns
    made = Image.new("RGB", (columns * side, columns * side))
    for place, path in enumerate(paths):
        picture = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
        made.paste(picture, (place % columns * side, place // columns * side))
    return made


def drawn(workflow: dict[str, Any]) -> Image.Image:
    """Boxes, titles, sockets and links at the places in the file."""
    nodes = {node["id"]: node for node in workflow["nodes"] if node["type"] != "MarkdownNote"}
    width = max(node["pos"][0] + node["size"][0] for node in nodes.values()) + 2 * MARGIN
    height = max(node["pos"][1] + node["size"][1] for node in nodes.values()) + TITLE + 2 * MARGIN
    made = Image.new("RGB", (width, height), "#202020")
    draw = ImageDraw.Draw(made)
    font = ImageFont.load_default(26)
    for node in nodes.values():
        x, y = node["pos"][0] + MARGIN, node["pos"][1] + MARGIN + TITLE
        right, bottom = x + node["size"][0], y + node["size"][1]
        draw.rounded_rectangle((x, y - TITLE, right, bottom), 10, fill="#353535")
        draw.rounded_rectangle((x, y - TITLE, right, y), 10, fill="#4a4a6a" if "Palate" in node["type"] else "#444444")
        draw.text((x + 8, y - TITLE), node.get("title", node["type"])[:24], fill="#ffffff", font=font)
    for _, source, slot, target, place, kind in workflow["links"]:
        start, end = nodes[source], nodes[target]
        sockets = [each for each in end["inputs"] if "widget" not in each]
        row = sockets.index(end["inputs"][place]) if end["inputs"][place] in sockets else len(sockets)
        ends = [
            (start["pos"][0] + start["size"][0] + MARGIN, start["pos"][1] + MARGIN + TITLE + ROW * slot + 14),
            (end["pos"][0] + MARGIN, end["pos"][1] + MARGIN + TITLE + ROW * row + 14),
        ]
        draw.line(ends, fill=COLOURS.get(kind, "#aaaaaa"), width=5)
    return made.resize((WIDTH, round(height * WIDTH / width)), Image.Resampling.LANCZOS)


def main(output: Path) -> None:
    for name, example in EXAMPLES.items():
        paths = sorted(output.glob(f"{name}_[0-9]*.png"))
        graph = example().workflow()
        demo = any(node["type"] == "PalateDemoWorldLoader" for node in graph["nodes"])
        (sheet(paths) if demo else drawn(graph)).save(FOLDER / f"{name}.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
