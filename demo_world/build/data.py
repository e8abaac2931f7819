"""Artwork to sprites: download by package name, rasterise at 64 px, join by Unicode, split, and load again."""

import io
import json
import random
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo_world.build.common import WORK, WORLD, log, write_json

STYLES = ("3d render", "flat icon", "line art", "cartoon")
WORLD_GROUPS = ("Animals & Nature", "Food & Drink")
EXTRA_GROUPS = {  # more pictures that only training uses
    "objects": ("Smileys & Emotion", "Travel & Places", "Activities", "Objects"),
    "people": ("People & Body", "Symbols"),  # for the judge: names mean little here, styles do
}
PACKAGES = {
    "names": "unicode-emoji-json@0.9.0",
    "3d render": "@lobehub/fluent-emoji-3d@1.1.0",
    "flat icon": "@iconify-json/fluent-emoji-flat@1.2.6",
    "line art": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "cartoon": "@iconify-json/noto@1.2.9",
}
SIZE = 64
SEED = 20261125
UNSEEN, LOSING, VALIDATION_PER_STYLE = 35, 104, 8
ATLAS_COLUMNS = 16

PLURAL = {"paw prints", "grapes", "cherries", "blueberries", "peanuts", "beans", "french fries", "chopsticks",
          "pancakes", "clinking beer mugs", "clinking glasses", "coral", "garlic", "bread", "bacon", "spaghetti",
          "salt", "popcorn", "butter", "sushi", "cooked rice", "curry rice", "broccoli", "sake", "pouring liquid",
          "shaved ice", "canned food", "custard", "oden", "mate"}  # fmt: skip
RENAMED = {"cooking": "fried egg", "bug": "caterpillar", "lady beetle": "ladybug", "ewe": "sheep", "ice": "ice cube",
           "cut of meat": "steak", "poultry leg": "chicken leg", "hot beverage": "cup of coffee",
           "deciduous tree": "tree", "blossom": "yellow blossom", "mate": "mate tea", "T-Rex": "t-rex",
           "front-facing baby chick": "front-facing chick"}  # fmt: skip


def with_article(name: str) -> str:
    """'apple' to 'an apple'; plurals and mass nouns stay bare."""
    bare = name in PLURAL
    name = RENAMED.get(name, name).lower()
    if bare or (name.endswith("s") and name.split()[-1] in {"glasses", "scissors", "gloves", "socks", "shorts"}):
        return name
    return f"{'an' if name[0] in 'aeio' or name[:2] == 'um' else 'a'} {name}"


def fetch_package(spec: str) -> Path:
    """Fetch one npm package with the npm client and unpack it; returns its folder."""
    home = WORK / "npm"
    home.mkdir(parents=True, exist_ok=True)
    archive = home / (spec.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz")
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", spec], cwd=home, check=True, stdout=subprocess.DEVNULL)
    folder = home / archive.stem
    if not folder.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return folder / "package"


def shrink(image: Image.Image) -> np.ndarray:
    """Area-average a large RGBA image to 64 px in premultiplied space; returns straight RGBA uint8."""
    pixels = np.asarray(image.convert("RGBA").resize((256, 256), Image.Resampling.BOX), dtype=np.float64) / 255
    pixels[..., :3] *= pixels[..., 3:]
    pixels = pixels.reshape(SIZE, 4, SIZE, 4, 4).mean((1, 3))
    alpha = pixels[..., 3:]
    pixels[..., :3] = np.where(alpha > 0, pixels[..., :3] / np.maximum(alpha, 1e-6), 0)
    return np.round(pixels.clip(0, 1) * 255).astype(np.uint8)


def render_svg(icons: dict, slug: str) -> np.ndarray | None:
    """One icon of an Iconify set, or None where the set lacks it."""
    import resvg_py

    slug = icons.get("aliases", {}).get(slug, {}).get("parent", slug)
    icon = icons["icons"].get(slug)
    if icon is None:
        return None
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
           f'viewBox="0 0 {width} {height}" width="256" height="256">{icon["body"]}</svg>')  # fmt: skip
    png = resvg_py.svg_to_bytes(svg_string=svg.replace("currentColor", "#000"), width=256, height=256)
    return shrink(Image.open(io.BytesIO(bytes(png))))


def render_group(groups: tuple[str, ...]) -> tuple[list[dict], np.ndarray]:
    """All subjects of some groups that exist in every style: their names and sprites [N,4,64,64,4]."""
    folders = {key: fetch_package(spec) for key, spec in PACKAGES.items()}
    table = json.loads((folders["names"] / "data-by-emoji.json").read_text())
    sets = {s: json.loads((folders[s] / "icons.json").read_text()) for s in STYLES[1:]}
    models = {f.stem.replace("-fe0f", ""): f for f in (folders["3d render"] / "assets").glob("*.webp")}
    subjects, sprites = [], []
    for symbol, entry in table.items():
        if entry["group"] not in groups:
            continue
        model = models.get("-".join(f"{ord(c):04x}" for c in symbol if ord(c) != 0xFE0F))
        slug = entry["slug"].replace("_", "-")
        if model is None:
            continue
        drawn = [shrink(Image.open(model))] + [render_svg(sets[s], slug) for s in STYLES[1:]]
        if any(sprite is None for sprite in drawn):
            continue
        subjects.append({"id": slug, "name": with_article(entry["name"]), "group": entry["group"]})
        sprites.append(np.stack([sprite for sprite in drawn if sprite is not None]))
    return subjects, np.stack(sprites)


