"""One update and one check of a run, phase by phase under the eyes of a counter: for real, or on fake tensors.

What runs is the base, policy, method, reward and optimizer that train; the counter is told which of them is at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from toolkit import prompts
from toolkit.recipe import Recipe
from training import blueprint, tables
from training.adapters import Policy
from training.batches import PromptBatches
from training.contracts import Base, Conditioning, PromptBatch, Report
from training.interpolants import Estimate
from training.lockstep import alone
from training.memory import VALIDATION, LiveBytes
from training.randomness import Rng
from training.schedules import Level
from training.text_cache import ConditioningCache
from training.validation import BATCH, Panel, Renderer

LOAD, ENCODE, ROLLOUT, DENOISE = "load", "encode", "rollout", "denoise"
DECODE, REWARD, BACKWARD, OPTIMIZER = "decode", "reward", "backward", "optimizer"
PHASES = (LOAD, ENCODE, ROLLOUT, DENOISE, DECODE, REWARD, BACKWARD, OPTIMIZER, VALIDATION)


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

    @property
    def peak_phase(self) -> str:
        """The phase that needs most."""
        return max(self.peaks, key=lambda name: self.peaks[name])

    @property
    def peak(self) -> int:
        """What it needs."""
        return self.peaks[self.peak_phase]


class ObservedPolicy(Policy):
    """A policy that names its phases. `shortcut`: a network call without gradient runs once for each shape."""

    counter: LiveBytes
    shortcut = False

    def predict(self, x_t: Tensor, level: Level, conditioning: Conditioning, guidance_scale: float = 1.0) -> Estimate:
        """One network call; without gradient and values to lose, a repeated call only counts its operations."""
        if torch.is_grad_enabled():
            with self.counter.phase(DENOISE):
                return super().predict(x_t, level, conditioning, guidance_scale)
        with self.counter.phase(ROLLOUT):
            key = (tuple(x_t.shape), guidance_scale != 1.0, self._layers()[0].disable_adapters)
            if not self.shortcut or key not in self._walked:
                before = self.counter.flops
                estimate = super().predict(x_t, level, conditioning, guidance_scale)
                self._walked[key] = self.counter.flops - before
                return estimate
            self.counter.flops += self._walked[key]
            return Estimate(torch.empty_like(x_t), torch.empty_like(x_t))

    def watch(self, counter: LiveBytes, *, shortcut: bool) -> None:
        """From now on."""
        self.counter, self.shortcut = counter, shortcut
        self._walked: dict[tuple[tuple[int, ...], bool, bool], int] = {}

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures, with gradient."""
        with self.counter.phase(DECODE):
            return super().decode(latents)

    @contextmanager
    def folded(self) -> Iterator[None]:
        """The copies of the weights belong to the rollout."""
        with self.counter.phase(ROLLOUT), super().folded():
            yield


class ObservedReward:
    """A reward that names its phase; everything else is the reward's own."""

    def __init__(self, reward: Any, counter: LiveBytes) -> None:
        """reward: with or without weights."""
        self._reward, self._counter = reward, counter

    def __getattr__(self, name: str) -> Any:
        """The reward's own."""
        return getattr(self._reward, name)

    def target(self, texts: Any) -> Any:
        """Text features."""
        with self._counter.phase(REWARD):
            return self._reward.target(texts)

    def score(self, images: Tensor, target: Any) -> Tensor:
        """Scores."""
        with self._counter.phase(REWARD):
            return self._reward.score(images, target)


