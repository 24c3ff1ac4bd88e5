"""Copies and broadcasts of a module's buffers, such as BatchNorm statistics.

HRNet-w32 has 876 small buffers of two dtypes. Tensors of one dtype are copied by one kernel and
broadcast as one message; a list of mixed dtypes would take one kernel for each tensor.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


class BufferSnapshot:
    """Copy of a module's buffers that can be updated and restored.

    Args:
        module: a module that is already on its device, since moving it replaces its buffers.
    """

    def __init__(self, module: nn.Module) -> None:
        self.buffers = group_by_dtype(module.buffers())
        self.copies = [[buffer.clone() for buffer in group] for group in self.buffers]

    def update(self) -> None:
        """Copy the current values of the buffers, reusing memory."""
        for copies, buffers in zip(self.copies, self.buffers, strict=True):
            torch._foreach_copy_(copies, buffers)

    def restore(self) -> None:
        """Set the buffers to the values of the last update."""
        for buffers, copies in zip(self.buffers, self.copies, strict=True):
            torch._foreach_copy_(buffers, copies)


def broadcast_buffers(module: nn.Module, source: int = 0) -> None:
    """Set the buffers of all ranks to those of the source rank."""
    for buffers in group_by_dtype(module.buffers()):
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        distributed.broadcast(flat, src=source)
        values = torch.split(flat, [buffer.numel() for buffer in buffers])
        shaped = [value.view_as(buffer) for value, buffer in zip(values, buffers, strict=True)]
        torch._foreach_copy_(buffers, shaped)


def group_by_dtype(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Return lists of tensors, one for each dtype."""
    groups: dict[torch.dtype, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[tensor.dtype].append(tensor)
    return list(groups.values())
