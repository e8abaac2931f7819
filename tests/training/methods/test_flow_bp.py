"""FlowBP's three surrogates against their own equations, against each other and against LeapAlign."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tiny.trajectories import CurvedReward, descend, jacobian_product, levels_of, schedule_of
from torch import Tensor
from torch.testing import assert_close

from training.contracts import PromptBatch, Report
from training.methods import leap_align
from training.methods._lagrange import draw_segments, quadrature
from training.methods._trajectory import Active, draw_late, draw_two_steps, sweep
from training.methods.flow_bp import FlowBp
from training.methods.leap_align import LeapAlign
from training.randomness import Rng
from training.schedules import sigma_grid

STEPS = 8
PLAIN = {"augmentation": 0.0, "preference": "plain", "rollout_steps": STEPS, "margin": None, "shift": 2.0}
FORMS = ("sparse", "bridge", "lagrange")
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def run(policy, batch: PromptBatch, rng: Rng, **changes: Any) -> tuple[Tensor, list[Report]]:
    return descend(policy, FlowBp(**PLAIN | changes).losses(policy, CurvedReward(), batch, rng))


def parts(policy, batch: PromptBatch, rng: Rng, **changes: Any):
    """The method's path, verdict (all samples alike) and surrogate."""
    method = FlowBp(**PLAIN | changes)
    path = method.walk(policy, batch, rng)
    surrogate = {"sparse": method.sparse, "bridge": method.bridged, "lagrange": method.lagrange}[method.form]
    return path, method.judge(policy, CurvedReward(), batch, rng, path.picture), surrogate(path, rng)


@pytest.fixture
def curved(bending_policy) -> Any:
    return bending_policy(schedule=schedule_of("velocity"))


def test_the_defaults_are_the_published_flux_ones() -> None:
    """Source: sparse K = 3, b = 2, gamma = 1; bridge alpha 0.1; lagrange n = 3, beta 0.25, tau 0.2; margin 0.55."""
    method = FlowBp()
    assert (method.form, method.k, method.late_bias, method.rescale, method.bridge) == ("sparse", 3, 2.0, 1.0, 0.1)
    assert (method.nodes, method.second, method.blend, method.distance_floor) == (3, 0.25, 1.0, 0.2)
    assert (method.rollout_steps, method.margin) == (25, 0.55)


# ── sparse ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sparse_gradient_is_the_weighted_sum_over_its_steps(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 1: sum over A of c h_i Gᵀ∂v_i, with G at the sampler's own picture."""
    path, verdict, (active, _, metrics) = parts(curved, batch, rng)
    expected = torch.zeros_like(curved.output)
    levels = levels_of(curved, sigma_grid(STEPS, 2.0), 1)
    for sample in (0, 1):
        for step in active.steps[:, sample].tolist():
            direction = verdict.gradient[sample : sample + 1]
            part, _ = jacobian_product(curved, path.states[step, sample : sample + 1], levels[step], direction)
            expected += metrics["rescale"][sample] * path.widths[step] * part
    gradient, reports = run(curved, batch, rng)
    assert_close(gradient, expected, **EXACT)
    assert len(reports) == 3


