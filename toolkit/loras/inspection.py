"""What a LoRA file holds, as facts to show: family, layout, ranks, alpha, sizes, how strongly it changes each block."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit import lora_file
from toolkit.loras import reading

LAYOUTS = {
    "lora_unet_": "kohya", "lora_transformer_": "OneTrainer", "lycoris_": "LyCORIS names", "transformer.": "diffusers",
    "unet.": "diffusers", "diffusion_model.": "ComfyUI", "base_model.model.": "peft", "": "bare names",
}  # fmt: skip
LONGEST = 300  # characters of a metadata value that a person wants to see


@dataclass(frozen=True)
class Inspection:
    """`ranks` and `strengths` (alpha / rank) count layers; `blocks` gives the Frobenius norm of each block's change."""

    file: str
    family: str
    fits: list[str]
    layout: str
    layers: int
    tensors: int
    ranks: dict[int, int]
    strengths: dict[float, int]
    precision: list[str]
    bytes: int
    norm: float
    blocks: dict[str, float]
    words: list[dict[str, str]]
    metadata: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def inspect(path: Path, family: str = "") -> Inspection:
    """Look at a LoRA of any known layout. Raises UsageError for files that are none."""
    lora = reading.read(path, family)
    header = lora_file.header(path)
    squares: dict[str, float] = {}
    for name, update in lora.updates.items():
        squares[block(name)] = squares.get(block(name), 0.0) + update.norm() ** 2
    prefixes = sorted({stem.prefix for stem in lora.stems.values()})
    return Inspection(
        file=path.name,
        family=lora.family.name,
        fits=reading.published_models(lora.family, lora.stems, lora.shapes),
        layout=", ".join(dict.fromkeys(LAYOUTS[prefix] for prefix in prefixes)),
        layers=len(lora.stems),
        tensors=sum(len(stem.tensors) for stem in lora.stems.values()),
        ranks=_counted([update.rank for update in lora.updates.values()]),
        strengths=_counted([round(factor, 6) for factor in lora.factors.values()]),
        precision=list(lora.dtypes),
        bytes=path.stat().st_size,
        norm=sum(squares.values()) ** 0.5,
        blocks={name: square**0.5 for name, square in sorted(squares.items(), key=lambda item: _natural(item[0]))},
        words=header.words if header else [],
        metadata={name: _short(value) for name, value in sorted(lora.metadata.items())},
    )


def block(name: str) -> str:
    """The block of a layer: its name up to the first number, or its first word."""
    found = re.match(r".*?\.\d+(?=\.)", name)
    return found.group() if found else name.partition(".")[0]


def _counted(values: list) -> dict:
    return {value: values.count(value) for value in sorted(set(values))}


def _natural(name: str) -> list[tuple[str, int]]:
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D+)(\d*)", name)]


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
