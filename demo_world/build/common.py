"""Paths, atomic writing, wall-clock schedules and weight averaging shared by every stage."""

import copy
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

M = TypeVar("M", bound=nn.Module)

WORLD = Path(__file__).resolve().parents[1]
WEIGHTS = WORLD / "weights"
WORK = WORLD / ".work"


def write_text(path: Path, text: str) -> None:
    """Write text so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically, one readable block."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def save_atomically(path: Path, content: object) -> None:
    """torch.save to a temporary file, then move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(content, temporary)
    temporary.replace(path)


def publish_folder(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a scratch folder, then move its files over those of `target` one by one."""
    scratch = target.parent / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    write(scratch)
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(scratch.iterdir()):
        file.chmod(0o644)
        file.replace(target / file.name)
    scratch.rmdir()


class Clock:
    """Progress of a wall-clock budget, and the learning-rate factor that goes with it."""

    def __init__(self, minutes: float) -> None:
        self.seconds = minutes * 60
        self.start = time.monotonic()

    @property
    def progress(self) -> float:
        """Share of the budget used up, 0 to 1."""
        return min(1.0, (time.monotonic() - self.start) / self.seconds)

    def cosine(self, step: int, warmup: int = 50) -> float:
        """Warm-up over the first steps, then a half cosine to zero over the budget."""
        return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * self.progress))

    def trapezoid(self, step: int, warmup: int = 100, flat: float = 0.6) -> float:
        """Warm-up, constant for a share `flat` of the budget, then linear to zero."""
        decay = 1.0 if self.progress < flat else (1 - self.progress) / (1 - flat)
        return min(1.0, (step + 1) / warmup) * decay


class Average(Generic[M]):
    """Exponential moving average of a module's weights; buffers are copied."""

    def __init__(self, module: M, decay: float) -> None:
        self.module: M = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.step = 0

    @torch.no_grad()
    def update(self, module: M) -> None:
        """Move the average towards the module; early steps count more."""
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        mine: list[Tensor] = list(self.module.parameters())
        theirs: list[Tensor] = list(module.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, other in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(other)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's own base rate."""
    for group in optimizer.param_groups:
        group.setdefault("base_lr", group["lr"])
        group["lr"] = group["base_lr"] * factor


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, factor: float, module: nn.Module) -> None:
    """One optimizer step at `factor` times the base rate, the module's gradient clipped to length 1."""
    set_learning_rate(optimizer, factor)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()


def as_half(module: M) -> M:
    """A fp16 copy for shipping."""
    return copy.deepcopy(module).half()


def ship(module: Any, name: str) -> None:
    """Write a library module to weights/<name> in fp16, in its library's own layout, without where it was read from."""

    def write(folder: Path) -> None:
        as_half(module).save_pretrained(folder)
        config = folder / "config.json"
        said = json.loads(config.read_text(encoding="utf-8"))
        said.pop("_name_or_path", None)
        write_json(config, said)

    publish_folder(WEIGHTS / name, write)


def log(stage: str, message: str) -> None:
    """One line with the time of day, flushed so that a tail follows it."""
    print(f"{time.strftime('%H:%M:%S')} {stage}: {message}", flush=True)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: Any,
) -> Tensor:
    """Attention written out, [B,heads,tokens,width]; dropout is ignored, nothing here uses it."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if is_causal:
        scores = scores + torch.full(scores.shape[-2:], float("-inf"), dtype=scores.dtype).triu(1)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value


@contextmanager
def plain_attention() -> Iterator[None]:
    """Replace torch's fused attention while training: its backward pass on a CPU costs half of a whole step here."""
    fused = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused
