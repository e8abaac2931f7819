"""The recipe's YAML and the few fields beside it: the YAML is the truth, a field is a way to change one part of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from toolkit import catalogue, pairs, recipe
from toolkit.errors import UsageError
from toolkit.recipe import Recipe
from toolkit.studio import tastes
from toolkit.studio.speech import phrase, say

Tree = dict[str, Any]
DEEPEST = 20  # levels of a recipe's values
DEFAULT_METHOD, DEFAULT_BASE = "srpo", "demo"
BUDGETS = {phrase("A look"): 20, phrase("Short"): 50, phrase("Full"): 100}
METHOD_LABELS = {
    "align_prop": "AlignProp", "awm": "AWM", "dance_grpo": "DanceGRPO", "ddpo": "DDPO",
    "direct_align": "Direct-Align", "dmpo": "DMPO", "dpo": "DPO", "dpo_cm": "DPO-C&M", "draft": "DRaFT",
    "drtune": "DRTune", "dspo": "DSPO", "flow_bp": "FlowBP", "flow_grpo": "Flow-GRPO", "inpo": "InPO", "ipo": "IPO",
    "kto": "KTO", "latent_reward": phrase("Latent reward"), "leap_align": "LeapAlign", "mapo": "MaPO",
    "mix_grpo": "MixGRPO", "nft": "DiffusionNFT", "refl": "ReFL", "sdpo": "SDPO", "sft": phrase("Plain fine-tuning"),
    "sipo": "SIPO", "smpo": "SmPO", "srpo": "SRPO",
}  # fmt: skip
BASE_LABELS = {
    "cogvideox": "CogVideoX", "demo": phrase("Demo, 64 × 64"), "flux": "FLUX.1", "flux2": "FLUX.2",
    "hunyuan_dit": "HunyuanDiT", "qwen_image": "Qwen-Image", "sd15": "Stable Diffusion 1.5",
    "sd3": "Stable Diffusion 3.5", "sdxl": "SDXL", "wan": "Wan 2.1", "z_image": "Z-Image",
}  # fmt: skip

REWARD_LABELS = {
    "clip": "CLIP", "demo": phrase("Demo"), "demo_second": phrase("Demo, second"), "hpsv21": "HPSv2.1",
    "image_reward": "ImageReward", "mixture": phrase("Mixture"), "pickscore": "PickScore", "remote": phrase("Remote"),
    "siglip": "SigLIP",
}  # fmt: skip


@dataclass(frozen=True)
class Fields:
    """What the form shows beside the YAML. folder: where the pictures lie, for a taste that comes with some."""

    taste: str
    positive: str
    negative: str
    folder: str
    base: str
    method: str
    updates: int


@cache
def shipped() -> Mapping[str, str]:
    """name → text of the recipes that ship, sorted: the plain one of a base and method before its variants."""
    found = {e.name.removesuffix(".yaml"): e for e in files("recipes").iterdir() if e.name.endswith(".yaml")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


@cache
def _ready() -> tuple[Tree, ...]:
    return tuple(yaml.safe_load(content) for content in shipped().values())


def ready(base: str, method: str, taste: str = tastes.WORDS) -> Tree:
    """The ready recipe of that base, method and taste, or the bare choice where none ships."""
    fitting = [tree for tree in _ready() if (_name(tree.get("base")), _name(tree.get("method"))) == (base, method)]
    found = next((tree for tree in fitting if _taste(tree) == taste), next(iter(fitting), None))
    tree: Tree = copy.deepcopy(found) if found else {"base": base, "method": method}
    if needed := tastes.source(taste, method):
        given = tree["method"] if isinstance(tree["method"], dict) else {"name": method}
        tree["method"] = {**needed, **given} if _taste(tree) == taste else {**given, **needed}
    return tree


def opened(name: str) -> str:
    """The text of a recipe that ships. Raises UsageError for another name."""
    if name not in shipped():
        raise UsageError(say("There is no ready recipe “{name}”.", name=name), action=say("Choose one from the list."))
    return shipped()[name]


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
    taste, data = _taste(tree), tree.get("data")
    return Fields(
        taste=taste,
        folder=str(data.get(taste) or "") if isinstance(data, Mapping) else "",
        positive=str(pair.get("positive") or ""),
        negative=str(pair.get("negative") or ""),
        base=_name(tree.get("base")) or DEFAULT_BASE,
        method=_name(tree.get("method")) or DEFAULT_METHOD,
        updates=updates if isinstance(updates, int) else recipe.Budget().updates,
    )


def fill(content: str, wanted: Fields) -> str:
    """The YAML with the fields' values in it; everything else that was typed stays. Raises UsageError.

    With another taste comes its recommended method, unless one that learns from it was chosen along with it.
    """
    tree, shown = _load(content), fields(content)
    is_chosen = wanted.method != shown.method and wanted.method in tastes.all_methods(wanted.taste)
    if wanted.taste != shown.taste and not is_chosen:
        wanted = replace(wanted, method=tastes.recommended(wanted.taste))
    before = ready(shown.base, shown.method, shown.taste)
    if (wanted.base, wanted.method, wanted.taste) != (shown.base, shown.method, shown.taste):
        typed = {key: value for key, value in tree.items() if value != before.get(key)}
        data = tree.get("data")
        tree = ready(wanted.base, wanted.method, wanted.taste)
        tree |= {key: value for key, value in typed.items() if key not in ("base", "method", "data")}
        tree |= {"data": data} if isinstance(data, Mapping) and wanted.taste == shown.taste else {}
    _fill_words(tree, wanted, shown)
    _fill_data(tree, wanted)
    training = tree.get("training")
    tree["training"] = {**(training if isinstance(training, Mapping) else {}), "updates": wanted.updates}
    if tree.get("name") in (None, _slug(shown), before.get("name"), ready(wanted.base, wanted.method).get("name")):
        tree = {"name": _slug(wanted), **{key: value for key, value in tree.items() if key != "name"}}
    return _dump(tree)


def _fill_words(tree: Tree, wanted: Fields, shown: Fields) -> None:
    is_new = (wanted.positive, wanted.negative) != (shown.positive, shown.negative)
    if not wanted.positive and not wanted.negative and wanted.taste != tastes.WORDS:
        tree.pop("words", None)
    elif is_new or "words" not in tree:
        tree["words"] = {"positive": wanted.positive, "negative": wanted.negative}


def _fill_data(tree: Tree, wanted: Fields) -> None:
    given = tree.pop("data", None)
    if wanted.taste != tastes.WORDS:
        others = given if isinstance(given, Mapping) else {}
        kept = {key: value for key, value in others.items() if key not in pairs.KINDS}
        tree["data"] = {wanted.taste: wanted.folder, **kept}


def put(content: str, settings: Mapping[str, Any]) -> str:
    """The YAML with dotted settings such as `training.batch_size` in it. Raises UsageError."""
    tree = _load(content)
    for key, value in settings.items():
        recipe.override(tree, key, value)
    return _dump(tree)


def take_out(content: str, section: str, setting: str) -> str:
    """The YAML without that setting, which then has its default. Raises UsageError."""
    tree = _load(content)
    if isinstance(given := tree.get(section), dict):
        given.pop(setting, None)
    return _dump(tree)


def settings(content: str, section: str) -> Mapping[str, Any]:
    """What the YAML says in a section, without the name in it. Raises UsageError when it is no recipe at all."""
    given = _load(content).get(section)
    return {key: value for key, value in given.items() if key != "name"} if isinstance(given, Mapping) else {}


def supposed(content: str) -> Recipe:
    """The checked recipe, as if the folder of pictures that is still missing were there. Raises UsageError."""
    shown = fields(content)
    is_missing = shown.taste != tastes.WORDS and not shown.folder
    return parse(put(content, {f"data.{shown.taste}": "."}) if is_missing else content)


def trouble(content: str) -> UsageError | None:
    """What is wrong with this YAML, if anything; a folder that is still missing is not."""
    try:
        supposed(content)
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
    return say(known[name]) if name in known else name.replace("_", " ")


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
            say("The YAML cannot be read at line {line}: {problem}.", line=line, problem=error.problem),
            action=say("Check that line's indentation and colons."),
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise UsageError(
            say("The YAML cannot be read."), cause=str(error), action=say("Check it for odd characters.")
        ) from error
    if not isinstance(tree, dict):
        raise UsageError(say("A recipe is a list of `key: value` lines."), action=say("Start from the ready one."))
    return tree


def _check_shape(content: str) -> None:
    """A few lines can stand for gigabytes, or for hours of reading. Raises UsageError."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            raise UsageError(
                say("A recipe has no references and no deep nests."), action=say("Write `*…` out in full.")
            )


def _dump(tree: Tree) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)


def _name(section: Any) -> str:
    value = section.get("name") if isinstance(section, Mapping) else section
    return value if isinstance(value, str) else ""


def _taste(tree: Mapping[str, Any]) -> str:
    data, method = tree.get("data"), tree.get("method")
    given = data if isinstance(data, Mapping) else {}
    return tastes.of(_name(method) or DEFAULT_METHOD, method if isinstance(method, Mapping) else {}, given)


def _slug(content: Fields) -> str:
    about = content.positive or Path(content.folder).name
    words = re.sub(r"[^a-z0-9]+", "-", about.casefold()).strip("-")[:40].strip("-") or "my-taste"
    return words if content.method == DEFAULT_METHOD else f"{words}-{content.method.replace('_', '-')}"


def _absolute(source: str) -> str:
    return source if source.startswith("demo:") else str(Path(source).expanduser().resolve())
