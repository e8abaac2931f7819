"""Models without weights: inside `weightless()` loaders build from configs, on torch's fake tensors.

A fake tensor has a shape, a type and a size in bytes, but no numbers: the real code runs on it at the price of a few
microseconds per operation, whatever its size.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

Module = TypeVar("Module", bound=nn.Module)
aten = torch.ops.aten
_MODE: ContextVar[FakeTensorMode | None] = ContextVar("fake tensors", default=None)


@contextmanager
def weightless() -> Iterator[FakeTensorMode]:
    """Inside, loaders that ask `is_weightless` build instead of read; the mode itself is entered where code runs."""
    token = _MODE.set(FakeTensorMode(allow_non_fake_inputs=True))
    try:
        yield mode()
    finally:
        _MODE.reset(token)


def is_weightless() -> bool:
    """Whether a loader has to build its model from a config alone."""
    return _MODE.get() is not None


@cache
def shipped(layouts: Path, index: str) -> dict[str, Path]:
    """Hub id → the folder below `layouts` whose file `index` says that it is this model's."""
    found = sorted(layouts.glob(f"*/{index}"))
    return {json.loads(file.read_text(encoding="utf-8"))["_name_or_path"]: file.parent for file in found}


def number(tensor: Tensor) -> float:
    """The one number in a tensor; 1 where it has none."""
    return 1.0 if tensor.is_meta else float(tensor)


def build(make: Callable[[], Module], dtype: torch.dtype = torch.float32) -> Module:
    """What `make` gives, in `dtype` at once and frozen, on the meta device: adapters still fit in; see `hollow`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            made = make()
    finally:
        torch.set_default_dtype(before)
    return made.eval().requires_grad_(False)


def hollow(module: nn.Module) -> None:
    """Give a module fake tensors for those it has, of the same shapes and types. It cannot be moved any more.

    The last step of building: torch moves and converts fake parameters by a swap, which it often refuses.
    """
    made: dict[int, nn.Parameter] = {}  # shared weights stay shared
    with mode():
        for part in module.modules():
            for name, old in part._parameters.items():
                if old is not None:
                    if id(old) not in made:
                        made[id(old)] = nn.Parameter(_like(old), old.requires_grad)
                    part._parameters[name] = made[id(old)]
            for held in (part._buffers, vars(part)):
                held.update({name: _like(value) for name, value in held.items() if isinstance(value, Tensor)})
    itself: Any = weakref.ref(module)  # not a cycle: what is let go of must be gone at once
    module.to = lambda *_, **__: itself()


def _like(tensor: Tensor) -> Tensor:
    """Not by the mode's `from_tensor`: its memory of what it converted keeps both tensors alive."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


class Numberless(TorchDispatchMode):
    """Answers for fake tensors when code asks for their numbers.

    No comparison holds, every mask keeps everything, and any other number is 1. What needs no fake tensor, such as the
    lengths of texts, is computed.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, unless it would read a number."""
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if given and not any(isinstance(leaf, FakeTensor) for leaf in given):
            with _disable_current_modes():
                return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            kind = args[0].dtype
            return False if kind == torch.bool else 1.0 if kind.is_floating_point else 1
        if func is aten.equal.default:
            return False
        if func is aten.index.Tensor:
            return func(args[0], _places(args[1]))
        return func(*args, **kwargs)


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Masks as the numbers of what they keep."""
    places: list[Tensor | None] = []
    for index in indices:
        if index is None or index.dtype != torch.bool:
            places.append(index)
        elif isinstance(index, FakeTensor):
            kept = torch.empty(index.numel(), dtype=torch.long)
            places += [kept] * index.ndim
        else:
            with _disable_current_modes():
                places += list(index.nonzero(as_tuple=True))
    return places


def mode() -> FakeTensorMode:
    """The mode in which fake tensors are made and run. Raises RuntimeError outside of `weightless`."""
    current = _MODE.get()
    if current is None:
        raise RuntimeError("outside of weightless()")
    return current


class LengthTokenizer:
    """Stands where there is no vocabulary: as many tokens as the longest text has, all of them the first one."""

    def __init__(self, model_max_length: int = 77) -> None:
        """model_max_length: the longest prompt in tokens, where the caller does not say."""
        self.model_max_length = model_max_length

    def __len__(self) -> int:
        """No token is one that a model does not know."""
        return 0

    def __call__(
        self, texts: str | Sequence[str], padding: str | bool = False, max_length: int | None = None, **_: object
    ) -> transformers.BatchEncoding:
        """Token ids [B, T]: T is what the caller pads or cuts to, else a start and an end."""
        tokens = max_length or (self.model_max_length if padding == "max_length" else 2)
        with _disable_current_modes():  # numbers that are known
            ids = torch.zeros(1 if isinstance(texts, str) else len(texts), tokens, dtype=torch.long)
            mask = torch.ones_like(ids)
        return transformers.BatchEncoding({"input_ids": ids, "attention_mask": mask})

    def tokenize(self, text: str) -> list[str]:
        """None of `text` is a word with a meaning of its own."""
        return []

    def add_tokens(self, *_: object, **__: object) -> None:
        """Every token is the first one."""

    add_special_tokens = add_tokens

    def apply_chat_template(self, messages: Sequence[dict[str, str]], **_: object) -> str:
        """What was said."""
        return messages[0]["content"]
