"""The adjoint sweep against plain backpropagation, in gradient and in memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch
from tiny.trajectories import (
    PARAMETRISATIONS,
    CurvedReward,
    descend,
    jacobian_product,
    levels_of,
    schedule_of,
    unrolled,
)
from tiny.unet import TinyUnet, TinyUnetV
from torch import Tensor
from torch.testing import assert_close

from toolkit import recipe as recipes
from toolkit.recipe import Lora
from toolkit.words import WordPair
from training import blueprint, interpolants
from training.adapters import Policy
from training.bases.demo import Demo
from training.contracts import PromptBatch, Report
from training.memory import LiveBytes
from training.methods._trajectory import Active, Path, TrajectoryReward, last_steps, norms, sweep
from training.randomness import Rng
from training.rehearsal import PHASES, Rehearsal
from training.rewards.demo import DemoReward
from training.schedules import sigma_grid

ROOT = FilePath(__file__).resolve().parents[3]
STEPS = 6
EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Method(TrajectoryReward):
    """The shared settings, bare."""


def method(**changes: Any) -> Method:
    return Method(**{"augmentation": 0.0, "rollout_steps": STEPS, "preference": "plain", "shift": 2.0} | changes)


@pytest.fixture(params=PARAMETRISATIONS)
def curved(request: pytest.FixtureRequest, bending_policy) -> Any:
    """A network that looks at its input, of every parametrisation."""
    return bending_policy(parametrisation=request.param, schedule=schedule_of(request.param))


def path_and_verdict(policy, batch: PromptBatch, rng: Rng, **changes: Any):
    of = method(**changes)
    path = of.walk(policy, batch, rng)
    return path, of.judge(policy, CurvedReward(), batch, rng, path.picture)


def plain_gradient(policy, batch: PromptBatch, rng: Rng, first: int) -> Tensor:
    """Autograd through the sampler's own graph."""
    noise = rng.normal("noise", policy.latent_shape)
    picture = unrolled(policy, noise, sigma_grid(STEPS, 2.0), first)
    reward = CurvedReward()
    loss = -reward.score(picture, reward.target([[prompt] for prompt in batch.prompts])).mean()
    return torch.autograd.grad(loss, policy.output)[0]


def chosen(path: Path, steps: list[int], weights: Tensor | None = None, bridges: Tensor | None = None) -> Active:
    """The same steps for every sample."""
    table = torch.tensor(steps)[:, None].expand(-1, path.states.shape[1])
    return Active(table, path.widths[table] if weights is None else weights, bridges)


# ── the path ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_family_walks_by_eulers_steps(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 15: DDIM is Euler on this axis, and a leap from one step to the next is the sampler's step."""
    path, _ = path_and_verdict(curved, batch, rng)
    noise = rng.normal("noise", curved.latent_shape)
    assert_close(path.picture, unrolled(curved, noise, sigma_grid(STEPS, 2.0), STEPS).detach(), **EXACT)
    assert path.length == STEPS
    for number in range(STEPS):
        step = torch.full((2,), number)
        with torch.no_grad():
            velocity = path.replay(step, path.state(step))
        assert_close(path.state(step) + path.widths[number] * velocity, path.states[number + 1], **EXACT)
        if path.widths[number] < 0:
            assert_close(path.velocity(step), velocity, rtol=1e-6, atol=1e-6)
    assert path.sigmas[-1] == 0
    assert (path.widths <= 0).all()


