import re

import pytest

from toolkit.studio import tokens
from toolkit.studio.markup import asset

PALETTES = {"light": tokens.LIGHT, "dark": tokens.DARK}


def test_contrast_agrees_with_the_published_extremes() -> None:
    assert tokens.contrast("#000000", "#ffffff") == pytest.approx(21.0)  # WCAG 2.1, definition of contrast ratio
    assert tokens.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known grey that just fails


@pytest.mark.parametrize("scheme", PALETTES)
@pytest.mark.parametrize("pair", tokens.TEXT_PAIRS, ids="-on-".join)
def test_every_text_is_readable(scheme: str, pair: tuple[str, str]) -> None:
    ink, ground = (PALETTES[scheme][name] for name in pair)
    assert tokens.contrast(ink, ground) >= 4.5


@pytest.mark.parametrize("scheme", PALETTES)
@pytest.mark.parametrize("pair", tokens.EDGE_PAIRS, ids="-on-".join)
def test_every_control_can_be_seen(scheme: str, pair: tuple[str, str]) -> None:
    ink, ground = (PALETTES[scheme][name] for name in pair)
    assert tokens.contrast(ink, ground) >= 3.0


def test_both_palettes_fill_the_same_roles_and_the_stylesheet_names_no_others() -> None:
    assert tokens.LIGHT.keys() == tokens.DARK.keys()
    assert set(re.findall(r"var\(--p-([\w-]+)\)", asset("style.css"))) <= tokens.LIGHT.keys()


def test_the_stylesheet_names_no_colours_of_its_own() -> None:
    without_shadows = re.sub(r"rgb\(0 0 0 / [\d.]+\)", "", asset("style.css"))
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb\(", without_shadows)) <= {"#fff"}  # the paper behind white sprites
