"""Before a run: what it needs and what would go wrong later, said now, in plain language."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit import catalogue, hub_access, launch, pairs, prompts
from toolkit.errors import PalateError, UsageError
from toolkit.pair_items import Item, Pair
from toolkit.recipe import Recipe

LEAST_FREE_BYTES = 25 * 2**20  # not even the demo does with less; a run works out what it needs once it is started
GB = 1e9


def preflight(recipe: Recipe, output: Path | None = None) -> None:
    """Look at every file a run will need. Raises UsageError for the first thing that cannot work."""
    lists = {role: prompts.read(source) for role, source in recipe.prompts}
    texts = {role: {prompt.text for prompt in content} for role, content in lists.items()}
    if recipe.data.kind:
        items = pairs.read(recipe.data.kind, recipe.data.source).kept
        texts["train"] = {item.prompt for item in items}
        if "scores" in catalogue.find("methods", recipe.method.name).needs:
            _check_scores(items)
        _check_frames(items, recipe)
    for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
        if shared := sorted(texts[first] & texts[second]):
            raise UsageError(
                f"The {first} and {second} prompts share {len(shared)}, such as “{shared[0]}”.",
                cause="What trains or selects a LoRA must not report on it.",
                action=f"Take them out of one list (`prompts.{second}`).",
            )
    _check_made(recipe)
    if output is not None:
        _check_disk(output)
    for weights in hub_access.sources(recipe):
        hub_access.check(weights)


def _check_made(recipe: Recipe) -> None:
    """Files that another command makes first: learned words, tuned rewards, and what a method goes by."""
    wanted = {"words.learned": [pair.learned for pair in recipe.words if pair.learned]}
    method = catalogue.find("methods", recipe.method.name).defaults() | recipe.method.settings
    if "weights" in method:
        wanted["method.weights"] = [method["weights"]]
    for section, place in ((recipe.reward, "reward"), (recipe.validation.scorer, "validation.scorer")):
        wanted[f"{place}.tuned"] = [tuned] if (tuned := section.settings.get("tuned")) else []
    for key, files in wanted.items():
        for name in files:
            if not name or not Path(name).expanduser().is_file():
                raise UsageError(
                    f"`{key}` names a file that is not there: `{name}`." if name else f"`{key}` names no file.",
                    cause="It is made first: by `palate words learn`, `palate reward tune` or `… train-latent`.",
                    action="Make it, or give its path in full.",
                )


def _check_scores(items: Sequence[Item]) -> None:
    if without := sum(isinstance(item, Pair) and item.scores is None for item in items):
        raise UsageError(
            f"The method weighs pairs by their scores, and {without} of {len(items)} pairs have none.",
            action="Give each line `score_chosen` and `score_rejected`, as `palate pairs build` does.",
        )


def _check_frames(items: Sequence[Item], recipe: Recipe) -> None:
    """A base that makes clips learns from clips; one that makes pictures takes an animation's first frame."""
    wanted = (catalogue.find("bases", recipe.base.name).defaults() | recipe.base.settings).get("frames") or 0
    if short := sum(any(picture.frames < wanted for picture in item.pictures) for item in items):
        raise UsageError(
            f"`{recipe.base.name}` makes clips of {wanted} frames, and {short} of {len(items)} {recipe.data.kind} "
            "have fewer.",
            cause="A still picture is a clip of one frame.",
            action="Give longer animations (docs/data.md), or set `base.frames` lower.",
        )


def free_bytes(output: Path) -> int:
    """What is free on the disk where `output` is or would be made."""
    place = next(parent for parent in (output.resolve(), *output.resolve().parents) if parent.exists())
    return shutil.disk_usage(place).free


def _check_disk(output: Path) -> None:
    free = free_bytes(output)
    if free < LEAST_FREE_BYTES:
        raise UsageError(
            f"Only {free // 2**20} MB are free where the run would be written.",
            cause=f"No run does with less than {LEAST_FREE_BYTES // 2**20} MB.",
            action="Free some space, or choose another disk with --output.",
        )


