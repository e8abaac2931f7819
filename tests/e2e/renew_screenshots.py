"""Renews docs/images/studio-*.webp from a folder with a finished demo run:

palate demo && PALATE_RUNS=runs python -m pytest -q -m "" tests/e2e/renew_screenshots.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from real_studio import Studio

from toolkit.run_folder import all_runs

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WIDE, NARROW, TALLEST = 1080, 300, 900  # pixels in the documents
MOST_BYTES = 120_000


@pytest.fixture
def studio() -> Iterator[Studio]:
    """One over the runs that are there."""
    studio = Studio(Path(os.environ["PALATE_RUNS"]).resolve())
    studio.start()
    yield studio
    studio.end()
    studio.log.close()


def shrunk(path: Path, width: int) -> Image.Image:
    """The top of a full-page screenshot."""
    picture = Image.open(path).convert("RGB")
    picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    return picture.crop((0, 0, width, min(TALLEST, picture.height)))


def saved(picture: Image.Image, name: str) -> None:
    """As small as it must be."""
    for quality in (80, 65, 50, 35):
        picture.save(IMAGES / f"studio-{name}.webp", quality=quality, method=6)
        if (IMAGES / f"studio-{name}.webp").stat().st_size < MOST_BYTES:
            return
    pytest.fail(f"{name} is too large for the documents")


def test_renew(studio: Studio, screenshots: Callable[..., None], tmp_path: Path) -> None:
    name = all_runs(studio.runs)[0].name
    pages = {
        "start": "/", "words": "/words", "runs": "/runs", "run": f"/run?run={name}", "compare": f"/compare?run={name}",
        "system": "/system",
    }  # fmt: skip
    screenshots(tmp_path, pages)
    for page in pages:
        saved(shrunk(tmp_path / f"{page}-1440-light.png", WIDE), page)
    phones = [shrunk(tmp_path / f"{page}-390-dark.png", NARROW) for page in ("start", "runs", "run", "compare")]
    collage = Image.new("RGB", (len(phones) * NARROW, max(phone.height for phone in phones)), "#151412")
    for place, phone in enumerate(phones):
        collage.paste(phone, (place * NARROW, 0))
    saved(collage, "phone")