class Rehearsal:
    """A recipe's parts, built once. Inside `blueprint.weightless()` they have no values."""

    def __init__(self, recipe: Recipe, *, processes: int = 1) -> None:
        """Load or build everything. Raises UsageError as training would."""
        self.recipe, self.processes = recipe, processes
        self.counter = LiveBytes()
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
        self.reward, self.second = (ObservedReward(scorer, self.counter) for scorer in scorers)
        self.policy = self._policy(base)
        self.policy.watch(self.counter, shortcut=blueprint.is_weightless())
        self.optimizer = torch.optim.AdamW(self.policy.trainable().values(), lr=1e-6)

    def run(self) -> Findings:
        """All phases, in the order of training."""
        found = self.found
        found.lora_bytes = sum(parameter.nbytes for parameter in self.policy.trainable().values())
        batch, rng = self._batch()
        with self._fake(), self.counter:
            with self.counter.phase(LOAD):
                self.counter.hold([*self.modules, self.policy.network])
            rows = self._encode([*batch.prompts, *self._validation_texts()], found)
            before = self.counter.flops
            conditioned = replace(batch, conditioning=rows(batch.prompts))
            self._warm_up()
            self._update(conditioned, rng)
            found.update_flops = (self.counter.flops - before) * self.recipe.training.gradient_accumulation
            before = self.counter.flops
            with self.counter.phase(VALIDATION):
                self._check(rows)
            found.check_flops = self.counter.flops - before
        found.peaks = {name: self.counter.peaks[name] for name in PHASES if name in self.counter.peaks}
        return found

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
        """The first micro-batch, drawn where numbers exist."""
        train = [prompt.text for prompt in prompts.read(self.recipe.prompts.train)]
        size, words = self.recipe.training.batch_size, self.recipe.words
        return PromptBatches(train, words, _nothing, batch_size=size, accumulation=1, seed=0).micro_batch(0, 0)

    def _encode(self, texts: list[str], found: Findings) -> ConditioningCache:
        with self.counter.phase(ENCODE):
            rows = ConditioningCache(
                _once(self.policy.base.encode) if blueprint.is_weightless() else self.policy.base.encode
            )
            text = modules_of(getattr(self.policy.base, "text", None))
            self.counter.hold(text)
            found.text_bytes = bytes_of(text)
            found.published_bytes = self._published + sum(2 * elements_of(module) for module in text)
            found.conditioning_bytes = sum(value.nbytes for value in rows(texts[:1]).values())
            rows.prepare(texts)
            self.policy.release_text()
        return rows

    def _warm_up(self) -> None:
        """The optimizer's moments exist from the second update on, which is the one to look at."""
        with self.counter.phase(OPTIMIZER):
            for parameter in self.policy.trainable().values():
                parameter.grad = torch.zeros_like(parameter)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def _update(self, batch: PromptBatch, rng: Rng) -> None:
        for event in alone(self.method.losses(self.policy, self.reward, batch, rng)):
            if isinstance(event, Report):  # the optimizer's steps are all alike: the one below stands for them
                with self.counter.phase(BACKWARD):
                    event.loss.backward()
        with self.counter.phase(OPTIMIZER):
            parameters = [p for p in self.policy.trainable().values() if p.grad is not None]
            gradients = [p.grad for p in parameters if p.grad is not None]
            if self.processes > 1:  # the trainer's all-reduce: all gradients in one row, and their mean beside it
                flat = torch.cat([gradient.flatten() for gradient in gradients])
                mean = torch.empty_like(flat)
                del flat, mean
            del gradients
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.optimizer.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def _check(self, rows: ConditioningCache) -> None:
        settings, shown = self.recipe.validation, prompts.read(self.recipe.prompts.validation)[:BATCH]
        renderer = Renderer(
            self.policy, rows, steps=settings.steps, guidance_scale=settings.guidance_scale, seed=0, purpose=VALIDATION
        )
        images = renderer([prompt.text for prompt in shown])
        Panel(shown, self.recipe.words, {"reward": self.reward, "second": self.second}).measure(images)

    def _validation_texts(self) -> list[str]:
        return [prompt.text for prompt in prompts.read(self.recipe.prompts.validation)[:BATCH]]

    @contextmanager
    def _fake(self) -> Iterator[None]:
        with ExitStack() as modes:
            if blueprint.is_weightless():
                modes.enter_context(blueprint.mode())
                modes.enter_context(blueprint.Numberless())
            yield


def _once(encode: Callable[[Sequence[str]], Conditioning]) -> Callable[[Sequence[str]], Conditioning]:
    """An `encode` that works for one prompt, and hands out results of the same shapes for all others."""
    first: list[Conditioning] = []

    def encode_or_copy(texts: Sequence[str]) -> Conditioning:
        if not first:
            first.append(encode(texts))
            return first[0]
        return {name: torch.empty_like(value) for name, value in first[0].items()}

    return encode_or_copy


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
