"""From a recipe to the parts of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from toolkit import pairs, prompts
from toolkit.errors import UsageError
from toolkit.pairs import Kind
from toolkit.recipe import Recipe, Section
from toolkit.run_folder import cache_root
from toolkit.words import WordPair
from training import examination, learned_words, lora_loading, tables
from training.adapters import Policy
from training.batches import Batches, PromptBatches, Sharding
from training.contracts import Base, Conditioning, Examines
from training.examination import Examination
from training.latent_cache import LatentCache
from training.picture_batches import BATCHES
from training.randomness import key
from training.text_cache import ConditioningCache
from training.trainer import Parts
from training.validation import VALIDATION, Panel, Renderer


@dataclass(frozen=True)
class Stage:
    """A base with its LoRA and a text cache: all that rendering needs."""

    policy: Policy
    encode: ConditioningCache
    nothing: Callable[[], Conditioning]  # what true guidance guides away from, kept as prompts are

    def renderer(self, recipe: Recipe, purpose: str, *, steps: int | None = None) -> Renderer:
        """Renders with the recipe's validation settings; `purpose` separates the seeds."""
        settings = recipe.validation
        return Renderer(
            self.policy,
            self.encode,
            steps=steps or settings.steps,
            guidance_scale=settings.guidance_scale,
            seed=recipe.training.seed,
            purpose=purpose,
            batch_size=settings.batch_size,
        )


def stage(recipe: Recipe, device: torch.device, base: Base | None = None) -> Stage:
    """The recipe's base with a fresh LoRA on `device`; `base`: what `bare_base` gave, to be used again."""
    dtype = getattr(torch, recipe.training.dtype)
    base = base or bare_base(recipe)
    encode = ConditioningCache(base.encode, folder=_kept_in("text", base.text_id), device=device)
    nothing = partial(encode.nothing, base.encode_nothing)
    policy = Policy(
        base, recipe.lora, seed=recipe.training.seed, device=device, dtype=dtype, encode_nothing=nothing
    )  # fmt: skip
    return Stage(policy, encode, nothing)


def bare_base(recipe: Recipe) -> Base:
    """The recipe's base on the CPU, with the LoRA it starts from and without the one to be trained."""
    base = tables.base(recipe.base)
    if recipe.lora.start:
        lora_loading.start_from(
            base.network, Path(recipe.lora.start).expanduser(), family=recipe.base.name,
            strength=recipe.lora.start_strength, merge=recipe.lora.start_as == "merged",
        )  # fmt: skip
    return base


def _kept_in(kind: str, identity: str) -> Path | None:
    return cache_root() / kind / identity if identity else None


def parts(recipe: Recipe, accelerator: Accelerator) -> Parts:
    """Everything a run is made of, on this process's device.

    What is small and may be missing comes before what is large; scorers wait in RAM until the text encoders have left.
    """
    method = tables.method(recipe.method)
    reward, second = (taught(section, recipe.words) for section in (recipe.reward, recipe.validation.scorer))
    built = stage(recipe, accelerator.device)
    validation, train = prompts.read(recipe.prompts.validation), prompts.read(recipe.prompts.train)
    items, unseen = _data(recipe)
    learned = [item.prompt for item in items] if items else [prompt.text for prompt in train]
    built.encode.prepare([*learned, *(item.prompt for item in unseen), *(prompt.text for prompt in validation)])
    if recipe.data.prompt_dropout:
        built.nothing()
    built.policy.release_text()
    reward, second = (on_device(scorer, accelerator.device) for scorer in (reward, second))
    return Parts(
        policy=built.policy,
        method=method,
        reward=reward,
        batches=_batches(recipe, built, items or learned, accelerator),
        renderer=built.renderer(recipe, VALIDATION),
        panel=Panel(
            validation, recipe.words, {"reward": reward, "second": second}, among=train, device=accelerator.device
        ),
        prompts=[prompt.text for prompt in validation],
        examine=_examination(recipe, built, method, unseen) if unseen and isinstance(method, Examines) else dict,
    )


def _data(recipe: Recipe) -> tuple[Sequence[Any], Sequence[Any]]:
    """(what is learned from, the pairs held out), both empty where pictures are drawn."""
    if recipe.data.kind is None:
        return (), ()
    items: Any = pairs.read(recipe.data.kind, recipe.data.source).kept
    if recipe.data.kind != "pairs":
        return items, ()
    return examination.split(items, recipe.data.held_out, seed=recipe.training.seed)


def _examination(recipe: Recipe, built: Stage, method: Examines, unseen: Sequence[Any]) -> Examination:
    size = examination.batch_size(len(unseen), recipe.training.batch_size)
    seed = key(recipe.training.seed, "examination")
    batches = batches_of("pairs", unseen, recipe, built, batch_size=size, accumulation=1, seed=seed)
    return Examination(method, built.policy, batches, len(unseen) * examination.GLANCES // size)


def _batches(recipe: Recipe, built: Stage, items: Sequence[Any], accelerator: Accelerator) -> Batches:
    dropout = {"prompt_dropout": recipe.data.prompt_dropout, "nothing": built.nothing} if recipe.data.kind else {}
    return batches_of(
        recipe.data.kind, items, recipe, built, **dropout,
        batch_size=recipe.training.batch_size,
        accumulation=recipe.training.gradient_accumulation,
        sharding=Sharding(accelerator.process_index, accelerator.num_processes),
    )  # fmt: skip


def batches_of(kind: Kind | None, items: Sequence[Any], recipe: Recipe, built: Stage, **options: Any) -> Batches:
    """Of prompts, or of a kind of pictures, which are encoded here; the recipe gives words and seed."""
    base, device = built.policy.base, built.policy.device
    options = {"seed": recipe.training.seed, "device": device} | options
    if kind is None:
        return PromptBatches(items, recipe.words, built.encode, **options)
    latents = LatentCache(base, folder=_kept_in("latents", base.latents_id), device=device)
    latents.prepare(picture for item in items for picture in item.pictures)
    return BATCHES[kind](items, recipe.words, built.encode, latents, **options)


def scorer(section: Section, device: torch.device, words: Sequence[WordPair] = ()) -> Any:
    """A reward on `device`, whether it has weights or not, that knows the learned ones among `words`."""
    return on_device(taught(section, words), device)


def taught(section: Section, words: Sequence[WordPair]) -> Any:
    """A reward on the CPU that knows the learned ones among `words`.

    Raises UsageError where a pair names neither of the words in its file, or the reward cannot learn any.
    """
    loaded: Any = tables.reward(section)
    for pair in words:
        if pair.learned:
            _teach(loaded, section.name, pair)
    return loaded


def _teach(reward: Any, name: str, pair: WordPair) -> None:
    known = learned_words.read(pair.learned, name)
    if not {pair.positive, pair.negative} & set(known):
        raise UsageError(
            f"The words `{pair}` are not in `{Path(pair.learned).name}`, which holds {', '.join(sorted(known))}.",
            action="Write them in the recipe as they were learned.",
        )
    if not hasattr(reward, "learn"):
        raise UsageError(
            f"`{name}` cannot read learned words.", action="Choose a reward with a text encoder of its own."
        )
    reward.learn(known)


def on_device(loaded: Any, device: torch.device) -> Any:
    """A reward, moved if it has weights."""
    return loaded.to(device) if isinstance(loaded, torch.nn.Module) else loaded


def best_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