def test_all_steps_at_once_are_the_sum_of_single_ones(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 1: K = T; the weights are then the sampler's own for every gamma (oracle 12)."""
    path, verdict, _ = parts(curved, batch, rng)
    total = torch.zeros_like(curved.output)
    for step in range(STEPS):
        table = torch.full((1, 2), step)
        total += descend(curved, sweep(path, verdict, Active(table, path.widths[table])))[0]
    for rescale in (0.0, 1.0):
        assert_close(run(curved, batch, rng, k=STEPS, rescale=rescale)[0], total, **EXACT)


def test_the_last_step_alone_is_draft_1(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 10: A = {T - 1}, gamma = 0; a bias this strong draws nothing else."""
    path, verdict, _ = parts(curved, batch, rng)
    last = torch.full((1, 2), STEPS - 1)
    expected, _ = descend(curved, sweep(path, verdict, Active(last, path.widths[last])))
    found = [
        rng
        for rng in (Rng(1, u, (0, 1)) for u in range(20))
        if (parts(curved, batch, rng, k=1, late_bias=8)[2][0].steps == 7).all()
    ]
    gradient, _ = run(curved, batch, found[0], k=1, late_bias=8, rescale=0.0)
    path, verdict, _ = parts(curved, batch, found[0])
    expected, _ = descend(curved, sweep(path, verdict, Active(last, path.widths[last])))
    assert_close(gradient, expected, **EXACT)


@pytest.mark.parametrize("form", ["sparse", "bridge"])
def test_the_rescale_makes_active_steps_stand_for_all(curved, batch: PromptBatch, rng: Rng, form: str) -> None:
    """Oracle 12: gamma = 0 gives c = 1, gamma = 1 gives c sum_A |h| = sum |h|, and one half the mean of the two."""
    weights = {}
    for rescale in (0.0, 0.5, 1.0):
        path, _, (active, counts, metrics) = parts(curved, batch, rng, form=form, rescale=rescale, k=4)
        weights[rescale] = active.weights
        assert counts is None
        assert_close(active.weights, metrics["rescale"] * path.widths[active.steps])
    assert_close(weights[0.0], path.widths[active.steps])
    assert_close(weights[1.0].sum(dim=0), torch.full((2,), -1.0, dtype=torch.float64), rtol=1e-6, atol=0)
    assert_close(weights[0.5], (weights[0.0] + weights[1.0]) / 2)


@pytest.mark.parametrize(
    ("k", "bias", "first_five", "last_five"), [(3, 2.0, 0.03, 1.40), (3, 4.0, 0.001, 1.91), (4, 1.0, 0.20, 1.37)]
)
def test_steps_are_drawn_as_late_as_published(k: int, bias: float, first_five: float, last_five: float) -> None:
    """Oracle 14: expected active steps of 25 among the first and the last five."""
    shares = torch.cat([Rng(1, update, tuple(range(50))).uniform("steps", shape=(25,)) for update in range(100)])
    start = torch.zeros(len(shares), dtype=torch.int64)
    chosen = draw_late(shares, start, start + 25, start + k, bias).double()
    assert (chosen.sum(dim=1) == k).all()
    assert chosen[:, :5].sum(dim=1).mean().item() == pytest.approx(first_five, abs=0.012)
    assert chosen[:, -5:].sum(dim=1).mean().item() == pytest.approx(last_five, abs=0.03)


@pytest.mark.parametrize(
    ("shift", "k", "bias", "rescale", "mean", "low", "high"),
    [(1.88, 3, 2.0, 1.0, 6.5, 5.2, 8.3), (3.0, 4, 1.0, 0.5, 3.0, 2.2, 4.4)],
)
def test_the_rescale_is_as_large_as_published(
    linear_policy, shift: float, k: int, bias: float, rescale: float, mean: float, low: float, high: float
) -> None:
    """Source: c at the FLUX.1 setting, mean 6.5, 5 to 95 % 5.2 to 8.3; SD3.5 3.0, 2.2 to 4.4."""
    rng = Rng(1, 1, tuple(range(2000)))
    prompts = PromptBatch(["a cat"] * 2000, {}, [])
    method = FlowBp(shift=shift, k=k, late_bias=bias, rescale=rescale)
    _, _, metrics = method.sparse(method.walk(linear_policy(), prompts, rng), rng)
    assert metrics["rescale"].mean().item() == pytest.approx(mean, abs=0.1)
    ends = metrics["rescale"].quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([low, high], abs=0.15)


def test_without_bias_all_steps_are_drawn_alike_and_with_it_by_the_power_law() -> None:
    shares = torch.cat([Rng(2, update, tuple(range(50))).uniform("steps", shape=(4,)) for update in range(200)])
    start = torch.zeros(len(shares), dtype=torch.int64)
    for bias, odds in ((0.0, [1, 1, 1, 1]), (1.0, [1, 2, 3, 4]), (2.0, [1, 4, 9, 16])):
        rates = draw_late(shares, start, start + 4, start + 1, bias).double().mean(dim=0)
        assert rates.tolist() == pytest.approx([share / sum(odds) for share in odds], abs=0.02)


def test_a_draw_stays_within_its_ends_and_its_law_starts_there() -> None:
    shares = torch.cat([Rng(3, update, tuple(range(50))).uniform("steps", shape=(6,)) for update in range(200)])
    start = torch.full((len(shares),), 2)
    rates = draw_late(shares, start, start + 3, start - 1, 1.0).double().mean(dim=0)
    assert rates.tolist() == pytest.approx([0, 0, 1 / 6, 2 / 6, 3 / 6, 0], abs=0.02)


# ── bridge ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bridge_of_zero_is_the_sparse_surrogate(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 3: the same A and gamma."""
    path, verdict, (active, _, _) = parts(curved, batch, rng, form="bridge", k=4, bridge=0.0)
    expected, _ = descend(curved, sweep(path, verdict, dataclasses.replace(active, bridges=None)))
    gradient, _ = run(curved, batch, rng, form="bridge", k=4, bridge=0.0)
    assert_close(gradient, expected, **EXACT)


def test_the_bridges_nested_term_is_the_closed_one(curved, one_prompt: PromptBatch, one_rng: Rng) -> None:
    """Oracle 4: slope = c h_j J_jᵀ G into sum over A before j of c h_i ∂v_i, so quadratic in c."""
    rng = one_rng
    gradients = [run(curved, one_prompt, rng, form="bridge", k=4, bridge=b)[0] for b in (0.0, 0.5, 1.0)]
    path, verdict, (active, _, metrics) = parts(curved, one_prompt, rng, form="bridge", k=4)
    levels, factor = levels_of(curved, sigma_grid(STEPS, 2.0), 1), metrics["rescale"].item()
    j = int(draw_two_steps(rng, STEPS)[1])
    _, nested = jacobian_product(curved, path.states[j], levels[j], verdict.gradient)
    slope = torch.zeros_like(curved.output)
    for step in [s for s in active.steps[:, 0].tolist() if s < j]:
        slope += path.widths[step] * jacobian_product(curved, path.states[step], levels[step], nested)[0]
    assert slope.abs().max() > 1e-5
    assert_close(gradients[2] - gradients[0], factor**2 * path.widths[j] * slope, rtol=1e-8, atol=1e-12)
    assert_close(gradients[1] - gradients[0], 0.5 * (gradients[2] - gradients[0]), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("k", [2, 3, 5, 8])
def test_the_bridge_is_always_active_with_steps_on_both_sides(linear_policy, batch, rng: Rng, k: int) -> None:
    """Oracle 14: j and one index before it, distinct, in range, shared out by the lengths of the sides."""
    method = FlowBp(**PLAIN | {"form": "bridge", "k": k})
    path = method.walk(linear_policy(), batch, rng)
    for update in range(60):
        of = Rng(1, update, (0, 1))
        active, _, _ = method.bridged(path, of)
        _, j = draw_two_steps(of, STEPS)
        assert active.bridges is not None
        for sample in (0, 1):
            steps, bridges = active.steps[:, sample].tolist(), active.bridges[:, sample].tolist()
            here = int(j[sample])
            before = sum(step < here for step in steps)
            assert steps == sorted(set(steps))
            assert (min(steps) >= 0, max(steps) < STEPS) == (True, True)
            assert [bridge for step, bridge in zip(steps, bridges, strict=True) if step == here] == [pytest.approx(0.1)]
            assert sum(bridges) == pytest.approx(0.1)
            assert before >= 1
            wanted = round(k * here / STEPS)
            assert before == min(max(wanted, 1, k - (STEPS - here)), k - 1, here)


def test_both_sides_of_the_bridge_are_drawn_late_within_themselves(linear_policy, batch: PromptBatch) -> None:
    """The power law begins anew behind j: under a strong bias the last steps of either side are taken."""
    method = FlowBp(**PLAIN | {"form": "bridge", "k": 3, "late_bias": 8.0, "rollout_steps": 12})
    path, last, nearest, both = method.walk(linear_policy(), batch, Rng(1, 0, (0, 1))), 0, 0, 0
    for update in range(200):
        rng = Rng(1, update, (0, 1))
        active, _, _ = method.bridged(path, rng)
        j = draw_two_steps(rng, 12)[1]
        inside = (j >= 3) & (j <= 5)  # 3 j / 12 rounds to one step before, so one is left behind
        last += int((inside & (active.steps[2] == 11)).sum())
        nearest += int((inside & (active.steps[0] == j - 1)).sum())
        both += int(inside.sum())
    assert last > 0.7 * both > 40  # 6^8 of the sum of i^8, i = 1 … 6, is 0.78
    assert nearest > 0.8 * both


# ── lagrange ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("changes", [{"nodes": 1}, {"nodes": 1, "rescale": 0.0}])
def test_one_node_is_leap_align(curved, batch, rng: Rng, changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle 6: the same (k, j, alpha, tau)."""
    monkeypatch.setattr(leap_align, "draw_two_steps", lambda rng, length: draw_segments(rng, length, 0))
    leap = LeapAlign(**PLAIN, bridge=0.3, distance_floor=0.02)
    expected, theirs = descend(curved, leap.losses(curved, CurvedReward(), batch, rng))
    gradient, ours = run(curved, batch, rng, form="lagrange", bridge=0.3, distance_floor=0.02, **changes)
    assert_close(gradient, expected, **EXACT)
    assert len(ours) == len(theirs) == 2
    for name in ("leap_error", "end_error", "trust"):
        assert_close(ours[0].metrics[name], theirs[0].metrics[name], **EXACT)


def test_a_blend_of_zero_is_a_plain_leap_on_the_first_segment(curved, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 7."""
    _, _, (active, _, metrics) = parts(curved, batch, rng, form="lagrange", blend=0.0)
    _, _, (single, _, expected) = parts(curved, batch, rng, form="lagrange", nodes=1)
    assert_close(active.weights[0], single.weights[0])
    assert active.weights[1].abs().max() == 0
    assert_close(metrics["leap_error"], expected["leap_error"])
    _, _, (whole, _, _) = parts(curved, batch, rng, form="lagrange")
    assert_close(active.weights[2:], whole.weights[2:])


def test_the_active_nodes_are_the_first_two_with_their_own_shares(linear_policy, batch: PromptBatch, rng: Rng) -> None:
    """c omega on the first, beta c omega on the second, c = 1 + gamma (sum |omega| / sum active |omega| - 1)."""
    policy = linear_policy()
    settings = {"form": "lagrange", "rollout_steps": 25, "second": 0.25, "rescale": 0.5, "shift": 1.88}
    path, _, (active, _, metrics) = parts(policy, batch, rng, **settings)
    k, j = draw_segments(rng, 25, 0)
    for row, (start, stop) in enumerate(((k, j), (j, torch.full_like(j, 25)))):
        of = quadrature(path.sigmas, start, stop, 3)
        size = of.weights.abs()
        factor = 1 + 0.5 * (size.sum(dim=1) / size[:, :2].sum(dim=1) - 1)
        assert torch.equal(active.steps[2 * row], start)
        assert torch.equal(active.steps[2 * row + 1], of.nodes[:, 1])
        assert_close(active.weights[2 * row], factor * of.weights[:, 0])
        assert_close(active.weights[2 * row + 1], 0.25 * factor * of.weights[:, 1])
    assert active.bridges is not None
    assert_close(active.bridges[2], torch.full((2,), 0.1, dtype=torch.float64))
    assert active.bridges[[0, 1]].abs().max() == 0
    assert metrics["start_share"].shape == metrics["guarded"].shape == (2,)


def test_the_log_tells_how_many_segments_were_guarded_and_the_weakest_start(linear_policy) -> None:
    rng = Rng(1, 1, tuple(range(200)))
    method = FlowBp(form="lagrange", shift=6.56, augmentation=0)
    path = method.walk(linear_policy(), PromptBatch(["a cat"] * 200, {}, []), rng)
    k, j = draw_segments(rng, 25, 0)
    first, last = (quadrature(path.sigmas, *ends, 3) for ends in ((k, j), (j, torch.full_like(j, 25))))
    _, _, metrics = method.lagrange(path, rng)
    assert torch.equal(metrics["guarded"], torch.stack([first.guarded, last.guarded]).mean(dim=0))
    assert torch.equal(metrics["start_share"], torch.stack([first.wanted_start, last.wanted_start]).amin(dim=0))
    assert 0 < first.guarded.mean() < 1
    assert 0 < last.guarded.mean() < 1


def test_a_quadrature_lands_nearer_than_a_leap(curved, batch: PromptBatch) -> None:
    """Source: mean distances fall about threefold per node up to three on bent paths."""
    far: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for update in range(20):
        for nodes, errors in far.items():
            settings = {"form": "lagrange", "nodes": nodes, "rollout_steps": 25}
            _, _, (_, _, metrics) = parts(curved, batch, Rng(1, update, (0, 1)), **settings)
            errors += [*metrics["leap_error"].tolist(), *metrics["end_error"].tolist()]
    means = [sum(errors) / len(errors) for errors in far.values()]
    assert means[0] > 2 * means[1] > 2 * means[2]


def test_two_nodes_follow_a_velocity_that_is_linear_in_sigma(linear_policy, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 8: d = 0 up to the Euler error of the rollout itself, which falls with its steps."""

    class Linear(linear_policy):
        def network(self, x_t: Tensor, level) -> Tensor:
            return (level.sigma.reshape(-1, 1, 1, 1) * self.output).expand_as(x_t)

    errors = {}
    for steps in (25, 200):
        settings = {"form": "lagrange", "rollout_steps": steps, "shift": 1.0}
        for nodes in (1, 2):
            _, _, (_, _, metrics) = parts(Linear(), batch, rng, nodes=nodes, **settings)
            errors[steps, nodes] = metrics["leap_error"].mean().item()
    assert errors[25, 2] < 0.1 * errors[25, 1]
    assert errors[200, 2] < 0.2 * errors[25, 2]


def test_segments_that_miss_the_path_count_less(curved, batch: PromptBatch, rng: Rng) -> None:
    _, reports = run(curved, batch, rng, form="lagrange", distance_floor=1e-4)
    metrics = reports[0].metrics
    assert_close(metrics["trust"], 1 / (metrics["leap_error"].clamp(min=1e-4) + metrics["end_error"].clamp(min=1e-4)))
    assert metrics["trust"][0] != metrics["trust"][1]
    total = sum(report.loss for report in reports).item()
    assert total == pytest.approx(-(metrics["trust"] * metrics["reward"]).mean().item())


# ── all forms ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("form", "calls"), [("sparse", 3), ("bridge", 3), ("lagrange", 4)])
def test_the_calls_with_gradient_are_as_many_as_active_steps(curved, batch, rng: Rng, form: str, calls: int) -> None:
    """Oracle 17."""
    run(curved, batch, rng, form=form)
    assert len(curved.calls) == calls


@pytest.mark.parametrize("form", FORMS)
def test_a_satisfied_hinge_gives_no_gradient(curved, batch: PromptBatch, rng: Rng, form: str) -> None:
    assert run(curved, batch, rng, form=form, margin=-1e4)[0].abs().max() == 0
    assert run(curved, batch, rng, form=form, margin=1e4)[0].abs().max() > 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parametrisation", ["epsilon", "v_prediction"])
def test_a_grid_with_a_level_twice_gives_numbers(bending_policy, batch, form: str, parametrisation: str) -> None:
    policy = bending_policy(parametrisation=parametrisation, schedule=schedule_of(parametrisation))
    for update in range(10):
        rng = Rng(1, update, (0, 1))
        gradient, reports = run(policy, batch, rng, form=form, rollout_steps=25, shift=1.0, late_bias=0.0, k=2)
        assert gradient.isfinite().all()
        assert all(value.isfinite().all() for report in reports for value in report.metrics.values())


@pytest.mark.parametrize("form", FORMS)
def test_draws_belong_to_samples_not_to_batches(linear_policy, form: str) -> None:
    """Oracle 14: reproducible from the seed, the same on every process."""
    method = FlowBp(form=form)

    def steps_of(indices: tuple[int, ...]) -> Tensor:
        rng = Rng(1, 1, indices)
        path = method.walk(linear_policy(), PromptBatch(["a cat"] * len(indices), {}, []), rng)
        return {"sparse": method.sparse, "bridge": method.bridged, "lagrange": method.lagrange}[form](path, rng)[
            0
        ].steps

    assert torch.equal(steps_of((0, 1, 2))[:, 1:], steps_of((1, 2)))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"k": 9}, "<= rollout_steps"),
        ({"form": "bridge", "k": 1}, "2 <= k"),
        ({"form": "lagrange", "rollout_steps": 2, "k": 1}, "3 rollout_steps"),
    ],
)
def test_contradictions_are_refused(changes: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        FlowBp(**PLAIN | changes)
