"""The pictures of the demo world: what may be trained on, and that a cut is the picture it says."""

import json
from importlib.resources import files

import pytest

from toolkit import demo_pictures, prompts


@pytest.mark.parametrize("style", demo_pictures.STYLES)
def test_no_picture_of_a_test_or_validation_prompt_is_trained_on(style):
    kept_apart = {prompt.subject for role in ("validation", "test") for prompt in prompts.read(f"demo:{role}")}
    names = {demo_pictures.subjects()[one].name for one in demo_pictures.trained_on(style)}
    assert len(names) > 100
    assert not names & kept_apart


def test_cuts_come_in_the_order_asked_on_white():
    cuts = list(demo_pictures.cut("3d render", ["tiger-face", "dolphin"]))
    assert [subject.id for subject, _ in cuts] == ["tiger-face", "dolphin"]
    for _, picture in cuts:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
        assert picture.getpixel((0, 0)) == (255, 255, 255)
        assert len(picture.getcolors(64 * 64)) > 100  # a render, not a blank or a drawing of a few flat colours


def test_line_art_has_no_colour():
    (_, picture) = next(demo_pictures.cut("line art", ["dolphin"]))
    assert max(max(pixel) - min(pixel) for pixel in picture.convert("RGB").getdata()) < 24


def test_places_are_those_of_the_list():
    listed = json.loads((files("demo_world") / "subjects.json").read_text(encoding="utf-8"))
    for place in (0, 17, len(listed) - 1):
        assert demo_pictures.subjects()[listed[place]["id"]].place == place
