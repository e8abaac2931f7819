"""The recipe: what to train, on what, towards what. One YAML file reproduces a run; forms read and write it too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from toolkit import catalogue, pairs, prompts
from toolkit.errors import UsageError, did_you_mean
from toolkit.recipe_parts import Budget, Data, Lora, Optimizer, Part, Prompts, Section, Validation
from toolkit.words import WordPair


class Recipe(Part):
    """Everything that decides a LoRA's bytes."""

    name: str = Field(
        default="my-taste", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Names the run and the file."
    )
    base: Section = Field(default=Section(name="demo"), description="The model that is aligned.")
    method: Section = Field(default=Section(name="srpo"), description="How it is aligned.")
    reward: Section = Field(default=Section(name="demo"), description="The scorer that is trained on.")
    words: tuple[WordPair, ...] = Field(default=(), description="Control-word pairs; several are drawn by weight.")
    prompts: Prompts = Prompts()
    data: Data = Data()
    lora: Lora = Lora()
    optimizer: Optimizer = Optimizer()
    training: Budget = Budget()
    validation: Validation = Validation()
    trackers: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = Field(
        default=(), description="Optional mirrors of events.jsonl (pip install palate[trackers])."
    )

    @field_validator("words", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, Mapping | WordPair) else value

    def digest(self) -> str:
        """A short hash of everything that decides the weights: neither the name nor the trackers, nor how many
        validation pictures are rendered at once, so that a run whose checks ran out of memory can go on.

        Prompt lists and data count by what they say, not by where they lie, so that a moved run keeps its hash.
        """
        content = self.model_dump(
            mode="json", exclude={"name": True, "trackers": True, "validation": {"batch_size": True}}
        )
        content["prompts"] = {role: prompts.fingerprint(source) for role, source in self.prompts}
        content["data"] |= {kind: pairs.fingerprint(source) for kind, source in self.data.sources.items()}
        for pair in content["words"]:
            if learned := pair.pop("learned"):
                pair["learned"] = pairs.fingerprint(learned)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """The whole recipe, defaults included, in reading order."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def parse(content: Any, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A checked recipe from parsed YAML and dotted overrides such as {"training.updates": 50}.

    Raises UsageError for unknown keys (with the nearest known one), wrong values and impossible combinations.
    """
    if not isinstance(content, Mapping):
        raise UsageError("A recipe is a list of `key: value` lines.", action="Start from `recipes/demo.yaml`.")
    tree = json.loads(json.dumps(dict(content), default=str))
    for key, value in (overrides or {}).items():
        override(tree, key, value)
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise _usage_error(error) from None
    check(recipe)
    return recipe


