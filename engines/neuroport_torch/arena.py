"""Buffers that a training step uses again in the next one.

A fresh buffer costs a page fault for every 4 KiB; on a CPU that is more than many a loop that fills
it. What lies in an arena is overwritten after ``reset``: nothing of it may leave the engine.
"""

from __future__ import annotations

import torch

Key = tuple[tuple[int, ...], torch.dtype, torch.device]


class Arena:
    """Hands out uninitialized tensors; after ``reset`` all of them are free again."""

    def __init__(self) -> None:
        self._free: dict[Key, list[torch.Tensor]] = {}
        self._used: list[tuple[Key, torch.Tensor]] = []

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        key = (tuple(shape), dtype, device)
        waiting = self._free.get(key)
        tensor = waiting.pop() if waiting else torch.empty(shape, dtype=dtype, device=device)
        self._used.append((key, tensor))
        return tensor.detach()  # a tensor object of its own: autograd marks it

    def reset(self) -> None:
        """The next step begins; order is kept, so that it gets the same buffers."""
        for key, tensor in reversed(self._used):
            self._free.setdefault(key, []).append(tensor)
        self._used.clear()


class Fresh(Arena):
    """Every buffer is new: for results that leave the engine."""

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=device)
