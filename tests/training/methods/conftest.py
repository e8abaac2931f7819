"""For methods that learn from pictures: a toy network whose base can be asked alone, and something to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from training.contracts import LikeBatch, PairBatch, PhotoBatch
from training.methods._denoising import Drawn, Side, mean_square
from training.methods._preference import Preference, Sides
from training.randomness import Rng
from training.schedules import DdpmSchedule, FlowSchedule, Level, Schedule

SHAPE = (3, 2, 2)
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()  # Stable Diffusion's
FAMILIES: dict[str, Callable[[], Schedule]] = {
    "velocity": FlowSchedule,
    "epsilon": lambda: DdpmSchedule((1 - BETAS).cumprod(0)),
    "v_prediction": lambda: DdpmSchedule((1 - BETAS).cumprod(0)),
}


def draws(name: str, size: int = 4) -> Tensor:
    return Rng(11, 0, tuple(range(size))).normal(name, SHAPE).double()


def pair_batch(size: int = 4, **changes) -> PairBatch:
    fields = {
        "prompts": [f"p{n}" for n in range(size)],
        "conditioning": {"text": torch.zeros(size, 1)},
        "words": [],
        "chosen": draws("chosen", size),
        "rejected": draws("rejected", size),
        "weights": torch.ones(size, dtype=torch.float64),
        "margins": torch.zeros(size, dtype=torch.float64),
        "scores": torch.tensor([[0.9, 0.2], [0.8, 0.4], [0.7, 0.5], [0.6, 0.1]], dtype=torch.float64)[:size],
    }
    return PairBatch(**fields | changes)


def swapped(batch: PairBatch) -> PairBatch:
    return PairBatch(
        batch.prompts, batch.conditioning, batch.words, batch.rejected, batch.chosen, batch.weights, batch.margins,
        batch.scores.flip(1), batch.focus,
    )  # fmt: skip


@pytest.fixture
def tuned_policy(linear_policy):
    class TunedPolicy(linear_policy):
        """A network that bends, and an adapter on it that starts at nothing: `output` is what is trained."""

        def __init__(self, adapter: float = 0.0, parametrisation: str = "velocity") -> None:
            super().__init__(adapter * torch.randn(SHAPE, generator=torch.Generator().manual_seed(9)), parametrisation,
                             FAMILIES[parametrisation]())  # fmt: skip
            self.frozen = torch.randn(SHAPE, generator=torch.Generator().manual_seed(8)).double()
            self.is_on = True
            self.asked: list[tuple[Tensor, bool, bool]] = []  # x_t, with adapter, with gradient

        def network(self, x_t: Tensor, level: Level) -> Tensor:
            self.asked.append((x_t.detach(), self.is_on, torch.is_grad_enabled()))
            sigma = level.sigma.reshape(-1, *[1] * (x_t.ndim - 1)).double()
            base = torch.tanh(x_t * self.frozen + sigma)
            return base + torch.sin(x_t + sigma) * self.output if self.is_on else base

        @contextmanager
        def as_reference(self) -> Iterator[None]:
            self.is_on = False
            try:
                yield
            finally:
                self.is_on = True

    return TunedPolicy


@pytest.fixture
def pairs() -> PairBatch:
    return pair_batch()


@pytest.fixture
def uneven_pairs(pairs) -> PairBatch:
    """Pairs that differ in what they count and by how much they should be won."""
    weights, margins = torch.tensor([[1.0, 2.0, 0.5, 3.0], [0.0, 0.2, 0.1, 0.0]], dtype=torch.float64)
    return replace(pairs, weights=weights, margins=margins)


@pytest.fixture
def photos() -> PhotoBatch:
    batch = pair_batch()
    return PhotoBatch(batch.prompts, batch.conditioning, [], batch.chosen, batch.weights)


@pytest.fixture
def likes() -> LikeBatch:
    batch = pair_batch()
    liked = torch.tensor([True, False, True, False])
    return LikeBatch(batch.prompts, batch.conditioning, [], batch.chosen, batch.weights, liked)


@pytest.fixture
def four() -> Rng:
    return Rng(seed=3, update=5, indices=(0, 1, 2, 3))


def run(method, policy, batch, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient that one update's reports leave, and the numbers of the first."""
    policy.output.grad = None
    reports = []
    for report in method.losses(policy, None, batch, rng):
        report.loss.backward()
        reports.append(report)
    return policy.output.grad.clone(), dict(reports[0].metrics)


def error_and_gap(policy, x0: Tensor, noise: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """By hand, [B] each: mean |v - (ε - x0)|² at x_t = (1 - σ) x0 + σ ε, and by how much it exceeds the base's."""
    share, level = sigma.view(-1, 1, 1, 1), policy.schedule.level(sigma)
    x_t = (1 - share) * x0 + share * noise
    outputs = [policy.network(x_t, level).detach()]
    with policy.as_reference():
        outputs.append(policy.network(x_t, level).detach())
    error, before = ((output - (noise - x0)).square().mean(dim=(1, 2, 3)) for output in outputs)
    return error, error - before


def drawn_at(*places: int) -> Drawn:
    """Levels of flow by their places in its grid: place 0 is pure noise, 1000 the picture."""
    schedule = FlowSchedule()
    return Drawn(schedule, schedule.grid(1000), torch.tensor(places))


def side(**known: Tensor) -> Side:
    """Nothing but zeros beside what is known of it, [B] each."""
    blank = torch.zeros_like(next(iter(known.values())))
    return Side(**{field.name: known.get(field.name, blank) for field in fields(Side)})


def sides_of(method: Preference, policy, batch: PairBatch, rng: Rng) -> Sides:
    """Both pictures' errors in one graph: what the two phases avoid."""
    drawn = method.draw(policy, rng)
    views = [view._replace(focus=batch.focus) for view in method.views(policy, batch, drawn, rng)]
    return Sides(*(seen(method, policy, view, drawn.level, batch) for view in views), drawn, views)


def seen(method, policy, view, level: Level, batch) -> Side:
    miss, x0_miss = method.miss(policy, view, level, batch.conditioning)
    with torch.no_grad(), policy.as_reference():
        before, x0_before = method.miss(policy, view, level, batch.conditioning)
    return Side(
        mean_square(miss), mean_square(miss - before), mean_square(before), mean_square(x0_miss).detach(),
        mean_square(x0_before), miss.detach(), before,
    )  # fmt: skip


def at_once(method: Preference, policy, batch: PairBatch, rng: Rng) -> tuple[Tensor, Tensor]:
    """(loss, gradient) of the objective by one backward pass through everything."""
    policy.output.grad = None
    loss, _ = method.objective(sides_of(method, policy, batch, rng), batch)
    loss.backward()
    return loss.detach(), policy.output.grad.clone()
