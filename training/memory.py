"""Bytes of live tensors, phase by phase, and the floating-point operations that made them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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

    def _note(self) -> None:
        if self.live > self.peaks.get(self._phase, -1):
            self.peaks[self._phase] = self.live

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
