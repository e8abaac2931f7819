"""Safetensors that say what they are: one metadata key, as in LoRA files, one JSON object under the kind of file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from toolkit import atomic

HEADER = "palate"


def save(path: Path, tensors: Mapping[str, Tensor], kind: str, facts: Mapping[str, Any]) -> None:
    """Write tensors and, in the header, what one should know of them; the same bytes each time. Raises OSError."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    header = {HEADER: json.dumps({kind: facts}, sort_keys=True)}
    atomic.write_with(path, lambda temporary: save_file(weights, temporary, metadata=header))


def about(path: Path, kind: str) -> dict[str, Any] | None:
    """What the header of a whole file of this kind says; None for any other, and where there is none."""
    try:
        with safe_open(path, framework="pt") as opened:
            return json.loads((opened.metadata() or {})[HEADER])[kind]
    except (SafetensorError, KeyError, ValueError, OSError):
        return None