def test_the_weights_are_the_impulse_responses_of_the_sampler(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 15: a velocity that answers 1 at one step and 0 at all others moves the picture by that step's width."""
    path, _ = path_and_verdict(curved, batch, rng)
    levels = levels_of(curved, sigma_grid(STEPS, 2.0), 2)
    for number in range(STEPS):
        x = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
        for here, there in zip(range(STEPS), range(1, STEPS + 1), strict=True):
            velocity = torch.full_like(x, float(here == number))
            at, to = levels[here], levels[there]
            alpha, sigma = at.alpha.double()[:, None, None, None], at.sigma.double()[:, None, None, None]
            x0 = (x - sigma * velocity) / (alpha + sigma)
            x = interpolants.interpolate(x0, x0 + velocity, to.alpha.double(), to.sigma.double())
        assert_close(x, path.widths[number].expand_as(x), **EXACT)


def test_samples_stand_at_their_own_steps(curved, batch: PromptBatch, rng: Rng) -> None:
    path, _ = path_and_verdict(curved, batch, rng)
    steps = torch.tensor([1, 4])
    for sample, step in enumerate(steps.tolist()):
        assert torch.equal(path.state(steps)[sample], path.states[step, sample])
        assert_close(path.level(steps).sigma[sample], path.levels.sigma[step])
    with torch.no_grad():
        both = path.replay(steps, path.state(steps))
        alone = [path.replay(torch.full((2,), step), path.states[step]) for step in steps.tolist()]
    assert_close(both, torch.stack([alone[0][0], alone[1][1]]), **EXACT)


def test_a_family_that_stands_on_one_level_twice_still_knows_its_velocity(bending_policy, batch, rng: Rng) -> None:
    """Stable Diffusion has no level above sigma 0.936: an even grid begins with steps that lead nowhere."""
    policy = bending_policy(parametrisation="epsilon", schedule=schedule_of("epsilon"))
    path = method(rollout_steps=25, shift=1.0).walk(policy, batch, rng)
    assert path.widths[0] == 0
    step = torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        assert_close(path.velocity(step), path.replay(step, path.state(step)), rtol=1e-6, atol=1e-6)


def test_distances_are_measured_on_the_samplers_own_latents(curved, batch: PromptBatch, rng: Rng) -> None:
    """Section 8's trap: x = (alpha + sigma) y, so an offset of 1 in y counts alpha + sigma."""
    path, _ = path_and_verdict(curved, batch, rng)
    step = torch.tensor([2, 5])
    level = path.level(step)
    guess = path.state(step) + torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    assert_close(path.distance(step, guess), (level.alpha + level.sigma).double(), rtol=1e-6, atol=1e-6)


def test_the_rollout_has_a_guidance_of_its_own(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    policy = bending_policy()
    path, verdict = path_and_verdict(policy, batch, rng, guidance_scale=1.5, rollout_guidance_scale=4.0)
    descend(policy, sweep(path, verdict, last_steps(path, 2)))
    assert policy.rollout == [4.0] * STEPS
    assert [call.guidance_scale for call in policy.calls] == [1.5] * 2


# ── the gradient ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 3, STEPS])
def test_the_sweep_equals_backpropagation_through_the_last_steps(curved, batch, rng: Rng, count: int) -> None:
    """Oracles 2 and 16, and 10 of the direct methods: A = the last K, bridge 1, for every parametrisation."""
    path, verdict = path_and_verdict(curved, batch, rng)
    gradient, reports = descend(curved, sweep(path, verdict, last_steps(path, count)))
    expected = plain_gradient(curved, batch, rng, STEPS - count)
    assert expected.abs().max() > 1e-3
    assert_close(gradient, expected, **EXACT)
    assert len(reports) == count


@pytest.mark.parametrize("factor", [1 / 3, 0.125, 40.0])
def test_a_factor_on_the_losses_is_a_factor_on_the_gradient(bending_policy, batch, rng: Rng, factor: float) -> None:
    """What an accumulation divides by must not enter twice along the chain."""
    policy = bending_policy()
    path, verdict = path_and_verdict(policy, batch, rng)
    plain, _ = descend(policy, sweep(path, verdict, last_steps(path, 4)))
    scaled, _ = descend(policy, sweep(path, verdict, last_steps(path, 4)), factor)
    assert_close(scaled, factor * plain, **EXACT)


def test_without_bridges_the_gradient_is_the_sum_of_single_steps(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 1: sum over A of w aᵀ ∂v, with a the reward's own gradient at every step."""
    path, verdict = path_and_verdict(curved, batch, rng)
    both, _ = descend(curved, sweep(path, verdict, chosen(path, [1, 4])))
    expected = torch.zeros_like(both)
    for number in (1, 4):
        level = levels_of(curved, sigma_grid(STEPS, 2.0), 2)[number]
        scale = (level.alpha.double() + level.sigma.double())[:, None, None, None]
        by_weights, _ = jacobian_product(curved, scale * path.states[number], level, verdict.gradient)
        expected += path.widths[number] * by_weights
    assert_close(both, expected, **EXACT)


def test_the_gradient_is_affine_in_the_bridge_and_its_slope_is_the_nested_term(bending_policy, batch, rng) -> None:
    """Oracle 4: slope = w_1 w_4 (J_4ᵀ G)ᵀ ∂v_1 with weights other than the sampler's."""
    policy = bending_policy()
    path, verdict = path_and_verdict(policy, batch, rng)
    weights = torch.tensor([[-0.3, -0.2], [-0.5, -0.7]], dtype=torch.float64)
    gradients = {}
    for bridge in (0.0, 0.3, 1.0):
        table = torch.tensor([[9.0, 9.0], [bridge, bridge]])  # the first active step has nobody to pass to
        gradients[bridge], _ = descend(policy, sweep(path, verdict, chosen(path, [1, 4], weights, table)))
    levels = levels_of(policy, sigma_grid(STEPS, 2.0), 2)
    per_sample = weights[:, :, None, None, None]
    _, to_input = jacobian_product(policy, path.states[4], levels[4], per_sample[1] * verdict.gradient)
    slope, _ = jacobian_product(policy, path.states[1], levels[1], per_sample[0] * to_input)
    assert_close(gradients[1.0] - gradients[0.0], slope, **EXACT)
    assert_close(gradients[0.3] - gradients[0.0], 0.3 * slope, rtol=1e-7, atol=1e-12)
    free, _ = descend(policy, sweep(path, verdict, chosen(path, [1, 4], weights)))
    assert_close(gradients[0.0], free, **EXACT)


def test_every_sample_has_its_own_steps_weights_and_bridges(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    """A table of two samples is the sum of two tables in which the other sample weighs nothing."""
    policy = bending_policy()
    path, verdict = path_and_verdict(policy, batch, rng)
    whole = Active(
        torch.tensor([[0, 2], [3, 5]]),
        torch.tensor([[-0.2, -0.4], [-0.6, -0.1]], dtype=torch.float64),
        torch.tensor([[0.0, 0.0], [0.5, 1.0]]),
    )
    together, _ = descend(policy, sweep(path, verdict, whole))
    apart = torch.zeros_like(together)
    for sample in (0, 1):
        mask = torch.zeros(2, dtype=torch.float64)
        mask[sample] = 1
        part, _ = descend(policy, sweep(path, verdict, dataclasses.replace(whole, weights=whole.weights * mask)))
        apart += part
    assert_close(together, apart, **EXACT)


def test_only_active_steps_call_the_network_with_gradient_on_detached_states(bending_policy, batch, rng) -> None:
    """Oracle 17: K calls; the cache carries no gradient."""
    policy = bending_policy()
    path, verdict = path_and_verdict(policy, batch, rng)
    descend(policy, sweep(path, verdict, last_steps(path, 3)))
    assert len(policy.calls) == 3
    assert not path.states.requires_grad
    assert not verdict.gradient.requires_grad


# ── the loss and the log ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_losses_sum_to_the_rewards_loss(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    policy, reward = bending_policy(), CurvedReward()
    path, verdict = path_and_verdict(policy, batch, rng, loss_scale=0.5)
    _, reports = descend(policy, sweep(path, verdict, last_steps(path, 3)))
    score = reward.score(path.picture, reward.target([[prompt] for prompt in batch.prompts]))[:, 0]
    assert_close(verdict.metrics["reward"], score)
    assert sum(report.loss for report in reports).item() == pytest.approx(-0.5 * score.mean().item())


def test_the_log_tells_how_the_adjoint_grows(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    policy = bending_policy()
    path, verdict = path_and_verdict(policy, batch, rng)
    extra = torch.tensor([5.0, 6.0])
    _, reports = descend(policy, sweep(path, verdict, last_steps(path, 2), {"extra": extra}))
    last, before = (report.metrics for report in reports)
    assert torch.equal(last["extra"], extra)
    assert_close(last["adjoint"], torch.ones(2, dtype=torch.float64))
    assert_close(last["gain"], path.widths[-1].abs().expand(2))
    assert_close(last["sigma"], path.sigmas[-2].expand(2))
    assert_close(last["push"], path.widths[-1].abs() * norms(verdict.gradient))
    assert_close(last["pull"], norms(verdict.gradient))
    levels = levels_of(policy, sigma_grid(STEPS, 2.0), 2)
    _, to_input = jacobian_product(policy, path.states[-2], levels[-2], path.widths[-1] * verdict.gradient)
    grown = norms(verdict.gradient + to_input)
    assert_close(before["adjoint"], grown / norms(verdict.gradient))
    assert_close(before["push"], path.widths[-2].abs() * grown)


@pytest.mark.parametrize(("margin", "active"), [(-1e4, 0.0), (1e4, 1.0), (None, 1.0)])
def test_a_satisfied_hinge_gives_no_gradient(bending_policy, batch, rng: Rng, margin: float | None, active: float):
    """Oracle 11: hinge off, gradient zero, and numbers that stay numbers."""
    policy = bending_policy()
    path, verdict = path_and_verdict(policy, batch, rng, margin=margin)
    gradient, reports = descend(policy, sweep(path, verdict, last_steps(path, 2)))
    assert verdict.metrics["active"].tolist() == [active] * 2
    assert bool(gradient.abs().max() > 0) is bool(active)
    assert all(value.isfinite().all() for report in reports for value in report.metrics.values())
    if active:
        free, _ = descend(policy, sweep(*path_and_verdict(policy, batch, rng), last_steps(path, 2)))
        assert_close(gradient, free, **EXACT)


def test_word_pairs_pull_as_the_difference_of_their_gradients(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 16: G is linear in the words, so relative = positive - negative wherever the gradient goes."""
    policy, gradients = bending_policy(), {}
    swapped = dataclasses.replace(
        batch, words=[WordPair(positive=pair.negative, negative=pair.positive) for pair in batch.words]
    )
    for name, of in {"relative": batch, "positive": batch, "negative": swapped}.items():
        path, verdict = path_and_verdict(policy, of, rng, preference="relative" if name == "relative" else "positive")
        gradients[name], _ = descend(policy, sweep(path, verdict, last_steps(path, 3)))
    assert_close(gradients["relative"], gradients["positive"] - gradients["negative"], **EXACT)


def test_trust_weighs_the_samples(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    policy, of = bending_policy(), method()
    path, verdict = path_and_verdict(policy, batch, rng)
    weighed = of.judge(policy, CurvedReward(), batch, rng, path.picture, torch.tensor([0.5, 2.0]))
    assert_close(weighed.gradient[0], 0.5 * verdict.gradient[0])
    assert_close(weighed.gradient[1], 2.0 * verdict.gradient[1])
    assert weighed.loss.item() == pytest.approx(-(verdict.metrics["reward"] * torch.tensor([0.5, 2.0])).mean().item())


# ── real networks ─────────────────────────────────────────────────────────────────────────────────────────────────────


def real(base: type) -> tuple[Policy, PromptBatch, Rng]:
    """A LoRA that has left its start, so that both its halves have a gradient."""
    policy = Policy(base(), Lora(rank=2), seed=1)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
    prompts = ["a cat", "a red car"]
    words = [WordPair(positive="3d render", negative="line art")] * 2
    return policy, PromptBatch(prompts, policy.base.encode(prompts), words), Rng(7, 1, (0, 1))


def backward(policy: Policy, reports) -> Tensor:
    for parameter in policy.trainable().values():
        parameter.grad = None
    for report in reports:
        report.loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in policy.trainable().values()])


@pytest.mark.parametrize("base", [Demo, TinyUnet, TinyUnetV])
def test_on_real_networks_the_gradient_is_that_of_the_unrolled_chain(base: type) -> None:
    """float32, flow, noise and v prediction: within 1e-5 of one graph through all steps."""
    policy, batch, rng = real(base)
    reward, of = DemoReward(), method(preference="relative", shift=None, rollout_steps=4)
    path = of.walk(policy, batch, rng)
    swept = backward(policy, sweep(path, of.judge(policy, reward, batch, rng, path.picture), last_steps(path, 4)))

    noise = rng.normal("noise", policy.latent_shape)
    picture = unrolled(policy, noise, policy.schedule.grid(4), 0, batch.conditioning)
    score = of.preference_score(policy, reward, picture, of.preference_target(reward, batch), rng)
    plain = backward(policy, [Report(-score.mean())])
    assert ((swept - plain).norm() / plain.norm()).item() <= 1e-5


def peak_of(policy: Policy, reports) -> int:
    """The most bytes alive above what is alive before, over all backward passes."""
    with LiveBytes() as counter:
        backward(policy, reports)
    return counter.peak


def test_memory_does_not_grow_with_the_steps_that_carry_gradient() -> None:
    """One denoiser step's, whatever K; the unrolled graph holds all eight."""
    policy, batch, rng = real(Demo)
    of = method(rollout_steps=8)
    path = of.walk(policy, batch, rng)
    verdict = of.judge(policy, DemoReward(), batch, rng, path.picture)
    one, two, eight = (peak_of(policy, sweep(path, verdict, last_steps(path, count))) for count in (1, 2, 8))
    assert eight <= 1.02 * two
    assert eight <= 1.05 * one

    def graph():
        picture = unrolled(policy, rng.normal("noise", policy.latent_shape), sigma_grid(8), 0, batch.conditioning)
        yield Report(picture.square().mean())

    assert peak_of(policy, graph()) > 4 * eight


@pytest.mark.slow
def test_a_plan_asks_for_no_more_memory_for_more_steps() -> None:
    """On tensors without numbers, as `palate plan` does it: all phases of one step and of eight weigh the same."""
    content = recipes.read(ROOT / "recipes" / "demo-draft.yaml", {"training.batch_size": 2})
    peaks = []
    for k in (2, 8):
        with blueprint.weightless():
            found = Rehearsal(recipes.parse(content.model_dump(mode="json"), {"method.k": k})).run()
        peaks.append(found.peaks)
        assert set(found.peaks) == set(PHASES)
    assert peaks[1] == pytest.approx(peaks[0], rel=5e-3)  # the tables of steps and what is logged of them
