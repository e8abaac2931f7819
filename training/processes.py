"""What the processes of one run have to agree on: means, pooled values, and what the first of them knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from training import events


class Processes:
    """All processes of `accelerator`; on a single one every call costs nothing."""

    def __init__(self, accelerator: Accelerator) -> None:
        """Each call below must be made by every process."""
        self._accelerator = accelerator
        self.alone = accelerator.num_processes == 1

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """One all-reduce of all gradients; a parameter without gradient counts as zero on every process alike."""
        if self.alone:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters])  # type: ignore[union-attr]
        mean: Any = self._accelerator.reduce(flat, reduction="mean")
        for parameter, part in zip(parameters, mean.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def average_metrics(self, metrics: Mapping[str, list[Tensor]]) -> dict[str, float]:
        """The mean of each metric, over the processes that saw it; at least one metric."""
        mine = events.totals(metrics)
        return events.means([mine] if self.alone else gather_object([mine]))

    def everyone(self, values: Tensor) -> Tensor:
        """[micro, n, ...] of each process → [micro · processes · n, ...] in the order of samples.

        A process has the samples (micro · processes + rank) · n and following, as `training.batches` deals them out,
        so that two processes read the very list that one process with twice the accumulation reads.
        """
        if self.alone:
            return values.flatten(0, 1)
        micro, n, *rest = values.shape
        gathered: Any = self._accelerator.gather(values.contiguous())
        return gathered.reshape(-1, micro, n, *rest).transpose(0, 1).reshape(-1, *rest)

    def from_main(self, value: Any) -> Any:
        """The first process's value, on every one."""
        return value if self.alone else broadcast_object_list([value])[0]
