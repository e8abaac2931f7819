"""Several LoRAs in one, or in the base itself.

Side by side the matrices give the exact sum, and the ranks add up; `rank` then keeps the best part. torch is imported
inside the functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from comfy_nodes.header import AlignedLoraHeader
from toolkit import lora_file
from toolkit.errors import UsageError
from toolkit.loras import writing
from toolkit.loras.base_weights import BaseWeights, copy_others, is_quantised, rewrite
from toolkit.loras.convert import precision_of
from toolkit.loras.family import Family
from toolkit.loras.reading import Lora, read
from toolkit.loras.updates import Update, add, compress

if TYPE_CHECKING:
    from torch import Tensor


def merge(
    sources: Sequence[tuple[Path, float]], output: Path, *, rank: int = 0, family: str = "", dtype: str = ""
) -> float:
    """Write the sum of strength x LoRA as one diffusers LoRA; returns the share that a `rank` lost (0 without one)."""
    loras, updates = _sum(sources, family)
    kept = {name: compress(update, rank) for name, update in updates.items()} if rank else updates
    metadata = _metadata([path for path, _ in sources], loras)
    writing.write(
        output,
        kept,
        loras[0].family,
        loras[0].family.diffusers,
        dtype=dtype or precision_of(loras[0]),
        metadata=metadata,
    )
    return _lost(updates, kept) if rank else 0.0


def merge_into(sources: Sequence[tuple[Path, float]], base: Path, output: Path, *, family: str = "") -> int:
    """Write the base with the LoRAs added to its weights and return how many layers changed.

    A folder becomes a folder with the same shards, a file a file; precision and names stay the base's own. One tensor
    is in memory at a time. Raises UsageError when a LoRA has a layer that the base lacks.
    """
    loras, updates = _sum(sources, family)
    weights = BaseWeights.find(base)
    homes = _homes(weights, loras[0].family, updates)
    if output.resolve() in {base.resolve(), *(path.resolve() for path in weights.files)}:
        raise UsageError("The merged base would replace the base itself.", action="Choose another --output.")

    def changed(name: str, tensor: Tensor) -> Tensor | None:
        return _added(name, tensor, homes[name]) if name in homes else None

    for path in weights.files:
        rewrite(path, output / path.name if weights.folder else output, changed)
    if weights.folder:
        copy_others(weights.folder, output)
    return len(updates)


def _sum(sources: Sequence[tuple[Path, float]], family: str) -> tuple[list[Lora], dict[str, Update]]:
    loras = [read(path, family) for path, _ in sources]
    for (path, _), lora in zip(sources, loras, strict=True):
        if lora.family.name != loras[0].family.name:
            raise UsageError(
                f"`{path.name}` is for {lora.family.title}, `{sources[0][0].name}` for {loras[0].family.title}.",
                action="Merge LoRAs of one family.",
            )
    names = sorted({name for lora in loras for name in lora.updates})
    terms = {
        name: [
            lora.updates[name].scaled(strength)
            for (_, strength), lora in zip(sources, loras, strict=True)
            if name in lora.updates
        ]
        for name in names
    }
    for name, updates in terms.items():
        if len({update.shape for update in updates}) > 1:
            raise UsageError(
                f"`{name}` has another size in each LoRA.", action="Merge LoRAs that were trained on one base."
            )
    return loras, {name: add(updates) for name, updates in terms.items()}


def _homes(weights: BaseWeights, family: Family, updates: Mapping[str, Update]) -> dict[str, list]:
    """Name in the file → what is added to it: (place in its rows, update)."""
    homes: dict[str, list] = {}
    homeless = set(updates)
    for bare, name in weights.layers.items():
        for layer, place in family.renaming.find(bare.removesuffix(".weight")) if bare.endswith(".weight") else ():
            if layer in updates:
                homes.setdefault(name, []).append((place, updates[layer]))
                homeless.discard(layer)
    if homeless:
        raise UsageError(
            f"The base has no layer `{min(homeless)}`.",
            action=f"Give a {family.title} base that the LoRA was made for.",
        )
    return homes


def _added(name: str, tensor: Tensor, changes: Sequence) -> Tensor:
    if is_quantised(tensor):
        raise UsageError(
            f"`{name}` of the base is quantised ({tensor.dtype}), and small changes would be rounded away.",
            action="Give a base in bfloat16, float16 or float32.",
        )
    result = tensor.float().clone()
    for place, update in changes:
        delta = update.cut(replace(place, first=0, last=1, of=1)).delta()
        rows = result[place.rows(result.shape[0])]
        if rows.numel() != delta.numel():
            raise UsageError(
                f"`{name}` has another size in the base.", action="Give the base that the LoRA was made for."
            )
        rows += delta.reshape(rows.shape)
    return result.to(tensor.dtype)


def _lost(whole: Mapping[str, Update], kept: Mapping[str, Update]) -> float:
    missing = sum(add([update, kept[name].scaled(-1.0)]).norm() ** 2 for name, update in whole.items())
    total = sum(update.norm() ** 2 for update in whole.values())
    return (missing / total) ** 0.5 if total else 0.0


def _metadata(paths: Sequence[Path], loras: Sequence[Lora]) -> dict[str, str]:
    headers = [header for path in paths if (header := lora_file.header(path))]
    names = [lora.metadata.get("modelspec.title", path.stem) for path, lora in zip(paths, loras, strict=True)]
    entries = {"modelspec.merged_from": ", ".join(names)}
    if headers:
        words = [dict(pair) for pair in dict.fromkeys(tuple(w.items()) for header in headers for w in header.words)]
        own = AlignedLoraHeader("merge", headers[0].family, headers[0].base, words=words)
        entries |= {**own.to_metadata(), "ss_sd_model_name": own.base}
        entries |= lora_file.word_entries([pair["positive"] for pair in words])
    return entries
