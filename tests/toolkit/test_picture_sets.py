"""Which pictures may be looked at along a pair, and how they are opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from toolkit import demo_pictures, picture_sets, recipe
from toolkit.errors import UsageError
from toolkit.run_folder import RunFolder


def test_the_demos_pictures_are_of_all_styles_and_none_that_a_test_keeps() -> None:
    shown = picture_sets.demo()
    assert len(shown.pictures) == picture_sets.SUBJECTS * len(demo_pictures.STYLES)
    for name in shown.names:
        style, _, subject = name.removeprefix(picture_sets.DEMO).partition("/")
        assert subject in demo_pictures.trained_on(style)
        assert picture_sets.opened(name).mode == "RGB"


@pytest.mark.parametrize("name", ["demo:../secret", "demo:3d render/nobody", "demo:", "gone.png", __file__])
def test_what_is_no_picture_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        picture_sets.opened(name)


def test_a_folder_gives_its_visible_pictures_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", ".hidden.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    assert [caption for _, caption in picture_sets.of_folder(f" {tmp_path} ").pictures] == ["a.JPG", "b.png"]


@pytest.mark.parametrize(("place", "said"), [("", "No folder"), ("pictures", "no folder"), ("/not/here", "no folder")])
def test_a_folder_that_is_none_is_refused_in_words(place: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        picture_sets.of_folder(place)


def test_an_empty_folder_says_what_it_looks_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No pictures lie in") as told:
        picture_sets.of_folder(str(tmp_path))
    assert ".webp" in told.value.action


def test_the_digest_follows_the_files(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    before = picture_sets.of_folder(str(tmp_path))
    assert before.digest == picture_sets.of_folder(str(tmp_path)).digest
    os.utime(tmp_path / "a.png", ns=(1, 1))
    changed = before.digest
    (tmp_path / "a.png").unlink()
    assert len({changed, before.digest, picture_sets.demo().digest}) == 3


def test_large_pictures_are_made_smaller_and_upright(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter to the right
    Image.new("RGB", (3000, 1000)).save(tmp_path / "a.jpg", exif=turned)
    assert picture_sets.opened(str(tmp_path / "a.jpg")).size == (341, 1024)


def test_runs_show_the_base_and_the_latest_pictures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No run has drawn"):
        picture_sets.of_runs(tmp_path)
    run = RunFolder.create(tmp_path, recipe.parse({"name": "taste", "words": {"positive": "a", "negative": "b"}}))
    run.previews.mkdir()
    for update in (0, 10, 20):
        Image.new("RGB", (8, 8)).save(run.previews / f"{update:06d}_00.webp")
    captions = [caption for _, caption in picture_sets.of_runs(tmp_path).pictures]
    assert captions == ["taste, base, prompt 1", "taste, update 20, prompt 1"]


def test_the_largest_margin_comes_first_and_unread_pictures_not_at_all() -> None:
    assert picture_sets.ranked([0.1, None, 0.3, -0.2, 0.3]) == [2, 4, 0, 3]