def read(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A checked recipe from a YAML file; files given relative to it become absolute."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"The recipe `{path}` does not exist.", action="See `palate recipes` for ready ones."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"The recipe `{path}` cannot be read: {error}", action="Check its indentation.") from error
    recipe = parse(content, overrides)
    lists = {k: v if v.startswith(prompts.DEMO) else str((path.parent / v).resolve()) for k, v in recipe.prompts}
    data = recipe.data.moved(lambda source: str((path.parent / Path(source).expanduser()).resolve()))
    words = tuple(
        pair.model_copy(
            update={"learned": pair.learned and str((path.parent / Path(pair.learned).expanduser()).resolve())}
        )
        for pair in recipe.words
    )
    return recipe.model_copy(update={"prompts": Prompts(**lists), "data": data, "words": words})


def check(recipe: Recipe) -> None:
    """Refuse what cannot work before anything loads. Raises UsageError."""
    method = catalogue.find("methods", recipe.method.name)
    base = catalogue.find("bases", recipe.base.name)
    for kind, section in (("methods", recipe.method), ("bases", recipe.base)):
        catalogue.check_settings(kind, section.name, section.settings)
    trained, selecting = _scorers(recipe.reward), _scorers(recipe.validation.scorer)
    for role, sections in (("reward", trained), ("validation scorer", selecting)):
        for name in (section.name for section in sections if catalogue.find("rewards", section.name).held_out):
            raise UsageError(
                f"`{name}` judges the final report and may not be the {role}.",
                action=f"Choose another {role}: {_others(name)}.",
            )
    for both in (section.name for section in trained if section in selecting):
        raise UsageError(
            f"`{both}` is both trained on and used to choose the best checkpoint.",
            cause="A reward that is being gamed cannot notice it.",
            action=f"Choose another validation scorer: {_others(both)}.",
        )
    given = ({"words"} if recipe.words else set()) | ({recipe.data.kind} if recipe.data.kind else set())
    settings = method.defaults() | recipe.method.settings
    needs = set(method.needs) | ({"photos"} if settings.get("source", "rollout") != "rollout" else set())
    if missing := sorted(needs - set(base.gives) - _gives(trained) - given - {"scores"}):  # preflight asks the pairs
        raise UsageError(_missing(missing[0], method.name, recipe.reward.name, base.name))
    if recipe.data.kind and recipe.data.kind not in needs:
        raise UsageError(
            f"`{method.name}` does not learn from `data.{recipe.data.kind}`.",
            action=f"Take it out, or choose one that does: {', '.join(catalogue.learning_from(recipe.data.kind))}.",
        )
    preference = settings.get("preference")
    if preference in ("relative", "positive") and not recipe.words:
        raise UsageError(
            f"`{method.name}` with `preference: {preference}` needs a control-word pair.",
            action="Add words: {positive: ..., negative: ...}, or set `method.preference` to `plain`.",
        )
    if preference == "relative" and "text_conditioned" not in _gives(trained):
        raise UsageError(
            f"`{method.name}` would learn nothing: `{recipe.reward.name}` ignores text, so both words score the same.",
            action="Set `method.preference` to `plain`, or choose a reward that reads the prompt.",
        )
    if recipe.words and "text_conditioned" not in _gives(selecting):
        raise UsageError(
            f"`{recipe.validation.scorer.name}` ignores text and cannot tell which checkpoint follows the words.",
            action="Choose a validation scorer that reads the prompt.",
        )


def _scorers(section: Section) -> list[Section]:
    """The scorers that a checked reward section stands for: itself, or its parts where its settings name some."""
    catalogue.check_settings("rewards", section.name, section.settings)
    parts = (catalogue.find("rewards", section.name).defaults() | section.settings).get("parts")
    if parts is None:
        return [section]
    return [leaf for part in parts for leaf in _scorers(Section.model_validate(part["reward"]))]


def _gives(scorers: list[Section]) -> set[str]:
    """What a sum of scorers gives: all that one of them gives, but a gradient only if each has one."""
    each = [set(catalogue.find("rewards", section.name).gives) for section in scorers]
    return set.union(*each) - ({"differentiable"} - set.intersection(*each))


def _missing(need: str, method: str, reward: str, base: str) -> str:
    return {
        "text_conditioned": f"`{method}` compares words, but the reward `{reward}` ignores text. Choose one that reads "
        "the prompt, or the method `direct_align` with `preference: plain`.",
        "differentiable": f"`{method}` follows the reward's gradient, but `{reward}` has none. "
        "Choose a differentiable reward, or a method that needs none, such as `nft` or `flow_grpo`.",
        "words": f"`{method}` needs a control-word pair. Add words: {{positive: ..., negative: ...}}.",
        "pairs": f"`{method}` learns from preference pairs. Add data: {{pairs: FOLDER}}.",
        "photos": f"`{method}` learns from pictures with captions. Add data: {{photos: FOLDER}}.",
        "likes": f"`{method}` learns from pictures liked or disliked. Add data: {{likes: FOLDER}}.",
    }.get(need, f"`{method}` needs `{need}`, which neither the base `{base}` nor the reward `{reward}` gives.")


def _others(name: str) -> str:
    return ", ".join(n for n, entry in catalogue.load()["rewards"].items() if n != name and not entry.held_out)


def override(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value at `training.updates` or the like into a recipe that is still a tree. Raises UsageError."""
    *parents, last = dotted.split(".")
    node: dict[str, Any] = tree
    for part in parents:
        child: Any = node.setdefault(part, {})
        if isinstance(child, str):  # `method: srpo` becomes `method: {name: srpo}`
            child = node[part] = {"name": child}
        if not isinstance(child, dict):
            raise UsageError(
                f"`--set {dotted}` does not name a setting.", action="Write it like `training.updates=50`."
            )
        node = child
    node[last] = value


def _usage_error(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *parents, wrong = first["loc"]
        return UsageError(f"Unknown recipe key `{place}`.", action=did_you_mean(str(wrong), _keys_at(parents)))
    return UsageError(f"The recipe's `{place}` is not right: {explain(error)}")


def explain(error: ValidationError) -> str:
    """The first problem as a sentence, without pydantic's own words around it."""
    return error.errors()[0]["msg"].removeprefix("Value error, ").rstrip(".") + "."


def _keys_at(parents: list[Any]) -> list[str]:
    model: Any = Recipe
    for part in parents:
        if isinstance(part, int):
            model = WordPair
        else:
            model = model.model_fields[part].annotation
    return list(getattr(model, "model_fields", {}))
