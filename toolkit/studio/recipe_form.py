"""The recipe's YAML and the few fields beside it: the YAML is the truth, a field is a way to change one part of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from toolkit import catalogue, recipe
from toolkit.errors import UsageError
from toolkit.recipe import Recipe

Tree = dict[str, Any]
DEEPEST = 20  # levels of a recipe's values
DEFAULT_METHOD, DEFAULT_BASE = "srpo", "demo"
BUDGETS = {"A look": 20, "Short": 50, "Full": 100}
METHOD_LABELS = {
    "align_prop": "AlignProp", "awm": "AWM", "dance_grpo": "DanceGRPO", "ddpo": "DDPO",
    "direct_align": "Direct-Align", "dmpo": "DMPO", "dpo": "DPO", "dpo_cm": "DPO-C&M", "draft": "DRaFT",
    "drtune": "DRTune", "dspo": "DSPO", "flow_bp": "FlowBP", "flow_grpo": "Flow-GRPO", "inpo": "InPO", "ipo": "IPO",
    "kto": "KTO", "latent_reward": "Latent reward", "leap_align": "LeapAlign", "mapo": "MaPO", "mix_grpo": "MixGRPO",
    "nft": "DiffusionNFT", "refl": "ReFL", "sdpo": "SDPO", "sft": "Plain fine-tuning", "sipo": "SIPO", "smpo": "SmPO",
    "srpo": "SRPO",
}  # fmt: skip
BASE_LABELS = {
    "cogvideox": "CogVideoX", "demo": "Demo, 64 × 64", "flux": "FLUX.1", "flux2": "FLUX.2", "hunyuan_dit": "HunyuanDiT",
    "qwen_image": "Qwen-Image", "sd15": "Stable Diffusion 1.5", "sd3": "Stable Diffusion 3.5", "sdxl": "SDXL",
    "wan": "Wan 2.1", "z_image": "Z-Image",
}  # fmt: skip

REWARD_LABELS = {
    "clip": "CLIP", "demo": "Demo", "demo_second": "Demo, second", "hpsv21": "HPSv2.1", "image_reward": "ImageReward",
    "mixture": "Mixture", "pickscore": "PickScore", "remote": "Remote", "siglip": "SigLIP",
}  # fmt: skip


@dataclass(frozen=True)
class Fields:
    """What the form shows beside the YAML."""

    positive: str
    negative: str
    base: str
    method: str
    updates: int


@cache
def _ready() -> tuple[Tree, ...]:
    """The recipes that ship, in the order of their names: the plain one of a base and method before its variants."""
    shipped = (entry for entry in files("recipes").iterdir() if entry.name.endswith(".yaml"))
    found = [
        yaml.safe_load(entry.read_text(encoding="utf-8"))
        for entry in sorted(shipped, key=lambda entry: entry.name.removesuffix(".yaml"))
    ]
    return tuple(found)


def ready(base: str, method: str) -> Tree:
    """The ready recipe of that base and method, or the bare choice where none ships."""
    for tree in _ready():
        if (_name(tree.get("base")), _name(tree.get("method"))) == (base, method):
            return dict(tree)
    return {"base": base, "method": method}


def first() -> str:
    """The YAML that a fresh page opens with."""
    return _dump(ready(DEFAULT_BASE, DEFAULT_METHOD))


def taught(positive: str, negative: str) -> str:
    """The first YAML with this pair in it."""
    shown = fields(first())
    return fill(first(), replace(shown, positive=positive, negative=negative))


def parse(content: str) -> Recipe:
    """The checked recipe of this YAML; prompt files given relative to the working directory become absolute.

    Raises UsageError naming the line or the key that is wrong.
    """
    checked = recipe.parse(_load(content))
    places = {role: _absolute(source) for role, source in checked.prompts}
    moved = {"prompts": recipe.Prompts(**places), "data": checked.data.moved(_absolute)}
    return checked.model_copy(update=moved)


def fields(content: str) -> Fields:
    """What the form's fields should show for this YAML. Raises UsageError when it is not a recipe at all."""
    tree = _load(content)
    words = tree.get("words") or {}
    pair = words if isinstance(words, Mapping) else (words[0] if isinstance(words, list) else {})
    pair = pair if isinstance(pair, Mapping) else {}
    training = tree.get("training")
    updates = training.get("updates") if isinstance(training, Mapping) else None
    return Fields(
        positive=str(pair.get("positive") or ""),
        negative=str(pair.get("negative") or ""),
        base=_name(tree.get("base")) or DEFAULT_BASE,
        method=_name(tree.get("method")) or DEFAULT_METHOD,
        updates=updates if isinstance(updates, int) else recipe.Budget().updates,
    )


