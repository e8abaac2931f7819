"""What the command line does, one function per command; the words it prints, and nothing it computes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from toolkit import doctor as examination
from toolkit import follow, launch, pairs, prompts, recipe, run_folder
from toolkit import plan as planning
from toolkit import words as word_library
from toolkit.errors import PalateError, UsageError, did_you_mean
from toolkit.loras.convert import readers
from toolkit.plan import preflight
from toolkit.run_folder import RunFolder
from toolkit.word_questions import Question
from toolkit.words import WEAK, WordPair

ROWS = (
    ("trained reward, positive - negative", "reward", "{:+.3f}"),
    ("second reward, positive - negative", "second", "{:+.3f}"),
    ("judge: share in the positive style", "judge_positive", "{:.0%}"),
    ("judge: share in the negative style", "judge_negative", "{:.0%}"),
    ("subject found among the 5 nearest", "recall", "{:.0%}"),
    ("diversity", "diversity", "{:.3f}"),
    ("saturation", "saturation", "{:.3f}"),
    ("brightness", "brightness", "{:.3f}"),
    ("clipped pixels", "clipped", "{:.0%}"),
    ("fine texture", "texture", "{:.4f}"),
)
SHOWN = 8  # places that are named before the rest is only counted
out = Console(highlight=False, soft_wrap=True)


def ready_recipe(name: str) -> Path:
    """The path of a ready recipe. Raises UsageError with the nearest name."""
    known = {path.stem: path for path in _ready_recipes()}
    if name not in known:
        raise UsageError(f"There is no ready recipe `{name}`.", action=did_you_mean(name, known))
    return known[name]


def train(
    source: Path, settings: list[str], runs: Path | None, output: Path | None,
    *, processes: int, quiet: bool, dry_run: bool = False,
) -> RunFolder:  # fmt: skip
    """Check, create the run folder, train it in a child process and follow it to its end."""
    path = recipe_file(source)
    content = recipe.read(path, overrides(settings))
    root = runs or run_folder.default_root()
    preflight(content, output or root)
    if dry_run:
        planned = RunFolder(output or root / content.name)
        out.print(content.to_yaml(), end="")
        out.print(f"# would run: {launch.shown(launch.command(planned, processes=processes))}")
        return planned
    run = RunFolder.create(output or root, content, exact=output is not None)
    return _follow(run, processes=processes, quiet=quiet)


def recipe_file(source: Path) -> Path:
    """A recipe's own path, or that of a ready one. Raises UsageError for an unknown name."""
    return source if source.suffix in (".yaml", ".yml") or source.is_file() else ready_recipe(str(source))


