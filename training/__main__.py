"""`python -m training`: train · sample · compare · score · plan · describe and others. The command line is `palate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from toolkit.errors import PalateError, UsageError
from training.scorer_http import PORT

Settings = TypeVar("Settings", bound=BaseModel)
OutputFile = Annotated[Path, typer.Option(help="The .safetensors file to write.")]
Json = Annotated[str, typer.Option(help="Settings to change, as a JSON object.")]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def train(folder: Path) -> None:
    """Train a run folder to its end and write its LoRA."""
    from training.train import train as train_folder

    train_folder(folder)


@app.command()
def sample(
    recipe: Annotated[Path, typer.Option(help="Recipe whose base and sampler settings are used.")],
    prompt: Annotated[str, typer.Option()],
    output: Annotated[Path, typer.Option()],
    lora: Annotated[Path | None, typer.Option()] = None,
    count: Annotated[int, typer.Option(min=1)] = 1,
    strength: Annotated[float, typer.Option()] = 1.0,
    steps: Annotated[int, typer.Option(min=1)] = 20,
    guide: Annotated[Path | None, typer.Option(help="A latent reward that every step follows.")] = None,
    guide_scale: Annotated[float, typer.Option()] = 30.0,
) -> None:
    """Render pictures of one prompt; prints their paths as a JSON list."""
    from toolkit.recipe import read
    from training.sample import Guide
    from training.sample import sample as render

    following = Guide(guide, guide_scale) if guide else None
    paths = render(read(recipe), lora, prompt, output, count=count, strength=strength, steps=steps, guide=following)
    print(json.dumps([str(path) for path in paths]))


@app.command()
def compare(
    folder: Path,
    seeds: Annotated[int, typer.Option(min=1)] = 2,
    steps: Annotated[int, typer.Option(min=1)] = 20,
    judge: Annotated[str, typer.Option(help="A held-out scorer for the report.")] = "",
    strength: Annotated[float, typer.Option()] = 1.0,
) -> None:
    """Measure a run's LoRA against its base on the test prompts; prints the table as JSON."""
    from toolkit.run_folder import RunFolder
    from training.report import compare as compare_run

    print(json.dumps(compare_run(RunFolder(folder), seeds=seeds, steps=steps, judge=judge, strength=strength)))


@app.command()
def draw(
    root: Annotated[Path, typer.Argument(help="The folder of all runs.")],
    idle: Annotated[float, typer.Option(min=0, help="Seconds without a request after which it ends.")] = 120.0,
) -> None:
    """Draw the comparisons that wait below a folder of runs, with one base kept loaded."""
    from training.comparison import serve

    serve(root, idle)


@app.command()
def measure(
    wanted: Annotated[str, typer.Argument(help="A JSON object: the updates to measure by run folder.")],
    reward: Annotated[str, typer.Option(help="The scorer that all runs are measured by.")] = "demo",
    judge: Annotated[str, typer.Option(help="A held-out scorer.")] = "demo_judge",
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 20,
) -> None:
    """Measure checkpoints of runs on the test prompts; prints how many runs."""
    from training.measure import measure as measure_runs

    print(measure_runs(json.loads(wanted), reward=reward, judge=judge, steps=steps))


@app.command()
def score(
    question: Annotated[str, typer.Argument(help="A JSON object, as toolkit.word_questions says.")] = "",
    serve: Annotated[bool, typer.Option(help="Answer JSON lines on stdin.")] = False,
    idle: Annotated[float, typer.Option(help="Seconds without a question after which --serve ends.")] = 120.0,
) -> None:
    """How well a reward tells word pairs apart on a base's own pictures, and where they lead; prints a JSON list."""
    from toolkit.word_questions import Question
    from training import score as scoring

    if serve:
        scoring.serve(idle)
        return
    print(json.dumps(scoring.Answering().answer(Question.model_validate_json(question))))


@app.command()
def serve_scorer(
    name: str,
    port: Annotated[int, typer.Option(min=1, max=65535)] = PORT,
    settings: Annotated[list[str], typer.Option("--set", help="KEY=VALUE of the reward.")] = [],  # noqa: B006
) -> None:
    """Serve one of Palate's rewards to other programs on this machine (docs/remote-scorers.md)."""
    from toolkit.commands import overrides
    from toolkit.recipe import Section
    from training.scorer_server import serve

    serve(Section(name=name, settings=overrides(settings)), port)


@app.command()
def train_latent(
    pairs: str, output: OutputFile, recipe: Annotated[Path, typer.Option()], settings: Json = "{}"
) -> None:
    """Train a reward on noisy latents from preference pairs; prints what its header says."""
    from toolkit.recipe import read
    from training.latent_training import LatentTraining, train

    print(json.dumps(train(read(recipe), pairs, output, _settings(LatentTraining, settings))))


