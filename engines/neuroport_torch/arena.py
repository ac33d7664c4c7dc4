"""Buffers that are used again, within a training step and in the next one.

A fresh buffer costs a page fault for every 4 KiB; on a CPU that is more than many a loop that fills
it. A buffer is free again as soon as nothing refers to it, and all of them are after ``reset``: what
lies in an arena is overwritten then, and nothing of it may leave the engine.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch

Key = tuple[int, torch.dtype, torch.device]

# how many tensors and arrays hold a storage; a torch without it frees buffers in ``reset`` alone
_holders = getattr(torch._C, "_storage_Use_Count", None)


class Buffer(NamedTuple):
    """Memory of the arena's own: one tensor (M,), its storage, and how many hold it while nobody else does."""

    tensor: torch.Tensor
    storage: int
    own: int

    @staticmethod
    def of(key: Key) -> Buffer:
        tensor = torch.empty(key[0], dtype=key[1], device=key[2])
        storage = tensor.untyped_storage()._cdata
        return Buffer(tensor, storage, _holders(storage) if _holders else 0)

    @property
    def referred_to(self) -> bool:
        """Whether somebody else holds a tensor, a view or an array of this memory."""
        return _holders is None or _holders(self.storage) > self.own


class Arena:
    """Hands out uninitialized tensors."""

    def __init__(self) -> None:
        self._free: dict[Key, list[Buffer]] = {}
        self._used: dict[Key, list[Buffer]] = {}

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        key = (prod(shape), dtype, device)
        used = self._used.setdefault(key, [])
        buffer = next((one for one in used if not one.referred_to), None)
        if buffer is None:
            waiting = self._free.get(key)
            buffer = waiting.pop() if waiting else Buffer.of(key)
            used.append(buffer)
        return buffer.tensor.view(shape).detach()  # a tensor object of its own: autograd marks it

    def reset(self) -> None:
        """The next step begins; order is kept, so that it gets the same buffers."""
        for key, buffers in self._used.items():
            self._free.setdefault(key, []).extend(reversed(buffers))
        self._used.clear()

    def storages(self) -> dict[int, int]:
        """Bytes of every buffer handed out since ``reset`` that something refers to, by the address of its memory."""
        return {one.tensor.data_ptr(): one.tensor.untyped_storage().nbytes()
                for buffers in self._used.values() for one in buffers if one.referred_to}


class Fresh(Arena):
    """Every buffer is new: for results that leave the engine."""

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=device)
