"""A policy and a reward that tell a counter which phase of an update is at work.

Without values to lose, a call whose results have the same shapes each time runs once; its repetitions only count.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from training import blueprint
from training.adapters import Policy
from training.contracts import Conditioning
from training.interpolants import Estimate
from training.memory import Cost, LiveBytes
from training.schedules import Level

LOAD, ENCODE, ROLLOUT, DENOISE = "load", "encode", "rollout", "denoise"
DECODE, REWARD, BACKWARD, OPTIMIZER, AVERAGE = "decode", "reward", "backward", "optimizer", "average"


class Repeats:
    """Calls without gradient, each kind of which runs once where tensors have no numbers."""

    def __init__(self, counter: LiveBytes) -> None:
        """Nothing has run yet."""
        self._counter = counter
        self._known: dict[Hashable, tuple[Cost, Any]] = {}

    def __call__(self, kind: Hashable, call: Callable[[], Any]) -> Any:
        """What `call` gives, or as many tensors of the same shapes."""
        if not blueprint.is_weightless():
            return call()
        if kind not in self._known:
            with self._counter.cost() as cost:
                result = call()
            self._known[kind] = cost, tree_map(lambda t: partial(torch.empty, t.shape, dtype=t.dtype), result)
            return result
        cost, makers = self._known[kind]
        self._counter.add(cost)
        return tree_map(lambda make: make(), makers)


class ObservedPolicy(Policy):
    """A policy that names its phases."""

    def watch(self, counter: LiveBytes, repeats: Repeats) -> None:
        """From now on."""
        self._counter, self._repeats = counter, repeats

    def predict(self, x_t: Tensor, level: Level, conditioning: Conditioning, guidance_scale: float = 1.0) -> Estimate:
        """One network call."""
        call = partial(super().predict, x_t, level, conditioning, guidance_scale)
        if torch.is_grad_enabled():
            with self._counter.phase(DENOISE):
                return call()
        guided = self.base.guidance == "true" and guidance_scale != 1.0
        plays = not self._layers()[0].disable_adapters  # neither folded in nor off
        with self._counter.phase(ROLLOUT):
            return self._repeats((tuple(x_t.shape), guided, self._active, plays), call)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures, with gradient."""
        with self._counter.phase(DECODE):
            return super().decode(latents)

    @contextmanager
    def folded(self) -> Iterator[None]:
        """The copies of the weights belong to the rollout."""
        with self._counter.phase(ROLLOUT), super().folded():
            yield


class ObservedReward:
    """A reward that names its phase; everything else is the reward's own."""

    def __init__(self, reward: Any, counter: LiveBytes, repeats: Repeats) -> None:
        """reward: with or without weights. Texts are encoded one by one, and all texts alike."""
        self._reward, self._counter = reward, counter
        modules: Any = reward.modules() if isinstance(reward, nn.Module) else []
        self._encoders = [module for module in modules if hasattr(module, "text_features")]
        for encoder in self._encoders:
            encoder.text_features = _repeated(encoder.text_features, repeats)

    def __getattr__(self, name: str) -> Any:
        """The reward's own."""
        return getattr(self._reward, name)

    def forget_texts(self) -> None:
        """As if none had been seen yet."""
        for encoder in self._encoders:
            encoder.forget_texts()

    def target(self, texts: Any) -> Any:
        """Text features."""
        with self._counter.phase(REWARD):
            return self._reward.target(texts)

    def score(self, images: Tensor, target: Any) -> Tensor:
        """Scores."""
        with self._counter.phase(REWARD):
            return self._reward.score(images, target)


def _repeated(call: Callable[[Any], Any], repeats: Repeats) -> Callable[[Any], Any]:
    return lambda texts: repeats((call, len(texts)), lambda: call(texts))
