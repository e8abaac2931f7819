"""One layer's low-rank update and the exact operations on it: scale, cut rows, fuse, add, compress.

torch is imported inside the functions, so that the toolkit stays light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.loras.names import Place

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Update:
    """W ← W + up · down. `down`: [r, in] or [r, in, kh, kw]; `up`: [out, r], with trailing ones for a convolution."""

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        """r."""
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight that is updated."""
        return (self.up.shape[0], *self.down.shape[1:])

    def delta(self) -> Tensor:
        """The change of the weight in float32."""
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return product.reshape(self.shape)

    def norm(self) -> float:
        """The Frobenius norm of `delta` from two r x r matrices: ‖BA‖² = tr(BᵀB · AAᵀ)."""
        up, down = self.up.double().flatten(1), self.down.double().flatten(1)
        return float(((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt())

    def scaled(self, factor: float) -> Update:
        """The update times `factor`, which goes into `up` in float32."""
        return self if factor == 1.0 else Update(self.down, self.up.float() * factor)

    def cut(self, place: Place) -> Update:
        """The rows at `place` in diffusers' order, less the components that do not reach them: undoes `fuse`."""
        up = rows_at(place, self.up)
        reaching = up.flatten(1).ne(0).any(0)
        if place.of == 1 or bool(reaching.all()):
            return Update(self.down, up)
        return Update(self.down[reaching], up[:, reaching])


def rows_at(place: Place, matrix: Tensor) -> Tensor:
    """The rows of an original layer's `matrix` that are diffusers' layer at `place`, in diffusers' order."""
    rows = matrix[place.rows(matrix.shape[0])]
    return _swap(rows) if place.swapped else rows


def fuse(parts: Sequence[tuple[Place, Update]]) -> Update:
    """The update of one original layer from its slices: exact; the ranks add up unless all share one `down`.

    Slices that are missing stay unchanged (zero rows). Inverse of `Update.cut`.
    """
    import torch

    place, first = parts[0]
    if place.of == 1:
        return Update(first.down, _swap(first.up) if place.swapped else first.up)
    total = first.up.shape[0] * place.of // (place.last - place.first)
    shared = all(torch.equal(update.down, first.down) for _, update in parts)
    rank = first.rank if shared else sum(update.rank for _, update in parts)
    up = first.up.new_zeros(total, rank, *first.up.shape[2:])
    column = 0
    for place, update in parts:
        up[place.rows(total), column : column + update.rank] = update.up
        column += 0 if shared else update.rank
    return Update(first.down if shared else torch.cat([update.down for _, update in parts]), up)


def add(updates: Sequence[Update]) -> Update:
    """The sum of updates of one layer, exact: their ranks add up."""
    import torch

    down = torch.cat([update.down.float() for update in updates])
    return Update(down, torch.cat([update.up.float() for update in updates], dim=1))


def compress(update: Update, rank: int) -> Update:
    """The best update of at most `rank` (Eckart-Young), by QR of both matrices and an SVD of r x r."""
    import torch

    if update.rank <= rank:
        return update
    basis_up, inner_up = torch.linalg.qr(update.up.double().flatten(1))
    basis_down, inner_down = torch.linalg.qr(update.down.double().flatten(1).T)
    left, values, right = torch.linalg.svd(inner_up @ inner_down.T, full_matrices=False)
    root = values[:rank].sqrt()
    up = basis_up @ left[:, :rank] * root
    down = (basis_down @ right[:rank].T * root).T
    return Update(down.float().reshape(-1, *update.down.shape[1:]), up.float().reshape(*up.shape, *update.up.shape[2:]))


def _swap(rows: Tensor) -> Tensor:
    import torch

    first, second = rows.chunk(2)
    return torch.cat([second, first])
