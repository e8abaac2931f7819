"""Will a LoRA load? Every name against the stored tables of both loaders, every number finite, the strength the same.

A loader skips what it does not know and says so at most in a log, so the picture silently stays the base's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from toolkit import lora_file
from toolkit.loras import keys, reading
from toolkit.loras.base_weights import BaseWeights
from toolkit.loras.family import Family, Spelling
from toolkit.loras.reading import Lora, Stem

Loader = Literal["diffusers", "comfyui"]
LOADERS: tuple[Loader, ...] = ("diffusers", "comfyui")
TITLES = {"diffusers": "diffusers", "comfyui": "ComfyUI"}


@dataclass
class Verdict:
    """`unread`: loader → layers that it would skip; `problems`: sentences; both empty means the file is good."""

    family: Family
    models: list[str]
    layers: int
    unread: dict[Loader, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Everything loads everywhere asked for, at the right strength."""
        return not self.problems and not any(self.unread.values())


def verify(path: Path, *, family: str = "", base: Path | None = None, loaders: tuple[Loader, ...] = LOADERS) -> Verdict:
    """Check a LoRA file, and against the layers and sizes of `base` where given. Raises UsageError for other files."""
    lora = reading.read(path, family)
    verdict = Verdict(lora.family, reading.published_models(lora.family, lora.stems, lora.shapes), len(lora.stems))
    for loader in loaders:
        reads = _diffusers_reads if loader == "diffusers" else _comfyui_reads
        verdict.unread[loader] = [stem for stem, each in lora.stems.items() if not reads(lora.family, stem, each)]
        verdict.problems += _strength(lora, loader)
    tensors, _ = lora_file.read(path)
    verdict.problems += [
        f"`{name}` holds numbers that are not finite: pictures turn black."
        for name, tensor in tensors.items()
        if not bool(tensor.isfinite().all())
    ]
    if base:
        verdict.problems += _against(lora, BaseWeights.find(base).layers, BaseWeights.find(base).shapes)
    return verdict


def _diffusers_reads(family: Family, stem: str, each: Stem) -> bool:
    known = {name for layers in keys.layers(family.name).values() for name in layers}
    inside = [name for name, _ in family.renaming.find(each.name)]
    spellings = {family.diffusers: "", **family.diffusers_reads}
    return set(inside) <= known and any(
        _is_spelled(stem, spelling, inside, family) and not any(re.fullmatch(missed, name) for name in inside)
        for spelling, missed in spellings.items()
    )


def _is_spelled(stem: str, spelling: Spelling, inside: list[str], family: Family) -> bool:
    if spelling.names == "diffusers":
        return len(inside) == 1 and stem == spelling.stem(inside[0])
    place = family.renaming.to_original(inside[0])
    return place is not None and stem == spelling.stem(place.name)


def _comfyui_reads(family: Family, stem: str, _: Stem) -> bool:
    return stem in keys.comfyui(family.name)


def _strength(lora: Lora, loader: Loader) -> list[str]:
    """Alpha as each loader sees it: ComfyUI reads only `.alpha`; diffusers ignores it beside some of its own names."""
    played = {}
    for stem, factor in lora.factors.items():
        has_alpha = "alpha" in lora.stems[stem].tensors
        if loader == "comfyui":
            played[stem] = factor if has_alpha else 1.0
        elif has_alpha and lora.stems[stem].prefix == lora.family.diffusers.prefix and not lora.family.reads_alpha:
            played[stem] = 1.0
        else:
            played[stem] = factor
    wrong = [stem for stem, factor in lora.factors.items() if abs(played[stem] - factor) > 1e-6 * abs(factor)]
    if not wrong:
        return []
    ratio = played[wrong[0]] / lora.factors[wrong[0]] if lora.factors[wrong[0]] else float("inf")
    return [
        f"{TITLES[loader]} would play {len(wrong)} of {len(lora.factors)} layers at {ratio:g} times their strength: it "
        f"does not see their alpha. `palate convert` folds it in."
    ]


def _against(lora: Lora, layers: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    sizes: dict[str, tuple[int, ...]] = {}
    for bare, name in layers.items():
        if bare.endswith(".weight"):
            for layer, place in lora.family.renaming.find(bare.removesuffix(".weight")):
                rows = shapes[name][0] * (place.last - place.first) // place.of if shapes[name] else 0
                sizes[layer] = (rows, *shapes[name][1:])
    found = []
    for layer, update in lora.updates.items():
        if layer not in sizes:
            found.append(f"The base has no layer `{layer}`.")
        elif sizes[layer] != update.shape:
            found.append(f"`{layer}` is {_size(sizes[layer])} in the base and {_size(update.shape)} in the LoRA.")
    return found


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
