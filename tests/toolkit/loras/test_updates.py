"""The algebra of low-rank updates, against plain matrices in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolkit.loras import low_rank, updates
from toolkit.loras.updates import Update

sizes = st.integers(1, 6)


def update(out: int, into: int, rank: int, seed: int = 0) -> Update:
    generator = torch.Generator().manual_seed(seed)
    return Update(torch.randn(rank, into, generator=generator), torch.randn(out, rank, generator=generator))


def planted(out: int, into: int, rank: int, *, seed: int = 0) -> torch.Tensor:
    return update(out, into, rank, seed).delta()


@given(sizes, sizes, sizes)
def test_the_norm_is_that_of_the_change(out: int, into: int, rank: int) -> None:
    one = update(out, into, rank)
    assert one.norm() == pytest.approx(float(one.delta().double().norm()), rel=1e-5)


@given(sizes, sizes, st.lists(st.tuples(st.integers(1, 4), st.floats(-2, 2)), min_size=1, max_size=4))
def test_adding_is_exact_and_ranks_add_up(out: int, into: int, terms: list[tuple[int, float]]) -> None:
    parts = [update(out, into, rank, seed).scaled(factor) for seed, (rank, factor) in enumerate(terms)]
    total = updates.add(parts)
    assert total.rank == sum(rank for rank, _ in terms)
    assert torch.allclose(total.delta(), sum(part.delta() for part in parts), atol=1e-5)  # type: ignore[arg-type]


@given(st.integers(3, 9), st.integers(3, 9), st.integers(1, 8), st.integers(1, 8))
def test_compressing_keeps_the_best_part(out: int, into: int, rank: int, kept: int) -> None:
    """Eckart-Young: what is lost is the norm of the singular values left out, and nothing smaller is possible."""
    one = update(out, into, rank)
    small = updates.compress(one, kept)
    values = torch.linalg.svdvals(one.delta().double())
    assert small.rank <= max(kept, 1)
    assert float((one.delta() - small.delta()).norm()) == pytest.approx(float(values[kept:].norm()), abs=1e-4)


def test_convolutions_keep_their_shape() -> None:
    one = Update(torch.randn(4, 3, 3, 3), torch.randn(5, 4, 1, 1))
    small = updates.compress(updates.add([one, one]), 4)
    assert (small.down.shape, small.up.shape) == ((4, 3, 3, 3), (5, 4, 1, 1))
    assert torch.allclose(small.delta(), 2 * one.delta(), atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 30), (900, 1000)], ids=["exact", "randomised"])
def test_a_planted_rank_is_found(shape: tuple[int, int]) -> None:
    matrix = planted(*shape, 8)
    for found in (low_rank.with_rank(matrix, 8), low_rank.with_energy(matrix, 0.999999)):
        assert found.rank == 8
        assert float((found.delta() - matrix).norm()) <= 1e-3 * float(matrix.norm())


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99])
def test_the_rank_is_the_smallest_that_explains_the_energy(energy: float) -> None:
    matrix = planted(60, 50, 40)
    values = torch.linalg.svdvals(matrix.double()).square()
    wanted = int(((values.cumsum(0) / values.sum()) < energy).sum()) + 1
    assert low_rank.with_energy(matrix, energy).rank == wanted


def test_the_randomised_factors_are_nearly_the_best_and_always_the_same() -> None:
    generator = torch.Generator().manual_seed(2)
    left, right = (torch.linalg.qr(torch.randn(800, 800, generator=generator))[0] for _ in range(2))
    values = 0.97 ** torch.arange(800)
    matrix = left * values @ right
    first, second = low_rank.with_rank(matrix, 16), low_rank.with_rank(matrix, 16)
    assert torch.equal(first.up, second.up)
    assert torch.equal(first.down, second.down)
    lost, best = float((matrix - first.delta()).norm()), float(values[16:].norm())
    assert lost <= 1.001 * best
