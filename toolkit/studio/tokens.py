"""The colours of the Studio, by role: the one place that names them. Theme and stylesheet are both made from here."""

from __future__ import annotations

from types import MappingProxyType

LIGHT = MappingProxyType({
    "page": "#faf8f5", "surface": "#ffffff", "raised": "#f3efe9",
    "text": "#1f1b16", "quiet": "#6b6259", "line": "#e4ddd3", "edge": "#8d8275",
    "accent": "#c8492c", "accent-hover": "#b23c21", "accent-text": "#b23c21", "on-accent": "#ffffff",
    "good": "#2f6f4f", "watch": "#8a5a00", "bad": "#a3262a",
})  # fmt: skip
DARK = MappingProxyType({
    "page": "#151412", "surface": "#1d1b18", "raised": "#26231f",
    "text": "#f1ece4", "quiet": "#a79d90", "line": "#38332c", "edge": "#7d7468",
    "accent": "#e46a4a", "accent-hover": "#f08a6d", "accent-text": "#f08a6d", "on-accent": "#151412",
    "good": "#7cc39b", "watch": "#e0b25a", "bad": "#ef8a86",
})  # fmt: skip

GROUNDS = ("page", "surface", "raised")
INKS = ("text", "quiet", "accent-text", "good", "watch", "bad")
# Every (ink, ground) in use, all of them text: 4.5:1 or more.
TEXT_PAIRS = (
    *((ink, ground) for ink in INKS for ground in GROUNDS),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
)
# What draws the outline of a control or the fill of a bar: 3:1 or more.
EDGE_PAIRS = (*(("edge", ground) for ground in GROUNDS), *(("accent", ground) for ground in GROUNDS))


def css() -> str:
    """Both palettes as custom properties: `--p-page` and so on."""
    return f":root {{ {_properties(LIGHT)} }}\n.dark {{ {_properties(DARK)} }}\n"


def _properties(palette: MappingProxyType[str, str]) -> str:
    return " ".join(f"--p-{name}: {colour};" for name, colour in palette.items())


def contrast(first: str, second: str) -> float:
    """The WCAG contrast ratio of two #rrggbb colours, 1 to 21."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
