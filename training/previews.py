"""Preview pictures of a run: the same prompts and seeds at every check, update 0 being the base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from toolkit import atomic

LABEL_HEIGHT, GAP = 22, 6
CLIP_QUALITY = 90  # of 100: dozens of frames without loss would be tens of megabytes


def to_picture(image: Tensor) -> Image.Image:
    """[3, H, W] in [0, 1] → 8-bit RGB."""
    return Image.fromarray((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def save(
    folder: Path, update: int, images: Tensor, captions: Sequence[str], settings: str, frames_per_second: int = 0
) -> list[Path]:
    """One webp per picture, `000020_03.webp`, with caption and sampler settings inside; returns paths.

    images: pictures [N, 3, H, W], kept without loss, or clips [N, F, 3, H, W] at `frames_per_second`, as animations.
    """
    paths = []
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        path = folder / f"{update:06d}_{number:02d}.webp"
        text = f"{caption}\n{settings}, update {update}"
        if frames_per_second:
            save_clip(path, image, text, frames_per_second)
        else:
            picture, exif = to_picture(image), _description(text)
            atomic.write_with(path, lambda p, picture=picture, exif=exif: picture.save(p, lossless=True, exif=exif))
        paths.append(path)
    return paths


def save_clip(path: Path, clip: Tensor, text: str, frames_per_second: int) -> None:
    """An endless animation of clip [F, 3, H, W] with `text` inside; its first frame is what still viewers show."""
    first, *others = [to_picture(frame) for frame in clip]
    options = {"append_images": others, "duration": round(1000 / frames_per_second), "loop": 0, "quality": CLIP_QUALITY}
    exif = _description(text)
    atomic.write_with(path, lambda p: first.save(p, save_all=True, exif=exif, **options))


def _description(text: str) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = text.encode()  # ImageDescription; Pillow's own is ASCII
    return exif


def grid(rows: Sequence[tuple[str, Tensor]], columns: Sequence[str], *, zoom: int = 1) -> Image.Image:
    """A labelled sheet: one row per label, each with as many pictures [N, 3, H, W] as there are columns."""
    height, width = (side * zoom for side in rows[0][1].shape[-2:])
    label = 150
    sheet = Image.new(
        "RGB",
        (label + len(columns) * (width + GAP), LABEL_HEIGHT + len(rows) * (height + GAP)),
        (255, 255, 255),
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, text in enumerate(columns):
        draw.text((label + column * (width + GAP), 4), _cut(text, width // 6), fill=(31, 27, 22), font=font)
    for row, (text, images) in enumerate(rows):
        top = LABEL_HEIGHT + row * (height + GAP)
        draw.text((4, top + height // 2 - 8), _cut(text, label // 6), fill=(31, 27, 22), font=font)
        for column, image in enumerate(images):
            picture = to_picture(image).resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(picture, (label + column * (width + GAP), top))
    return sheet


def save_png(path: Path, picture: Image.Image, text: dict[str, str]) -> None:
    """A PNG with text entries, such as A1111-style `parameters`."""
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    atomic.write_with(path, lambda temporary: picture.save(temporary, pnginfo=info))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"
