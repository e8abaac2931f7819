"""events.jsonl, the only truth about a run's numbers: one JSON object a line, appended, cut back when a run resumes."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit import atomic


class EventLog:
    """Appends events. A log without a path (on any process but the first) swallows them."""

    def __init__(self, path: Path | None, mirror: Callable[[dict[str, float], int], None] | None = None) -> None:
        """path: the file to append to, or None; mirror: is also told the numbers of an update (values, update)."""
        self._mirror = mirror
        self._file = path.open("ab") if path else None

    def write(self, kind: str, **fields: Any) -> None:
        """One event, visible to readers at once; tensors become their mean, NaN and infinity become null."""
        if self._file is None:
            return
        content = {"kind": kind, "time": round(time.time(), 3), **{k: plain(v) for k, v in fields.items()}}
        self._file.write(json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        if self._mirror is not None and "update" in content:
            self._mirror(numbers(content), content["update"])

    def sync(self) -> int:
        """Force everything to disk and return the file's length: where a checkpoint's history ends."""
        if self._file is None:
            return 0
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Release the file. On a full disk the write that failed has already said so."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def __enter__(self) -> EventLog:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def cut(path: Path, length: int) -> None:
    """Forget what was logged after `length` bytes: updates that a resumed run does again."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) > length:
        atomic.write_file(path, data[:length])


def numbers(event: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of an event as `kind/name`, for trackers that know only flat names."""
    prefix = prefix or f"{event['kind']}/"
    flat: dict[str, float] = {}
    for name, value in event.items():
        if isinstance(value, Mapping):
            flat |= numbers(value, f"{prefix}{name}/" if name not in ("metrics", "values") else prefix)
        elif isinstance(value, int | float) and name not in ("update", "time"):
            flat[prefix + name] = float(value)
    return flat


def totals(metrics: Mapping[str, Sequence[Tensor]]) -> dict[str, tuple[float, int]]:
    """Sum and count of each number's values, which are scalars; one look at the device for all of them."""
    sums = torch.stack([torch.stack(list(values)).sum() for values in metrics.values()]).tolist()
    return {name: (total, len(metrics[name])) for name, total in zip(metrics, sums, strict=True)}


def means(everyone: Sequence[Mapping[str, tuple[float, int]]]) -> dict[str, float]:
    """Each number's mean over the processes that saw it; not all see each range of noise levels."""
    names = dict.fromkeys(name for seen in everyone for name in seen)
    both = {name: [seen[name] for seen in everyone if name in seen] for name in names}
    return {name: sum(total for total, _ in seen) / sum(count for _, count in seen) for name, seen in both.items()}


def plain(value: Any) -> Any:
    """JSON's idea of a value: tensors by their mean, floats to 7 digits, NaN as null."""
    if isinstance(value, Tensor):
        value = value.float().mean().item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
