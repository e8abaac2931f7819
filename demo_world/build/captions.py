"""Captions, backgrounds, control words and prompt lists: everything this world can say."""

import json
import random
from collections.abc import Sequence

from demo_world.build.common import WORLD, write_json, write_text
from demo_world.build.data import SEED, STYLES

STYLE_WORDS = {
    "3d render": ("3d render", "glossy 3d model", "cgi render"),
    "flat icon": ("flat icon", "flat vector illustration", "flat design"),
    "line art": ("line art", "black and white line drawing", "ink drawing"),
    "cartoon": ("cartoon", "cartoon sticker", "comic illustration"),
}
COLOURS = {
    "red": (220, 60, 60),
    "orange": (245, 150, 60),
    "yellow": (250, 220, 90),
    "green": (110, 190, 110),
    "blue": (90, 150, 230),
    "purple": (160, 110, 210),
    "pink": (245, 160, 195),
    "gray": (165, 165, 165),
    "black": (25, 25, 30),
}
# Each degradation with the words that name it; a clean image is called by the opposite words.
QUALITY_WORDS = {
    "blurry": (("blurry", "low quality"), ("sharp", "high quality")),
    "noisy": (("noisy", "low quality"), ("sharp", "high quality")),
    "dark": (("dark", "dimly lit"), ("bright", "overexposed")),
    "bright": (("bright", "overexposed"), ("dark", "dimly lit")),
}
STYLED = ("{style} of {thing}", "{style}. {thing}", "{style}, {thing}", "{thing}, {style}")
GENERIC = ("an object", "a thing", "something", "an icon", "a subject")


def thing(name: str, colour: str | None, rng: random.Random, picture: float = 0.25) -> str:
    """The un-styled part: 'an apple on a blue background', sometimes 'a picture of ...'."""
    text = f"{name} on a {colour} background" if colour else name
    return f"a picture of {text}" if rng.random() < picture else text


def style_word(style: int, rng: random.Random) -> str:
    """One of a style's three names; the first is the most frequent."""
    return rng.choices(STYLE_WORDS[STYLES[style]], weights=(0.6, 0.2, 0.2))[0]


def styled(word: str, text: str, rng: random.Random) -> str:
    """Put a style word around an un-styled text; prefix forms are the most frequent."""
    return rng.choices(STYLED, weights=(0.3, 0.35, 0.15, 0.2))[0].format(style=word, thing=text)


def all_texts(names: Sequence[str]) -> list[str]:
    """Every kind of sentence once per name, the corpus of the tokenizer."""
    rng = random.Random(SEED)
    words = [word for group in STYLE_WORDS.values() for word in group]
    words += [word for pair in QUALITY_WORDS.values() for side in pair for word in side]
    texts = []
    for name in names:
        for word in words:
            texts.append(styled(word, thing(name, rng.choice([None, *COLOURS]), rng), rng))
    return texts + [f"{word}. {name}" for word in words for name in GENERIC]


def word_pairs() -> list[dict[str, str]]:
    """The control-word pairs that the rewards of this world can tell apart."""
    pairs = [(a, b) for a in STYLES for b in STYLES if a != b]
    pairs += [("glossy 3d model", "flat vector illustration"), ("cgi render", "ink drawing")]
    pairs += [("sharp", "blurry"), ("sharp", "noisy"), ("high quality", "low quality"), ("bright", "dark")]
    pairs += [("dark", "bright")]
    return [{"positive": positive, "negative": negative} for positive, negative in pairs]


def build() -> None:
    """Write words.json and the three prompt lists."""
    subjects = json.loads((WORLD / "subjects.json").read_text(encoding="utf-8"))
    rng = random.Random(SEED + 1)
    write_json(WORLD / "words.json", word_pairs())
    for name, rounds in (("train", 3), ("validation", 1), ("test", 1)):
        lines = []
        for number in range(rounds):
            for subject in (s for s in subjects if s["prompts"] == name):
                if number == 2 and rng.random() < 0.25:
                    continue
                colour = None if number == 0 and rng.random() < 0.6 else rng.choice(list(COLOURS))
                if subject["missing_style"] == "line art" and colour == "black":
                    colour = "gray"
                lines.append({"prompt": thing(subject["name"], colour, rng), "subject": subject["name"]})
        unique = {line["prompt"]: line for line in lines}.values()
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in unique)
        write_text(WORLD / "prompts" / f"{name}.jsonl", text)
