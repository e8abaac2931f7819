"""DDPO: policy gradient on the DDIM sampler, a prompt's rewards compared with those it had before."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Annotated

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from training.contracts import Policy, Pool, PromptBatch
from training.methods._advantages import GLOBAL_DELTA
from training.methods._groups import AdvantageLimit, GuidanceScale, RolloutSteps
from training.methods._policy_gradient import NoiseLevel, PolicyGradient, StepNoise
from training.randomness import key

Histories = dict[int, list[float]]  # a prompt's key → its newest rewards, oldest first


def extended(histories: Histories, names: list[int], rewards: list[float], length: int) -> Histories:
    """With new rewards, each prompt's newest `length`."""
    grown = {name: list(known) for name, known in histories.items()}
    for name, reward in zip(names, rewards, strict=True):
        grown.setdefault(name, []).append(reward)
    return {name: known[-length:] for name, known in grown.items()}


class Ddpo(PolicyGradient):
    """DDPO-IS (arXiv:2305.13301): every DDIM step (eta = 1) trained, rewards standardised by the prompt's own history.

    A prompt with fewer than `least_history` rewards is held against all samples of the update instead.
    """

    group_size: Annotated[
        int, Field(ge=1, le=512, description="Pictures per prompt; training.batch_size counts prompts.")
    ] = 1
    rollout_steps: RolloutSteps = 50
    guidance_scale: GuidanceScale = 5.0
    advantage_limit: AdvantageLimit = 10.0
    dynamics: StepNoise = "ddim"
    noise_level: NoiseLevel = 1.0
    history: int = Field(default=16, ge=2, le=100_000, description="Newest rewards of a prompt that are remembered.")
    least_history: int = Field(default=16, ge=2, le=100_000, description="Rewards from which a prompt stands alone.")

    _histories: Histories = PrivateAttr(default_factory=dict)
    _grown: Histories = PrivateAttr(default_factory=dict)  # with the update under way, the same for all micro-batches

    def advantages(self, rewards: Tensor, batch: PromptBatch) -> Generator[Pool, None, Tensor]:
        """(r - mean) / deviation of the prompt's newest rewards, these included."""
        names = [key(prompt) for prompt in batch.prompts for _ in range(self.group_size)]
        pooled = Pool(torch.tensor(names, device=rewards.device)), Pool(rewards)
        yield from pooled
        everyone = pooled[1].everyone.double().cpu()
        self._grown = extended(self._histories, pooled[0].everyone.tolist(), everyone.tolist(), self.history)
        known = [torch.tensor(self._grown.get(name, []), dtype=torch.float64) for name in names]
        against = [own if len(own) >= self.least_history else everyone for own in known]
        mean = torch.stack([history.mean() for history in against])
        spread = torch.stack([history.std(correction=0) for history in against]) + GLOBAL_DELTA
        return ((rewards.double().cpu() - mean) / spread).to(rewards)

    def after_update(self, policy: Policy, update: int) -> None:
        """The update's rewards become history."""
        self._histories = self._grown

    def state_dict(self) -> dict[str, Tensor]:
        """Prompts [P], how many rewards each has [P], and these one after the other."""
        if not self._histories:
            return {}
        counts = torch.tensor([len(known) for known in self._histories.values()])
        rewards = torch.tensor([reward for known in self._histories.values() for reward in known], dtype=torch.float64)
        return {"prompts": torch.tensor(list(self._histories)), "counts": counts, "rewards": rewards}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        rows = state["rewards"].split(state["counts"].tolist()) if state else ()
        names = state["prompts"].tolist() if state else ()
        self._histories = {name: row.tolist() for name, row in zip(names, rows, strict=True)}
