"""The best low-rank factors of a matrix: an exact SVD for small ones, a randomised one for large ones.

Randomised: Halko, Martinsson and Tropp 2011 (arXiv:0909.4061), subspace iteration with oversampling. torch is imported
inside the functions, so that the toolkit stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

from toolkit.loras.updates import Update

SMALL = 384  # up to this size the exact SVD is as quick
OVERSAMPLING = 16
ITERATIONS = 4
FIRST_GUESS = 32  # components tried first when the rank follows from the energy


def with_rank(matrix: Tensor, rank: int, *, seed: int = 0) -> Update:
    """The best update of `rank` for `matrix` [out, in], its singular values shared evenly by both factors."""
    left, values, right = _components(matrix, rank, seed)
    return _update(left, values, right)


def with_energy(matrix: Tensor, energy: float, *, seed: int = 0) -> Update:
    """The update of the smallest rank that explains `energy` (0 to 1) of the matrix's squared norm."""
    total = matrix.double().square().sum()
    count = FIRST_GUESS
    while True:
        count = min(count, *matrix.shape)
        left, values, right = _components(matrix, count, seed)
        explained = values.double().square().cumsum(0) / total
        if explained[-1] >= energy or count == min(matrix.shape):
            rank = min(int((explained < energy).sum()) + 1, count)
            return _update(left[:, :rank], values[:rank], right[:, :rank])
        count *= 2


def _components(matrix: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """U [out, count], σ [count] falling, V [in, count]."""
    import torch

    count = min(count, *matrix.shape)
    wanted = count + OVERSAMPLING
    if min(matrix.shape) <= SMALL or 2 * wanted > min(matrix.shape):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        return left[:, :count], values[:count], right[:count].T
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, values, right = torch.svd_lowrank(matrix, q=wanted, niter=ITERATIONS)
    return left[:, :count], values[:count], right[:, :count]


def _update(left: Tensor, values: Tensor, right: Tensor) -> Update:
    root = values.sqrt()
    return Update((right * root).T.contiguous(), (left * root).contiguous())
