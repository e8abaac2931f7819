"""Quadrature weights, the sign guard and the draws of segments against closed forms and published figures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from training.methods._lagrange import draw_segments, lagrange_weights, quadrature, spaced_nodes
from training.randomness import Rng
from training.schedules import sigma_grid, unshift_sigma

STEPS = 25


def grid(shift: float) -> Tensor:
    return sigma_grid(STEPS, shift).double()


def steps(*values: int) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@given(seed=st.integers(0, 2**31))
def test_n_nodes_integrate_every_power_below_n_and_not_the_next(count: int, seed: int) -> None:
    """Oracle 8: sum of weights 1, the power p gives 1 / (p + 1) for p < n."""
    spread = torch.rand(1, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    nodes = (torch.arange(count) + 0.8 * spread) / count
    weights = lagrange_weights(nodes)
    for power in range(count):
        assert (weights * nodes**power).sum().item() == pytest.approx(1 / (power + 1), abs=1e-9)
    if count == 1:
        assert abs((weights * nodes).sum().item() - 1 / 2) == pytest.approx(abs(nodes.item() - 1 / 2))


def test_a_power_as_high_as_the_number_of_nodes_is_missed() -> None:
    """Oracle 8, second half, on nodes that no symmetry makes better than they are."""
    for count in (1, 2, 3, 4):
        nodes = torch.linspace(0, 0.8, count, dtype=torch.float64)[None]
        assert abs((lagrange_weights(nodes) * nodes**count).sum().item() - 1 / (count + 1)) > 1e-4


def test_three_nodes_with_both_ends_are_simpsons_rule() -> None:
    """Source: 1/6, 4/6, 1/6."""
    weights = lagrange_weights(torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64))
    assert_close(weights, torch.tensor([[1, 4, 1]], dtype=torch.float64) / 6, rtol=0, atol=1e-14)


def test_nodes_begin_at_the_first_step_and_end_before_the_stop() -> None:
    assert spaced_nodes(steps(0, 3), steps(25, 9), 3).tolist() == [[0, 12, 24], [3, 6, 8]]  # 5.5 rounds to even
    assert spaced_nodes(steps(4), steps(20), 1).tolist() == [[4]]


def test_the_weights_sum_to_the_segments_width() -> None:
    sigmas = grid(1.88)
    found = quadrature(sigmas, steps(2, 18, 24), steps(18, 25, 25), 3)
    assert_close(found.weights.sum(dim=1), sigmas[[18, 25, 25]] - sigmas[[2, 18, 24]])
    assert found.nodes[:, 0].tolist() == [2, 18, 24]
    assert found.nodes[0].tolist() == [2, 10, 17]
    assert found.nodes[2].tolist() == [24] * 3  # one step has one node
    assert_close(found.weights[2], torch.tensor([-sigmas[24].item(), 0, 0], dtype=torch.float64))
    assert found.guarded.tolist() == [0, 0, 0]


def two_nodes(sigmas: Tensor, first: int, stop: int) -> list[float]:
    inside = (sigmas[first:stop] - sigmas[first]) / (sigmas[stop] - sigmas[first])
    return ((sigmas[stop] - sigmas[first]) * lagrange_weights(inside[None]))[0].tolist()


def test_published_weights_of_wrong_sign_are_reproduced() -> None:
    """Source: shift 3, steps 22 → 24: +0.013, -0.193; n = 4 over steps 20 → 25: +0.066, -0.292, +0.088, -0.291."""
    assert two_nodes(grid(3.0), 22, 24) == pytest.approx([0.013, -0.193], abs=1e-3)
    sigmas = grid(3.0)
    nodes = spaced_nodes(steps(20), steps(25), 4)
    inside = (sigmas[nodes] - sigmas[20]) / (sigmas[25] - sigmas[20])
    assert (-sigmas[20] * lagrange_weights(inside))[0].tolist() == pytest.approx(
        [0.066, -0.292, 0.088, -0.291], abs=1e-3
    )


def test_the_guard_takes_nodes_away_until_the_start_pulls_forward() -> None:
    """The start share of that segment is -7 %; with one node it is the whole width."""
    sigmas = grid(3.0)
    found = quadrature(sigmas, steps(22), steps(24), 3)
    assert found.wanted_start.item() == pytest.approx(-0.07, abs=5e-3)
    assert found.guarded.item() == 1
    assert found.nodes.tolist() == [[22] * 3]
    assert_close(found.weights[0], torch.tensor([(sigmas[24] - sigmas[22]).item(), 0, 0], dtype=torch.float64))
    fewer = quadrature(sigmas, steps(20), steps(25), 4)
    assert fewer.guarded.item() == 1
    assert (fewer.weights[0] != 0).sum().item() == 3  # three nodes are good there


@pytest.mark.parametrize("shift", [1.0, 1.88, 3.0, 6.56])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_behind_the_guard_no_start_pulls_backward(shift: float, most: int) -> None:
    """The failure mode `reward falls, Lagrange only` cannot happen."""
    first, stop = zip(*[(a, b) for b in range(1, STEPS + 1) for a in range(b)], strict=True)
    sigmas = grid(shift)
    found = quadrature(sigmas, steps(*first), steps(*stop), most)
    width = sigmas[list(stop)] - sigmas[list(first)]
    assert (found.weights[:, 0] / width > 0).all()
    assert_close(found.weights.sum(dim=1), width)
    assert (found.guarded.bool() == (found.wanted_start <= 0)).all() or most > 3  # deeper guards look at fewer nodes


@pytest.mark.parametrize(("shift", "first", "last"), [(1.88, 0.0, 0.04), (3.0, 0.10, 0.06)])
def test_the_guard_acts_as_often_as_published(shift: float, first: float, last: float) -> None:
    """Source: rates of a wrong sign at n = 3 with these draws: FLUX.1 0 %, 4 %; SD3.5 10 %, 6 %."""
    rngs = [Rng(1, update, tuple(range(50))) for update in range(80)]
    k, j = (torch.cat(side) for side in zip(*[draw_segments(rng, STEPS, 0) for rng in rngs], strict=True))
    end = torch.full_like(j, STEPS)
    rates = [quadrature(grid(shift), *ends, 3).guarded.mean().item() for ends in ((k, j), (j, end))]
    assert rates == pytest.approx([first, last], abs=0.015)


def test_segments_are_drawn_as_published() -> None:
    """Source: k about 3.7 ± 2.9, j about 18 ± 3.1; at least one step each."""
    rngs = [Rng(1, update, tuple(range(50))) for update in range(100)]
    k, j = (torch.cat(side).double() for side in zip(*[draw_segments(rng, STEPS, 0) for rng in rngs], strict=True))
    assert (k.mean().item(), k.std().item()) == pytest.approx((3.7, 2.9), abs=0.15)
    assert (j.mean().item(), j.std().item()) == pytest.approx((18, 3.1), abs=0.15)
    assert (k >= 0).all()
    assert (j > k).all()
    assert (j < STEPS - 1).all()


@pytest.mark.parametrize("tail", [1, 2, 10])
def test_the_tail_can_be_capped(tail: int) -> None:
    rng = Rng(1, 1, tuple(range(200)))
    k, j = draw_segments(rng, STEPS, tail)
    free = draw_segments(rng, STEPS, 0)
    assert (STEPS - j).max().item() == tail
    assert torch.equal(k, free[0])
    assert torch.equal(j, torch.maximum(free[1], torch.tensor(STEPS - tail)))


@pytest.mark.parametrize("length", [3, 4, 5])
def test_short_rollouts_have_segments_too(length: int) -> None:
    """At least one step before k, one between and one after j, however extreme the draw."""
    k, j = draw_segments(Rng(1, 1, tuple(range(4000))), length, 0)
    assert ((k >= 0) & (k < j) & (j < length - 1)).all()
    assert j.max() == length - 2


def test_a_blend_is_between_the_quadrature_and_one_leap() -> None:
    sigmas = grid(1.0)
    found = quadrature(sigmas, steps(2, 3), steps(18, 20), 3)
    leap = found.blended(0.0)
    assert_close(leap.weights[:, 0], sigmas[[18, 20]] - sigmas[[2, 3]])
    assert leap.weights[:, 1:].abs().max() == 0
    assert_close(found.blended(0.25).weights, 0.25 * found.weights + 0.75 * leap.weights)
    assert torch.equal(found.blended(1.0).weights, found.weights)


def test_a_level_that_is_stood_on_twice_gives_numbers() -> None:
    """Stable Diffusion under an even grid: the first two steps stand at one level."""
    sigmas = unshift_sigma(torch.tensor([0.93, 0.93, 0.93, 0.6, 0.3, 0.0], dtype=torch.float64), 1.0)
    found = quadrature(sigmas, steps(0, 0), steps(2, 4), 3)
    for values in (found.weights, found.wanted_start, found.guarded):
        assert values.isfinite().all()
    assert_close(found.weights.sum(dim=1), sigmas[[2, 4]] - sigmas[0])