@app.command()
def tune_reward(
    photos: str,
    output: OutputFile,
    reward: Annotated[str, typer.Option()],
    word: Annotated[list[str], typer.Option()],
    settings: Json = "{}",
) -> None:
    """Tune a reward to style words; prints what its header says."""
    from toolkit.recipe import Section
    from training.reward_tuning import RewardTuning, tune

    print(json.dumps(tune(photos, Section(name=reward), word, output, _settings(RewardTuning, settings))))


@app.command()
def export_reward(
    weights: str, output: OutputFile, reward: Annotated[str, typer.Option()], settings: Json = "{}"
) -> None:
    """Write a reward for ComfyUI; prints what its header says."""
    from toolkit.recipe import Section
    from training.reward_export import export

    print(json.dumps(export(Section(name=reward, settings={**json.loads(settings), "weights": weights}), output)))


@app.command()
def learn_words(
    likes: str,
    output: OutputFile,
    reward: Annotated[list[str], typer.Option()],
    positive: Annotated[str, typer.Option()],
    negative: Annotated[str, typer.Option()],
    settings: Json = "{}",
) -> None:
    """Learn a word pair from likes; prints what its header says."""
    from toolkit.recipe import Section
    from toolkit.words import WordPair
    from training.word_learning import WordLearning, learn

    sections, pair = [Section(name=name) for name in reward], WordPair(positive=positive, negative=negative)
    print(json.dumps(learn(likes, sections, output, pair, _settings(WordLearning, settings))))


@app.command()
def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe file.")],
    set_: Annotated[str, typer.Option("--set", help="Settings to change, as a JSON object of dotted keys.")] = "{}",
    memory: Annotated[float | None, typer.Option(help="GB of the GPU to plan for; empty: this machine's.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="GPUs.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Where the run would lie.")] = None,
    fit: Annotated[bool, typer.Option(help="Look for settings that fit when these do not.")] = True,
    table: Annotated[bool, typer.Option("--table", help="The recipe's variants side by side instead.")] = False,
) -> None:
    """What a recipe needs of memory, time and disk, as JSON; loads no weights."""
    from toolkit.recipe import read
    from training.plan import plan as plan_run
    from training.plan import table as plan_variants

    content = read(recipe, json.loads(set_))
    if table:
        print(json.dumps(plan_variants(content)))
        return
    print(json.dumps(plan_run(content, memory_gb=memory, processes=processes, output=output, fit=fit)))


@app.command()
def pairs(
    recipe: Annotated[Path, typer.Argument(help="A recipe file.")],
    output: Annotated[Path, typer.Option(help="A new folder.")],
    set_: Annotated[str, typer.Option("--set", help="Settings to change, as a JSON object of dotted keys.")] = "{}",
    per_prompt: Annotated[int, typer.Option(min=2, help="Pictures drawn of each prompt.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Prompts used; all without it.")] = None,
    least_gap: Annotated[float, typer.Option(min=0, help="Pairs whose scores are closer are left out.")] = 0.0,
) -> None:
    """Preference pairs of the base's own pictures; prints counts as JSON."""
    from toolkit.recipe import read
    from training.pair_builder import PairBuilder

    builder = PairBuilder(read(recipe, json.loads(set_)), per_prompt=per_prompt)
    print(json.dumps(builder.write(output, limit=limit, least_gap=least_gap)))


@app.command()
def describe(write: Annotated[bool, typer.Option(help="Refresh toolkit/catalogue.json.")] = False) -> None:
    """Print the catalogue of methods, bases and rewards with their settings."""
    import toolkit
    from toolkit import atomic
    from training.describe import catalogue

    if write:
        atomic.write_json(Path(toolkit.__file__).parent / "catalogue.json", catalogue())
    else:
        print(json.dumps(catalogue(), indent=1, sort_keys=True))


def _settings(cls: type[Settings], given: str) -> Settings:
    try:
        return cls(**json.loads(given))
    except ValidationError as error:
        from toolkit.recipe import explain

        place = ".".join(map(str, error.errors()[0]["loc"]))
        known = f"Known: {', '.join(sorted(cls.model_fields))}."
        raise UsageError(f"The setting `{place}` is not right: {explain(error)}", action=known) from None


def main() -> int:
    """Run a command; every expected failure ends in one sentence and its exit code."""
    try:
        code = app(standalone_mode=False)  # typer returns 130 after a Ctrl-C that nobody caught
    except PalateError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    if code == 130:
        print("Stopped before anything began.", file=sys.stderr, flush=True)
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