def plan(
    source: Path, settings: list[str],
    *, memory: float | None, processes: int, output: Path | None, table: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print what a recipe needs, or what its variants need side by side."""
    path, changes = recipe_file(source), overrides(settings)
    recipe.read(path, changes)  # what is wrong with it is said at once
    with Console(stderr=True).status("Rehearsing the run without weights …"):
        if table:
            made = planning.ask_table(path, changes)
        else:
            made = planning.ask(path, changes, memory=memory, processes=processes, output=output)
    shown = planning.table if table else planning.lines
    out.print(json.dumps(made) if as_json else "\n".join(shown(made)), markup=False)


def doctor(runs: Path | None, *, online: bool, as_json: bool) -> bool:
    """Print what was found; False when something prevents training."""
    findings = examination.examine(runs or run_folder.default_root(), online=online)
    if as_json:
        out.print(json.dumps([asdict(finding) for finding in findings]), markup=False)
    else:
        for finding in findings:
            mark = {"ok": "ok  ", "note": "note", "stop": "STOP"}[finding.state]
            out.print(f"{mark}  {finding.about:<12} {finding.sentence}", markup=False)
    return all(finding.state != "stop" for finding in findings)


def resume(name: str, runs: Path | None, *, processes: int, quiet: bool) -> RunFolder:
    """Go on with a run from its last checkpoint."""
    run = find(name, runs)
    preflight(run.recipe(), run.path)
    return _follow(run, processes=processes, quiet=quiet)


def _follow(run: RunFolder, *, processes: int, quiet: bool) -> RunFolder:
    if not quiet:
        out.print(f"Run folder: {_short(run.path)}")
    follow.follow(run, lambda: launch.start(run, processes=processes), quiet=quiet)
    out.print(run.state().message)
    loras = run.lora_files()
    for path, program in zip(loras, readers(run.recipe().base.name), strict=False):
        out.print(f"LoRA: {_short(path)}, for {program}")
    if loras:
        out.print(f"Next: palate compare {_short(run.path)}, or palate sample {_short(run.path)} --prompt 'a cat'")
    return run


def export_demo(comfyui: Path) -> None:
    """Write the embedded model for ComfyUI."""
    from toolkit.demo_export import export

    out.print(f"The embedded model for ComfyUI: {_short(export(comfyui))}", markup=False)
    out.print("Next: restart ComfyUI, or press R in it, and add the node Load Demo World.", markup=False)


def compare(run: RunFolder, *, judge: str = "", seeds: int = 2, steps: int = 20, quiet: bool = False) -> dict[str, Any]:
    """Print the table base → aligned on the test prompts."""
    _needs_lora(run)
    arguments = ["compare", str(run.path), "--seeds", str(seeds), "--steps", str(steps)]
    table = ask_backend(*arguments, *(["--judge", judge] if judge else []), cwd=run.path, quiet=quiet)
    facts = table["pictures"]
    shown = Table(title=f"{run.name}: {facts['prompts']} test prompts x {facts['seeds']} seeds, {facts['steps']} steps")
    for heading, justify in (("", "left"), ("base", "right"), ("aligned", "right"), ("guard", "left")):
        shown.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for label, key, form in ROWS:
        if table["base"].get(key) is not None:
            values = [form.format(table[side][key]) for side in ("base", "aligned")]
            shown.add_row(label, *values, table["guards"].get(key, ""))
    out.print(shown)
    out.print(f"Before and after: {_short(run.report / 'before_after.png')}")
    out.print("Next: make studio, to see this run in the browser")
    return table


def sample(
    name: str, runs: Path | None, prompt: str, output: Path, *, count: int, strength: float, steps: int,
    guide: Path | None = None, guide_scale: float = 30.0,
) -> list[Path]:  # fmt: skip
    """Render pictures of one prompt."""
    run = find(name, runs)
    _needs_lora(run)
    arguments = ["sample", "--recipe", str(run.recipe_file), "--prompt", prompt, "--output", str(output.resolve())]
    arguments += ["--lora", str(run.lora_files()[0]), "--count", str(count), "--strength", str(strength)]
    if guide is not None:
        arguments += ["--guide", str(guide.resolve()), "--guide-scale", str(guide_scale)]
    paths = [Path(path) for path in ask_backend(*arguments, "--steps", str(steps), cwd=run.path, quiet=False)]
    out.print(f"{len(paths)} pictures: {_short(paths[0].parent)}")
    return paths


def list_runs(runs: Path | None) -> None:
    """A table of all runs."""
    root = runs or run_folder.default_root()
    found = run_folder.all_runs(root)
    if not found:
        out.print(f"No runs in {_short(root)} yet. Next: palate demo")
        return
    table = Table("run", "state", "update", "what happened")
    for run in found:
        state = run.state()
        table.add_row(run.name, state.status, f"{state.update}/{state.updates}", state.message)
    out.print(table)


def list_recipes() -> None:
    """A table of the ready recipes with their first comment."""
    table = Table("recipe", "what it does")
    for path in _ready_recipes():
        table.add_row(path.stem, path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))
    out.print(table)


def list_words() -> None:
    """A table of the word library."""
    table = Table("positive", "negative", "told apart by", "note")
    for entry in word_library.library():
        measured = ", ".join(f"{name} {value:.2f}" for name, value in entry.separation.items()) or "unmeasured here"
        table.add_row(entry.positive, entry.negative, measured, entry.note)
    out.print(table)


def measure_words(positive: str, negative: str, *, base: str, reward: str) -> None:
    """Print how well the reward tells the pair apart on the base's own pictures."""
    pair = word_pair(positive, negative)
    question = Question(ask="separations", base=base, reward=reward, pairs=((pair.positive, pair.negative),))
    ((separation, cosine),) = ask_backend("score", question.model_dump_json(), cwd=Path.cwd(), quiet=False)
    beside = "" if cosine is None else f", cosine {cosine:.2f}"
    out.print(f"{pair}: separation {separation:.2f} (0.5 = cannot tell apart){beside}", markup=False)
    if separation < WEAK:
        out.print("Weak: this reward can hardly follow these words. Try plainer words.")


def word_pair(positive: str, negative: str) -> WordPair:
    """The pair of two words from the command line. Raises UsageError."""
    try:
        return WordPair(positive=positive, negative=negative)
    except ValidationError as error:
        raise UsageError(recipe.explain(error)) from None


def build_pairs(
    source: Path, settings: list[str], output: Path, *, per_prompt: int, limit: int | None, least_gap: float
) -> None:
    """Let the recipe's base draw pairs, best against worst by the recipe's reward."""
    path, changes = recipe_file(source), overrides(settings)
    recipe.read(path, changes)  # what is wrong with it is said at once
    arguments = ["pairs", str(path.resolve()), "--set", json.dumps(changes), "--output", str(output.resolve())]
    arguments += ["--per-prompt", str(per_prompt), "--least-gap", str(least_gap)]
    made = ask_backend(*arguments, *(["--limit", str(limit)] if limit else []), cwd=Path.cwd(), quiet=False)
    out.print(f"{made['kept']} pairs, {made['too_close']} too close; the reward differs by {made['mean_gap']:.3f}.")
    out.print(f"Next: palate train {source} --set data.pairs={_short(output)}", markup=False)


def check_data(source: Path, kind: pairs.Readable) -> None:
    """Print what a data set holds, and why the rest is left out."""
    found = pairs.read(kind, source)
    masked = sum(isinstance(item, pairs.Pair) and item.mask is not None for item in found.kept)
    what = kind if len(found.kept) != 1 else kind.removesuffix("s")
    out.print(f"{_short(source)}: {len(found.kept)} {what} kept, {sum(map(len, found.dropped.values()))} dropped.")
    if masked:
        out.print(f"  {masked:>6}  of them with a mask")
    for reason, places in found.dropped.items():
        out.print(f"  {len(places):>6}  {reason}: {', '.join(places[:SHOWN])}{' …' if len(places) > SHOWN else ''}")
        out.print(f"          {pairs.ADVICE[reason]}")


def find(name: str, runs: Path | None) -> RunFolder:
    """A run by name or folder."""
    return run_folder.find(runs or run_folder.default_root(), name)


def overrides(settings: list[str]) -> dict[str, Any]:
    """`key=value` strings to a mapping; values are read as YAML, prompt files from the current folder.

    Raises UsageError.
    """
    parsed, places = {}, ("prompts.", *(f"data.{kind}" for kind in pairs.KINDS))
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise UsageError(f"`--set {setting}` is not KEY=VALUE.", action="Write it like training.updates=50.")
        try:
            parsed[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"The value of `--set {setting}` cannot be read: {error}") from error
        if value and key.startswith(places) and not value.startswith(prompts.DEMO):
            parsed[key] = str(Path(value).expanduser().resolve())
    return parsed


def ask_backend(*arguments: str, cwd: Path, quiet: bool) -> Any:
    """The last line that a short backend command prints, as JSON. Raises PalateError with its last complaint."""
    with Console(stderr=True, quiet=quiet).status(f"palate {arguments[0]} …"):
        child = launch.backend(*arguments, cwd=cwd)
        answer, problems = child.communicate()
    if child.returncode != 0:
        error = PalateError(problems.strip().splitlines()[-1] if problems.strip() else f"{arguments[0]} failed.")
        error.exit_code = child.returncode if child.returncode > 0 else 1
        raise error
    return json.loads(answer.strip().splitlines()[-1])


def _needs_lora(run: RunFolder) -> None:
    if not run.lora_files():
        raise UsageError(f"`{run.name}` has no LoRA yet.", action=f"palate resume {run.name}")
    prompts.read(run.recipe().prompts.test)


def _ready_recipes() -> list[Path]:
    return sorted(Path(str(path)) for path in files("recipes").iterdir() if path.name.endswith(".yaml"))


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