def split(subjects: list[dict]) -> list[dict]:
    """Hold out subjects, and take one style away from some of the rest, balanced over the styles."""
    rng = random.Random(SEED)
    order = list(range(len(subjects)))
    rng.shuffle(order)
    unseen = set(order[:UNSEEN])
    losing = order[UNSEEN : UNSEEN + LOSING]
    missing = {subject: STYLES[place % 4] for place, subject in enumerate(losing)}
    validation = set(losing[: VALIDATION_PER_STYLE * 4])
    for place, subject in enumerate(subjects):
        lost = missing.get(place)
        subject["split"] = "unseen" if place in unseen else "train"
        subject["missing_style"] = lost
        subject["styles"] = [] if place in unseen else [style for style in STYLES if style != lost]
        used_for = "unseen" if place in unseen else "validation" if place in validation else "test" if lost else "train"
        subject["prompts"] = used_for
    return subjects


def save_atlas(sprites: np.ndarray) -> None:
    """One lossless webp: subjects in rows of 16, the four styles of a subject side by side."""
    rows = -(-len(sprites) // ATLAS_COLUMNS)
    atlas = np.zeros((rows * SIZE, ATLAS_COLUMNS * 4 * SIZE, 4), np.uint8)
    for place, four in enumerate(sprites):
        top, left = place // ATLAS_COLUMNS * SIZE, place % ATLAS_COLUMNS * 4 * SIZE
        atlas[top : top + SIZE, left : left + 4 * SIZE] = np.concatenate(list(four), axis=1)
    scratch = WORLD / ".sprites.tmp"
    Image.fromarray(atlas, "RGBA").save(scratch, "WEBP", lossless=True, method=6, quality=100)
    scratch.replace(WORLD / "sprites.webp")


def build() -> None:
    """Render everything; write subjects.json, sprites.webp and the extra sprites that only training uses."""
    subjects, sprites = render_group(WORLD_GROUPS)
    save_atlas(sprites)
    write_json(WORLD / "subjects.json", split(subjects))
    known = {subject["name"] for subject in subjects}
    for kind, groups in EXTRA_GROUPS.items():
        extra, extra_sprites = render_group(groups)
        keep = [place for place, subject in enumerate(extra) if subject["name"] not in known]
        np.savez(WORK / f"{kind}.npz", sprites=extra_sprites[keep], names=[extra[place]["name"] for place in keep])
        log("data", f"{len(keep)} extra subjects: {kind}")
    log("data", f"{len(subjects)} subjects, atlas {(WORLD / 'sprites.webp').stat().st_size} bytes")


@dataclass(frozen=True)
class World:
    """Subjects and premultiplied sprites, float32 [N,4,4,64,64] (subject, style, RGBA) in [0,1]."""

    subjects: list[dict]
    sprites: torch.Tensor

    def pairs(self, which: str) -> list[tuple[int, int]]:
        """(subject, style) pairs: `train` (allowed in training), `missing` (held-out pairs) or `unseen`."""
        chosen = []
        for place, subject in enumerate(self.subjects):
            for number, style in enumerate(STYLES):
                kind = "missing" if style == subject["missing_style"] else subject["split"]
                if kind == which:
                    chosen.append((place, number))
        return chosen


def to_premultiplied(sprites: np.ndarray) -> torch.Tensor:
    """uint8 [N,4,64,64,4] straight to float [N,4,4,64,64] premultiplied."""
    pixels = torch.from_numpy(sprites).permute(0, 1, 4, 2, 3).float() / 255
    pixels[:, :, :3] *= pixels[:, :, 3:]
    return pixels


def load_world(*extra: str) -> World:
    """The shipped world, and the subjects of the named EXTRA_GROUPS behind it."""
    subjects = json.loads((WORLD / "subjects.json").read_text(encoding="utf-8"))
    atlas = np.asarray(Image.open(WORLD / "sprites.webp").convert("RGBA"))
    tiles = atlas.reshape(-1, SIZE, ATLAS_COLUMNS, 4, SIZE, 4).transpose(0, 2, 3, 1, 4, 5)
    sprites = to_premultiplied(tiles.reshape(-1, 4, SIZE, SIZE, 4)[: len(subjects)].copy())
    for kind in extra:
        more = np.load(WORK / f"{kind}.npz")
        subjects = subjects + [{"id": n, "name": n, "split": "train", "missing_style": None} for n in more["names"]]
        sprites = torch.cat([sprites, to_premultiplied(more["sprites"])])
    return World(subjects, sprites)
