"""Packed data sets on the device, and batches of them: see ``data.packing``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from neuroport.data.packing import Packed
from neuroport_torch import products
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import over

if products.HAS_NUMBA:
    from neuroport_torch.kernels.unpack import unpack_bits

Tensor = torch.Tensor


class Staged(NamedTuple):
    """A packed data set on the device. labels: class indices (N,) int64, or target traces (N, T, C).

    arriving: the stream on which both are still copied there; None where they lie there.
    """

    values: Tensor
    labels: Tensor
    steps: int
    binary: bool
    arriving: Any = None

    @staticmethod
    def of(packed: Packed, dtype: torch.dtype, device: torch.device) -> Staged:
        """dtype: of target traces. On CUDA this returns before the data has arrived: see ``arrived``."""
        labels = packed.labels if packed.has_classes else packed.labels.reshape(*packed.labels.shape[:2], -1)
        kind = torch.int64 if packed.has_classes else dtype
        if device.type != "cuda":
            place = torch.tensor(packed.values, device=device), torch.tensor(labels, dtype=kind, device=device)
            return Staged(*place, packed.steps, packed.binary)
        # a stream of its own: on that of the computation a copy would begin when all of it is done
        stream = torch.cuda.Stream(device)
        with torch.cuda.stream(stream):
            values = _pinned(packed.values, torch.from_numpy(packed.values[:0].copy()).dtype)
            sent = [part.to(device, non_blocking=True) for part in (values, _pinned(labels, kind))]
        return Staged(sent[0], sent[1], packed.steps, packed.binary, stream)

    def arrived(self) -> Staged:
        """The same, once what computes here has been told to wait for it."""
        if self.arriving is None:
            return self
        here = torch.cuda.current_stream(self.values.device)
        here.wait_stream(self.arriving)
        for part in (self.values, self.labels):
            part.record_stream(here)  # its memory was taken on the other stream: not to be reused while this one reads
        return self._replace(arriving=None)

    def targets(self, samples: Tensor) -> Tensor:
        """What a loss compares some samples with: class indices (B,), or traces, time-major (T, B, C)."""
        found = self.labels[samples]
        return found if found.ndim == 1 else found.movedim(1, 0)


def _pinned(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """A copy in memory of the host that is pinned: only from there does a copy run beside the computation."""
    held = torch.empty(array.shape, dtype=dtype, pin_memory=True)
    np.copyto(held.numpy(), array, casting="same_kind")
    return held


def unpack(staged: Staged, samples: Tensor, dtype: torch.dtype, arena: Arena) -> Tensor:
    """Activity of some samples, time-major (T, B, *shape)."""
    if staged.binary and products.HAS_NUMBA and staged.values.device.type == "cpu":
        shape = staged.values.shape[2:]
        x = arena.empty((staged.steps, len(samples), *shape), dtype, staged.values.device)
        flat, packed = x.view(staged.steps, len(samples), -1).numpy(), staged.values.flatten(2).numpy()
        rows = samples.numpy()
        over(staged.steps, 8, lambda lo, hi: unpack_bits(packed, rows, flat, lo, hi))
        return x
    values = staged.values[samples].movedim(1, 0)  # (T, or its bytes, or 1 where constant; B, *shape)
    if staged.binary:
        places = torch.arange(8, dtype=torch.uint8, device=values.device).view(8, *(1,) * (values.ndim - 1))
        bits = torch.bitwise_right_shift(values.unsqueeze(1), places).bitwise_and_(1)  # (bytes, 8, B, *shape)
        values = bits.flatten(0, 1)[: staged.steps]
    return values.to(dtype).expand(staged.steps, *values.shape[1:]).contiguous()
