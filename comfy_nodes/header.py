"""The metadata contract of an aligned LoRA: one safetensors key `palate` holding one JSON object.

Standard library only: the ComfyUI pack reads it inside ComfyUI, `toolkit.lora_file` writes through it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

KEY = "palate"
FOLDER = "palate"  # of the pack's own models, below ComfyUI's `models`
FORMAT_VERSION = 1
LONGEST = 65_536  # characters of JSON; ours are far below


def caption(word: str, prompt: str) -> str:
    """The text a control word makes of a prompt: "word. prompt", as the published SRPO code builds it."""
    return f"{word}. {prompt}"


@dataclass(frozen=True)
class AlignedLoraHeader:
    """What a LoRA says of itself. `strength` is the recommended range (low, high); `words` lists control-word pairs."""

    method: str
    family: str
    base: str
    words: list[dict[str, str]] = field(default_factory=list)
    reward: str = ""
    reward_hash: str = ""
    strength: tuple[float, float] = (0.5, 1.0)
    recipe_hash: str = ""
    update: int = 0
    version: int = FORMAT_VERSION

    def to_metadata(self) -> dict[str, str]:
        """The one metadata entry, its JSON with sorted keys so that equal headers are equal bytes."""
        return {KEY: json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))}


def read(metadata: Mapping[str, str] | None) -> AlignedLoraHeader | None:
    """The header inside safetensors metadata, or None for a file that Palate did not write.

    Raises ValueError when the key is there and cannot be understood. Unknown fields of newer versions are ignored.
    """
    if not metadata or KEY not in metadata:
        return None
    if len(metadata[KEY]) > LONGEST:
        raise ValueError(f"the `{KEY}` header of this LoRA cannot be read: it is longer than {LONGEST} characters")
    try:
        content = json.loads(metadata[KEY], parse_constant=_no_number)
        known = {name: content[name] for name in AlignedLoraHeader.__dataclass_fields__ if name in content}
        return AlignedLoraHeader(**{**known, "strength": _range(known.get("strength", [0.5, 1.0]))})
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"the `{KEY}` header of this LoRA cannot be read: {error}") from error


def _no_number(text: str) -> float:
    """JSON has no NaN and no Infinity; what a browser refuses is refused here, too."""
    raise ValueError(f"{text} is no number")


def _range(value: object) -> tuple[float, float]:
    """Two finite numbers; an integer that is no float raises OverflowError."""
    if not isinstance(value, list) or len(value) != 2 or any(type(each) not in (int, float) for each in value):
        raise ValueError("strength is not two numbers")
    low, high = map(float, value)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("strength is not two numbers")
    return low, high