def ask(
    recipe: Path, overrides: Mapping[str, Any], *,
    memory: float | None = None, processes: int = 1, output: Path | None = None, fit: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """The plan of a recipe file, made by a child process so that nobody here loads torch. Raises PalateError."""
    arguments = ["plan", str(recipe.resolve()), "--set", json.dumps(dict(overrides)), "--processes", str(processes)]
    arguments += ["--memory", str(memory)] if memory else []
    arguments += ["--output", str(output.resolve())] if output else []
    return _backend(*arguments, "--fit" if fit else "--no-fit")


def ask_table(recipe: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The plans of a recipe's variants, for `table`; made by a child process as well. Raises PalateError."""
    return _backend("plan", str(recipe.resolve()), "--set", json.dumps(dict(overrides)), "--table")


def _backend(*arguments: str) -> dict[str, Any]:
    child = launch.backend(*arguments, cwd=Path.cwd())
    answer, problems = child.communicate()
    if child.returncode != 0:
        error = PalateError((problems.strip().splitlines() or ["The plan could not be made."])[-1])
        error.exit_code = max(child.returncode, 1)
        raise error
    return json.loads(answer.strip().splitlines()[-1])


def sentence(plan: Mapping[str, Any]) -> str:
    """A plan in one line."""
    phase, device = max(plan["phases"], key=lambda name: plan["phases"][name]), plan["device"]
    need = f"Needs about {gigabytes(plan['needed_bytes'])}"
    if device["memory_bytes"] is None:
        return f"{need} of memory, most of it in the phase `{phase}`."
    need += f" of {gigabytes(device['memory_bytes'])} of GPU memory, most of it in the phase `{phase}`."
    if device["fits"]:
        return f"{need} It fits."
    if plan["fit"] is None:
        return f"{need} It does not fit, whatever is switched: it needs a larger card."
    return f"{need} It does not fit; with {', '.join(plan['fit']['changes'])} it does."


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Plans side by side: the peak of each phase, and what one GPU needs when it is alone or one of several."""
    phases = list(dict.fromkeys(phase for row in rows.values() for phase in row["phases"]))
    counts = list(dict.fromkeys(count for row in rows.values() for count in row["needed_bytes"]))
    shown = ["| GB | " + " | ".join([*phases, *(_gpus(count) for count in counts)]) + " |"]
    shown += ["|---" * (1 + len(phases) + len(counts)) + "|"]
    for name, row in rows.items():
        sizes = [*(row["phases"][phase] for phase in phases), *(row["needed_bytes"][count] for count in counts)]
        shown += [f"| {name} | " + " | ".join(f"{size / GB:.1f}" for size in sizes) + " |"]
    return shown


def _gpus(count: str) -> str:
    return "needs on 1 GPU" if count == "1" else f"on each of {count}"


def lines(plan: Mapping[str, Any]) -> list[str]:
    """A plan as text for a terminal."""
    phases, parts, batch, disk = plan["phases"], plan["parts"], plan["batch"], plan["disk"]
    per_gpu = "per GPU" if plan["processes"] > 1 else "of live tensors"
    shown = [sentence(plan), "", f"  phase        peak {per_gpu}"]
    shown += [f"  {name:<11} {gigabytes(peak):>10}" for name, peak in phases.items()]
    kept = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items() if size)
    shown += ["", f"  Kept: {kept}. Text encoders leave once the prompts are encoded."]
    shown += [
        f"  Batch: {batch['per_device']} per GPU x {plan['processes']} GPUs x {batch['accumulation']} accumulated "
        f"= {batch['effective']} per update."
    ]
    seconds = plan["time"]
    shown += [
        f"  Time: about {_duration(seconds['seconds_per_update'])} an update, {_duration(seconds['seconds'])} in all. "
        f"An estimate: {seconds['update_flops'] / 1e12:.3g} TFLOP counted, divided by the rate of {seconds['basis']}."
    ]
    cards = ", ".join(f"{name} {_duration(value)}" for name, value in seconds["known_cards"].items())
    shown += [f"  An update elsewhere, at 40% of the stated rate: {cards}."]
    shown += [
        f"  Disk: {gigabytes(disk['run'])} for the run, {gigabytes(disk['weights'])} of weights; "
        f"{gigabytes(disk['free'])} are free. RAM: about {gigabytes(plan['ram_bytes'])} while loading."
    ]
    if plan["fit"]:
        shown += ["", "Settings that make it fit, in the order of least harm:"]
        shown += [f"  --set {key}={json.dumps(value)}" for key, value in plan["fit"]["settings"].items()]
        shown += [f"  {name:<11} {gigabytes(peak):>10}" for name, peak in plan["fit"]["phases"].items()]
    return shown


def gigabytes(size: float) -> str:
    """Bytes as people say them."""
    return f"{size / GB:.1f} GB" if size >= GB / 2 else f"{size / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    for limit, unit, width in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / width:.3g} {unit}"
    return f"{seconds / 86400:.3g} days"