def fill(content: str, wanted: Fields) -> str:
    """The YAML with the fields' values in it; everything else that was typed stays. Raises UsageError."""
    tree, shown = _load(content), fields(content)
    if (wanted.base, wanted.method) != (shown.base, shown.method):
        old, tree = tree, ready(wanted.base, wanted.method)
        typed = {key: value for key, value in old.items() if value != ready(shown.base, shown.method).get(key)}
        tree |= {key: value for key, value in typed.items() if key not in ("base", "method")}
    if (wanted.positive, wanted.negative) != (shown.positive, shown.negative) or "words" not in tree:
        tree["words"] = {"positive": wanted.positive, "negative": wanted.negative}
    training = tree.get("training")
    tree["training"] = {**(training if isinstance(training, Mapping) else {}), "updates": wanted.updates}
    if tree.get("name") in (None, _slug(shown), ready(shown.base, shown.method).get("name")):
        tree = {"name": _slug(wanted), **{key: value for key, value in tree.items() if key != "name"}}
    return _dump(tree)


def trouble(content: str) -> UsageError | None:
    """What is wrong with this YAML, if anything."""
    try:
        parse(content)
    except UsageError as error:
        return error
    return None


def reconcile(content: str, form: Fields, seen: Any) -> str:
    """The YAML to start: a field changed since form and YAML agreed on `seen` counts, unless the YAML changed too."""
    agreed = list(seen) if isinstance(seen, list) else []
    return fill(content, form) if list(astuple(form)) != agreed == list(astuple(fields(content))) else content


def reward(content: str) -> str:
    """The reward that this YAML trains on. Raises UsageError when it is not a recipe at all."""
    return _name(_load(content).get("reward")) or Recipe().reward.name


def label(kind: str, name: str) -> str:
    """A table entry's name as a creator writes it."""
    known = {"methods": METHOD_LABELS, "bases": BASE_LABELS, "rewards": REWARD_LABELS}.get(kind, {})
    return known.get(name, name.replace("_", " "))


def choices(kind: str) -> list[tuple[str, str]]:
    """(label, name) of everything in a table that may be chosen, the default first, then what has a ready recipe."""
    section = kind.removesuffix("s")
    shipped = [_name(tree.get(section)) for tree in _ready()]
    names = [name for name, entry in catalogue.load()[kind].items() if not entry.held_out]
    names.sort(key=lambda name: (name not in (DEFAULT_METHOD, DEFAULT_BASE), name not in shipped, name))
    return [(label(kind, name), name) for name in names]


def summary(kind: str, name: str) -> str:
    """One sentence about a table entry, empty for an unknown one."""
    entry = catalogue.load()[kind].get(name)
    return entry.summary if entry else ""


def _load(content: str) -> Tree:
    content = str(content or "")
    try:
        _check_shape(content)
        tree = yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(
            f"The YAML cannot be read at line {line}: {error.problem}.",
            action="Check that line's indentation and colons.",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise UsageError("The YAML cannot be read.", cause=str(error), action="Check it for odd characters.") from error
    if not isinstance(tree, dict):
        raise UsageError("A recipe is a list of `key: value` lines.", action="Start from the ready one.")
    return tree


def _check_shape(content: str) -> None:
    """A few lines can stand for gigabytes, or for hours of reading. Raises UsageError."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            raise UsageError("A recipe has no references and no deep nests.", action="Write `*…` out in full.")


def _dump(tree: Tree) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)


def _name(section: Any) -> str:
    value = section.get("name") if isinstance(section, Mapping) else section
    return value if isinstance(value, str) else ""


def _slug(content: Fields) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", content.positive.casefold()).strip("-")[:40].strip("-") or "my-taste"
    return words if content.method == DEFAULT_METHOD else f"{words}-{content.method.replace('_', '-')}"


def _absolute(source: str) -> str:
    return source if source.startswith("demo:") else str(Path(source).expanduser().resolve())
