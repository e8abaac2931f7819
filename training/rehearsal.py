"""One update and one check of a run, phase by phase under the eyes of a counter: for real, or on fake tensors.

What runs is the base, policy, method, reward and optimizer that train; the counter is told which of them is at work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from toolkit import prompts
from toolkit.recipe import Recipe
from training import blueprint, tables
from training.batches import PromptBatches
from training.contracts import Base, Conditioning, PromptBatch
from training.memory import VALIDATION, LiveBytes
from training.observed import (
    AVERAGE,
    BACKWARD,
    DECODE,
    DENOISE,
    ENCODE,
    LOAD,
    OPTIMIZER,
    REWARD,
    ROLLOUT,
    ObservedPolicy,
    ObservedReward,
    Repeats,
)  # fmt: skip
from training.picture_batches import BATCHES, placeholder
from training.randomness import Rng
from training.text_cache import ConditioningCache
from training.validation import Panel, Renderer

PHASES = (ENCODE, LOAD, ROLLOUT, DENOISE, DECODE, REWARD, BACKWARD, OPTIMIZER, AVERAGE, VALIDATION)
WITH_GRADIENT = (DENOISE, DECODE, REWARD, BACKWARD)  # what gradient checkpointing acts on


@dataclass
class Findings:
    """What one rehearsal showed. All sizes in bytes."""

    peaks: dict[str, int] = field(default_factory=dict)  # by phase
    update_flops: int = 0  # of one update on one device, all micro-batches
    check_flops: int = 0
    network_bytes: int = 0  # frozen, as it is kept
    largest_layer_bytes: int = 0
    text_bytes: int = 0
    reward_bytes: int = 0
    lora_bytes: int = 0
    conditioning_bytes: int = 0  # of one prompt
    has_text_cache: bool = False
    published_bytes: int = 0  # the base's weights as they are downloaded, two bytes each; 0 for one that ships
    picture: tuple[int, int] = (0, 0)  # width, height

    def on(self, processes: int) -> Findings:
        """The same on one of so many devices: a single one has nothing to average gradients with."""
        peaks = {name: peak for name, peak in self.peaks.items() if processes > 1 or name != AVERAGE}
        return replace(self, peaks=peaks)

    @property
    def peak_phase(self) -> str:
        """The phase that needs most."""
        return max(self.peaks, key=lambda name: self.peaks[name])

    @property
    def peak(self) -> int:
        """What it needs."""
        return self.peaks[self.peak_phase]


class Rehearsal:
    """A recipe's parts, built once. Inside `blueprint.weightless()` they have no values."""

    def __init__(self, recipe: Recipe) -> None:
        """Load or build everything. Raises UsageError as training would."""
        self.recipe = recipe
        self.counter = LiveBytes()
        self.repeats = Repeats(self.counter)
        self.method = tables.method(recipe.method)
        base = tables.base(recipe.base)
        scorers = [tables.reward(recipe.reward), tables.reward(recipe.validation.scorer)]
        self.modules = [module for owner in (base, *scorers) for module in modules_of(owner)]
        self.found = Findings(
            network_bytes=bytes_of([base.network]),
            largest_layer_bytes=max(bytes_of([m]) for m in base.network.modules() if not list(m.children())),
            reward_bytes=bytes_of(module for scorer in scorers for module in modules_of(scorer)),
            has_text_cache=bool(base.text_id),
            picture=base.lora_facts.resolution,
        )
        self._published = sum(2 * elements_of(module) for module in modules_of(base)) * self.found.has_text_cache
        self.reward, self.second = (ObservedReward(scorer, self.counter, self.repeats) for scorer in scorers)
        self.policy = self._policy(base)
        self.policy.watch(self.counter, self.repeats)
        self.found.lora_bytes = sum(parameter.nbytes for parameter in self.policy.trainable().values())
        self.optimizer = torch.optim.AdamW(self.policy.trainable().values(), lr=1e-6)

    def run(self) -> Findings:
        """All phases, in the order of training."""
        found = self.found
        batch, rng = self._batch()
        with self._fake(), self.counter:
            rows = self._encode([*batch.prompts, *(prompt.text for prompt in self._shown())], found)
            with self.counter.phase(LOAD):
                self.counter.hold([*self.modules, self.policy.network])
            self._batch_and_rng = replace(batch, conditioning=rows(batch.prompts)), rng
            self._warm_up()
            found.update_flops = self._update()
            with self.counter.phase(VALIDATION), self.counter.cost() as check:
                self._check(rows)
            found.check_flops = check.flops
        found.peaks = {name: self.counter.peaks[name] for name in PHASES if name in self.counter.peaks}
        return found

    def checkpointed(self) -> Findings:
        """After `run` without gradient checkpointing: what it would have found with it."""
        base: Any = self.policy.base
        base.enable_gradient_checkpointing()
        self.reward.forget_texts()
        for phase in WITH_GRADIENT:
            del self.counter.peaks[phase]
        with self._fake(), self.counter:
            flops = self._update()
        peaks = {name: self.counter.peaks[name] for name in self.found.peaks}
        return replace(self.found, peaks=peaks, update_flops=flops)

    def _policy(self, base: Base) -> ObservedPolicy:
        options: dict[str, Any] = {
            "seed": self.recipe.training.seed,
            "dtype": getattr(torch, self.recipe.training.dtype),
        }
        if not blueprint.is_weightless():
            return ObservedPolicy(base, self.recipe.lora, **options)
        for module in self.modules:
            module.to("meta")  # those that were loaded with weights
        policy = ObservedPolicy(base, self.recipe.lora, device=torch.device("meta"), **options)
        for module in self.modules:
            blueprint.hollow(module)
        policy.device = torch.device("cpu")
        base.to(policy.device)
        return policy

    def _batch(self) -> tuple[PromptBatch, Rng]:
        """The first micro-batch, drawn where numbers exist. Pictures that lie ready weigh what any others do."""
        train = [prompt.text for prompt in prompts.read(self.recipe.prompts.train)]
        words, kind = self.recipe.words, self.recipe.data.kind
        options: dict[str, Any] = {"batch_size": self.recipe.training.batch_size, "accumulation": 1, "seed": 0}
        if kind is None:
            return PromptBatches(train, words, _nothing, **options).micro_batch(0, 0)
        items = [placeholder(kind, prompt) for prompt in train]
        return BATCHES[kind](items, words, _nothing, self._clean, **options).micro_batch(0, 0)

    def _clean(self, pictures: Sequence[Any]) -> Tensor:
        return torch.zeros(len(pictures), *self.policy.latent_shape)

    def _encode(self, texts: list[str], found: Findings) -> ConditioningCache:
        base = self.policy.base
        with self.counter.phase(ENCODE):  # the scorers wait in RAM
            self.counter.hold([*modules_of(base), self.policy.network])
            rows = ConditioningCache(lambda texts: self.repeats(("text", len(texts)), lambda: base.encode(texts)))
            text = modules_of(getattr(base, "text", None))
            self.counter.hold(text)
            found.text_bytes = bytes_of(text)
            found.published_bytes = self._published + sum(2 * elements_of(module) for module in text)
            found.conditioning_bytes = sum(value.nbytes for value in rows(texts[:1]).values())
            rows.prepare(texts)
            self.policy.release_text()
            if self.recipe.data.kind:
                width, height = found.picture
                time = (self.policy.base.frames,) if self.policy.base.frames else ()
                self.policy.base.encode_images(torch.zeros(1, *time, 3, height, width))
        return rows

    def _warm_up(self) -> None:
        """The optimizer's moments exist from the second update on, which is the one to look at."""
        with self.counter.phase(OPTIMIZER):
            for parameter in self.policy.trainable().values():
                parameter.grad = torch.zeros_like(parameter)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def _update(self) -> int:
        """The operations of one update's micro-batches."""
        batch, rng = self._batch_and_rng
        with self.counter.cost() as cost, self.counter.phase(BACKWARD):
            # a method may take a reward's gradient by itself; the other phases lie within
            for report in self.method.losses(self.policy, self.reward, batch, rng):
                report.loss.backward()
        parameters = [p for p in self.policy.trainable().values() if p.grad is not None]
        with self.counter.phase(
            AVERAGE
        ):  # the trainer's all-reduce: all gradients in one row, and their mean beside it
            flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            mean = torch.empty_like(flat)
            del flat, mean
        with self.counter.phase(OPTIMIZER):
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.optimizer.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return cost.flops * self.recipe.training.gradient_accumulation

    def _check(self, rows: ConditioningCache) -> None:
        """One batch of pictures, and all of them measured together, as training does."""
        settings = self.recipe.validation
        listed, among = (prompts.read(lst) for lst in (self.recipe.prompts.validation, self.recipe.prompts.train))
        renderer = Renderer(
            self.policy, rows, steps=settings.steps, guidance_scale=settings.guidance_scale, seed=0,
            purpose=VALIDATION, batch_size=settings.batch_size,
        )  # fmt: skip
        with self.counter.cost() as rendering:
            images = renderer([prompt.text for prompt in self._shown()])
        batches = settings.seeds * -(-len(listed) // len(images))
        self.counter.flops += (batches - 1) * rendering.flops
        every = torch.cat([images] * batches)[: settings.seeds * len(listed)]
        scorers = {"reward": self.reward, "second": self.second}
        Panel(listed, self.recipe.words, scorers, among=among).measure(every)

    def _shown(self) -> list[prompts.Prompt]:
        """The validation prompts that are rendered together."""
        at_once = self.recipe.validation.batch_size if len(self.policy.latent_shape) == 3 else 1
        return prompts.read(self.recipe.prompts.validation)[:at_once]

    @contextmanager
    def _fake(self) -> Iterator[None]:
        with ExitStack() as modes:
            if blueprint.is_weightless():
                modes.enter_context(blueprint.mode())
                modes.enter_context(blueprint.Numberless())
            yield


def modules_of(owner: Any) -> list[nn.Module]:
    """The networks that an object holds: itself, its attributes, the components of its pipeline."""
    if isinstance(owner, nn.Module):
        return [owner]
    components = getattr(owner, "components", None)
    held = components.values() if isinstance(components, Mapping) else vars(owner).values() if owner else ()
    return [part for part in held if isinstance(part, nn.Module)]


def bytes_of(modules: Any) -> int:
    """Bytes of all parameters and buffers, shared ones once."""
    tensors = {id(t): t.nbytes for module in modules for t in (*module.parameters(), *module.buffers())}
    return sum(tensors.values())


def elements_of(module: nn.Module) -> int:
    """How many weights a module has, shared ones once, whatever they are packed into."""
    packed: list[Any] = [part for part in module.modules() if hasattr(part, "full_elements")]
    added = sum(part.full_elements - sum(p.numel() for p in part.parameters()) for part in packed)
    return sum(parameter.numel() for parameter in module.parameters()) + added


def _nothing(texts: Any) -> Conditioning:
    return {}
