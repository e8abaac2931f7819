"""Bytes of live tensors, phase by phase, and the floating-point operations that made them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

VALIDATION = "validation"
aten = torch.ops.aten
FLOPS: dict[Any, Any] = {  # torch's own formulas; its table leaves out the CPU's attention, whose arguments agree
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}


@dataclass
class Cost:
    """Of one call."""

    flops: int = 0
    bytes: int = 0  # at most, beyond what was alive before


class LiveBytes(TorchDispatchMode):
    """Counts every storage from the operation that makes it until it is freed.

    `torch.distributed._tools.mem_tracker.MemTracker` counts the same, but refuses a network that is called more than
    once, as every rollout does, and its snapshots per module cost more than a large network's operations.
    Memory that a kernel takes and gives back by itself (workspaces) is not seen, nor what an allocator keeps.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()
        self.live = 0
        self.flops = 0
        self.peaks: dict[str, int] = {}
        self._phase = ""
        self._highest = 0  # since the outermost `cost` began
        self._known: dict[int, weakref.ref[Any]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Inside, the peak counts as that of `name`; phases inside `validation` are part of it."""
        outer = self._phase
        self._phase = outer if outer == VALIDATION else name
        self._note()
        try:
            yield
        finally:
            self._phase = outer

    @contextmanager
    def cost(self) -> Iterator[Cost]:
        """What happens inside takes so many operations, and so many bytes more than there were."""
        found, live, flops, outer = Cost(), self.live, self.flops, self._highest
        self._highest = live
        yield found
        found.flops, found.bytes = self.flops - flops, self._highest - live
        self._highest = max(self._highest, outer)

    def add(self, cost: Cost) -> None:
        """Count something as if it happened once more, here and now."""
        self.flops += cost.flops
        self._note(cost.bytes)

    def hold(self, modules: Iterable[nn.Module]) -> None:
        """Count what modules keep, whoever made it."""
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                self._count(tensor)
        self._note()

    @property
    def peak(self) -> int:
        """The largest of all phases."""
        return max(self.peaks.values(), default=0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count its results."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = FLOPS.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        if isinstance(result, Tensor):
            self._count(result)
        else:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._count(leaf)
        self._note()
        return result

    def _note(self, more: int = 0) -> None:
        live = self.live + more
        self._highest = max(self._highest, live)
        if live > self.peaks.get(self._phase, -1):
            self.peaks[self._phase] = live

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self.live += size

        def freed(_: object) -> None:
            self.live -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, freed)
