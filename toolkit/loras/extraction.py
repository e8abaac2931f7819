"""A LoRA out of a full fine-tune: truncated SVD of every changed matrix, one at a time.

Only two-dimensional weights become LoRA. Convolutions, biases, norms and embeddings that changed are reported and left
out: no loader of diffusers' takes whole changed tensors beside a LoRA. torch is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import UsageError
from toolkit.loras import families, low_rank, writing
from toolkit.loras.base_weights import BaseWeights, is_quantised
from toolkit.loras.family import Family
from toolkit.loras.reading import Stem, identify
from toolkit.loras.updates import Update, rows_at

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """What became of one changed matrix: its rank, the norm of the change, and of what the rank leaves out."""

    name: str
    rank: int
    norm: float
    residual: float

    @property
    def error(self) -> float:
        """The share of the change that is lost, 0 to 1."""
        return self.residual / self.norm


@dataclass(frozen=True)
class Extraction:
    """The report: extracted layers, and changed tensors that are not in the LoRA with the norm of their change."""

    family: Family
    layers: tuple[Layer, ...]
    skipped: tuple[tuple[str, float], ...]

    @property
    def error(self) -> float:
        """The share of the change of all extracted matrices together that is lost."""
        lost, all_of_it = (sum(getattr(x, part) ** 2 for x in self.layers) for part in ("residual", "norm"))
        return (lost / all_of_it) ** 0.5


def extract(
    tuned: Path, base: Path, output: Path, *,
    rank: int = 0, energy: float = 0.0, family: str = "", dtype: str = "float32",
    progress: Callable[[str], None] = lambda name: None,
) -> Extraction:  # fmt: skip
    """Write tuned - base as a diffusers LoRA of `rank`, or of the rank per layer that explains `energy`.

    Peak memory: a few copies of the largest matrix and the LoRA itself. Raises UsageError.
    """
    if (rank > 0) == (0.0 < energy < 1.0):
        raise UsageError("An extraction needs either a rank or an energy below 1.", action="Add --rank 16.")
    weights, before = BaseWeights.find(tuned), BaseWeights.find(base)
    _same_model(weights, before)
    found = _family(weights, family)
    updates: dict[str, Update] = {}
    layers, skipped = [], []
    for name, delta in _changes(weights, before, progress):
        places = found.renaming.find(name.removesuffix(".weight")) if delta.ndim == 2 else []
        if not name.endswith(".weight") or not places:
            skipped.append((name, float(delta.norm())))
        for layer, place in places:
            part = rows_at(place, delta)
            if norm := float(part.norm()):
                updates[layer] = low_rank.with_rank(part, rank) if rank else low_rank.with_energy(part, energy)
                residual = float((part - updates[layer].delta()).norm())
                layers.append(Layer(layer, updates[layer].rank, norm, residual))
    if not layers:
        raise UsageError("The two models have the same matrices.", action="Check that the first is the fine-tune.")
    about = {"modelspec.description": f"difference of two {found.title} models"}
    writing.write(output, updates, found, found.diffusers, dtype=dtype, metadata=about)
    return Extraction(found, tuple(layers), tuple(skipped))


def _changes(tuned: BaseWeights, base: BaseWeights, progress: Callable[[str], None]) -> Iterator[tuple[str, Tensor]]:
    for name, place in tuned.layers.items():
        after, before = tuned.read(place), base.read(base.layers[name])
        for tensor in (after, before):
            if is_quantised(tensor):
                raise UsageError(
                    f"`{name}` is quantised ({tensor.dtype}), and its rounding would be taken for training.",
                    action="Give the models in bfloat16, float16 or float32.",
                )
        if after.ndim and not bool((delta := after.float().sub_(before.float())).eq(0).all()):
            progress(name)
            yield name, delta


def _same_model(tuned: BaseWeights, base: BaseWeights) -> None:
    odd = sorted(tuned.layers.keys() ^ base.layers.keys())
    odd += [
        name for name, place in tuned.layers.items()
        if name in base.layers and tuned.shapes[place] != base.shapes[base.layers[name]]
    ]  # fmt: skip
    if odd:
        raise UsageError(
            f"The two models are not of one kind: `{odd[0]}` differs.",
            cause="One is another size or version, or written with other names.",
            action="Give the fine-tune and exactly the base that it was trained from.",
        )


def _family(weights: BaseWeights, wanted: str) -> Family:
    if wanted:
        return families.get(wanted)
    matrices = {
        name.removesuffix(".weight"): place for name, place in weights.layers.items() if name.endswith(".weight")
    }
    shapes = {name: weights.shapes[place] for name, place in matrices.items() if len(weights.shapes[place]) > 1}
    known = {name for each in families.FAMILIES.values() for name in shapes if each.renaming.find(name)}
    return identify({name: Stem("", name) for name in known}, {}, "", "The model", {n: shapes[n] for n in known})
