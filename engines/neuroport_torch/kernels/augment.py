"""Augmentation on the CPU: the numbers of ``program.augment.HashDraw``, drawn and used in as few passes as can be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from neuroport_loops.load import folder, load
from numba import njit

from neuroport.dynamics.discretize import Step
from neuroport.model.augmentation import Augmentation, NoiseSpikes, SpikeDropout, Thinning, TimeJitter
from neuroport.model.training import Training
from neuroport.program.augment import NUMPY, HashDraw, keyed
from neuroport.program.noise import WORD, mix
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import over

Tensor = torch.Tensor
Kernel = Callable[..., None]
STEPS, SAMPLES = 8, 8  # grains of work for a thread
KEPT = folder() is not None  # numba refuses to cache where it cannot write


def bits(key, number):
    """32 bits for the value of this number in a sample of this key, uint32."""
    return np.uint32(mix(key ^ np.uint32(number), np.uint32))


HASH = f"""\
from __future__ import annotations
import numpy as np
from numba import njit
WORD = {WORD}


@njit
{inspect.getsource(mix)}

@njit
{inspect.getsource(bits)}

"""


def with_hash(kernel: Kernel) -> Kernel:
    """A kernel compiled together with the text of ``noise.mix``: the hash is written there alone.

    What is kept on disk has a name that changes with either text; numba itself does not see that a function has
    changed which a kernel imports.
    """
    marked = '@njit(nogil=True, error_model="numpy", cache=True)'
    return load(HASH + inspect.getsource(kernel).replace("@with_hash", marked), kernel.__name__)


# keys: (B,) uint32. x, y: (T, B, M). limit: bits below it are drawn, 0 .. 2^32; limits: those of each sample, (B,)


@with_hash
def draw(keys, y, lo, hi):
    """Steps lo to hi of y, uint32: 32 bits for each value."""
    units = y.shape[2]
    for t in range(lo, hi):
        for b in range(y.shape[1]):
            row, key, first = y[t, b], keys[b], t * units
            for m in range(units):
                row[m] = bits(key, first + m)


@with_hash
def drop(x, keys, limits, y, lo, hi):
    """Steps lo to hi of y: x, but zero where drawn."""
    units = y.shape[2]
    for t in range(lo, hi):
        for b in range(y.shape[1]):
            source, into, key, first, limit = x[t, b], y[t, b], keys[b], t * units, limits[b]
            for m in range(units):
                value = source[m]
                into[m] = value * 0 if bits(key, first + m) < limit else value


@with_hash
def add(x, keys, limit, y, lo, hi):
    """Steps lo to hi of y: x, and one more where drawn."""
    units = y.shape[2]
    for t in range(lo, hi):
        for b in range(y.shape[1]):
            source, into, key, first = x[t, b], y[t, b], keys[b], t * units
            for m in range(units):
                value = source[m]
                into[m] = value + 1 if bits(key, first + m) < limit else value


@with_hash
def scatter(x, keys, reach, y, lo, hi):
    """Samples lo to hi of y: each value of x on its own moved by up to ``reach`` steps."""
    units, count = x.shape[2], np.uint32(2 * reach + 1)
    for b in range(lo, hi):
        y[:, b] = 0
        for t in range(len(x) - 1, -1, -1):  # the latest first: sums in the order of ``HashDraw``
            row = x[t, b]
            for m in range(units):
                if row[m] != 0:
                    into = t + np.int64(bits(keys[b], t * units + m) % count) - reach
                    if 0 <= into < len(x):
                        y[into, b, m] += row[m]


@njit(nogil=True, error_model="numpy", cache=KEPT)
def take_at(x, source, y, lo, hi):
    """Steps lo to hi of y: the steps ``source`` (T, B) of x, none below zero; else zeros."""
    for t in range(lo, hi):
        for b in range(x.shape[1]):
            into = y[t, b]
            if source[t, b] < len(x):
                row = x[source[t, b], b]
                for m in range(len(into)):
                    into[m] = row[m]
            else:
                into[:] = 0


@njit(nogil=True, error_model="numpy", cache=KEPT)
def take_steps(x, first, count, y, lo, hi):
    """Steps lo to hi of y: steps of x from first (B,) on, ``count`` of them; else zeros."""
    for t in range(lo, hi):
        for b in range(x.shape[1]):
            place, into = t + first[b], y[t, b]
            if t < count and 0 <= place < len(x):
                source = x[place, b]
                for m in range(len(into)):  # numba's own assignment of slices takes four times as long
                    into[m] = source[m]
            else:
                into[:] = 0


@njit(nogil=True, error_model="numpy", cache=KEPT)
def take_places(x, first, count, y, lo, hi):
    """Steps lo to hi of y (T, B, Q, M): ``count`` places of x (T, B, Q, M) from first (B,) on; else zeros."""
    places = x.shape[3]
    for t in range(lo, hi):
        for b in range(x.shape[1]):
            start = min(max(0, -first[b]), places)  # what lies before belongs to no place of x
            stop = max(start, min(count, places - first[b]))
            for q in range(x.shape[2]):
                source, into = x[t, b, q, start + first[b] : stop + first[b]], y[t, b, q]
                inside = into[start:stop]
                into[:start] = 0
                for m in range(len(inside)):
                    inside[m] = source[m]
                into[stop:] = 0


@dataclass(frozen=True)
class KernelDraw(HashDraw):
    """``HashDraw`` for tensors (T, B, *shape) on the CPU; words and keys are NumPy's."""

    arena: Arena = field(default_factory=Arena)

    def chance(self, like: Tensor, p: float) -> Tensor:
        return torch.from_numpy(super().chance(like, p))

    def own_chance(self, like: Tensor, most: float) -> Tensor:
        return torch.from_numpy(super().own_chance(like, most))

    def choice(self, like: Tensor, count: int) -> Tensor:
        drawn, divisor = self._values(like), self.words.constant(count)
        # a remainder: NumPy divides many at a time by one number, and takes remainders one by one
        return torch.from_numpy((drawn - drawn // divisor * divisor).view(np.int32))

    def drop(self, x: Tensor, p: float) -> Tensor:
        """``SpikeDropout`` in one pass."""
        return self._dropped(x, np.full(len(self.keys), limit(p)))

    def thin(self, x: Tensor, most: float) -> Tensor:
        """``Thinning`` in one pass."""
        return self._dropped(x, self._limits(most).astype(np.uint64))

    def _dropped(self, x: Tensor, limits: np.ndarray) -> Tensor:
        return self._into(x, 0, STEPS, lambda x, y, lo, hi: drop(x, self.keys, limits, y, lo, hi))

    def add(self, x: Tensor, p: float) -> Tensor:
        """``NoiseSpikes`` in one pass, p to a value."""
        y = self._into(x, 0, STEPS, lambda x, y, lo, hi: add(x, self.keys, limit(p), y, lo, hi))
        return y.clamp_(max=1) if self.binary else y

    def scatter(self, x: Tensor, reach: int) -> Tensor:
        """In one pass: nothing is drawn for what is zero."""
        if reach == 0:
            return x
        return self._into(x, 1, SAMPLES, lambda x, y, lo, hi: scatter(x, self.keys, reach, y, lo, hi))

    def jitter(self, x: Tensor, reach: int) -> Tensor:
        """``TimeJitter`` by ``reach`` steps."""
        y = self.scatter(x, reach)
        return y.clamp_(max=1) if self.binary and reach else y

    def _values(self, like: Tensor) -> np.ndarray:
        drawn = np.empty((*like.shape[:2], prod(like.shape[2:])), np.uint32)
        over(len(drawn), STEPS, lambda lo, hi: draw(self.keys, drawn, lo, hi))
        return drawn.reshape(like.shape)

    def _at(self, x: Tensor, source: np.ndarray) -> Tensor:
        return self._into(x, 0, STEPS, lambda x, y, lo, hi: take_at(x, source, y, lo, hi))

    def _taken(self, x: Tensor, first: np.ndarray, count: int, axis: int) -> Tensor:
        start = first.view(np.int32).astype(np.int64)
        if axis == 0:
            return self._into(x, 0, STEPS, lambda x, y, lo, hi: take_steps(x, start, count, y, lo, hi))
        *outer, _ = x.shape[: axis + 2]
        size = prod(x.shape[axis + 2 :])  # values that move together
        return self._into(x, 0, STEPS, lambda x, y, lo, hi: take_places(
            x, start * size, count * size, y, lo, hi), (*outer[:2], prod(outer[2:]), -1))

    def _into(
        self, x: Tensor, axis: int, grain: int, kernel: Kernel, shape: tuple[int, ...] | None = None
    ) -> Tensor:
        """``kernel(x, y, lo, hi)`` over ranges of an axis; x and y seen as (T, B, M), or in another shape."""
        y = self.arena.empty(tuple(x.shape), x.dtype, x.device)
        shape = (*x.shape[:2], prod(x.shape[2:])) if shape is None else shape
        source, into = (tensor.view(shape).numpy() for tensor in (x.contiguous(), y))
        over(x.shape[axis], grain, lambda lo, hi: kernel(source, into, lo, hi))
        return y


def limit(p: float) -> np.uint64:
    """How many of the 2^32 values of 32 bits are drawn with probability ``p``."""
    return np.uint64(int(p * 2**32))


# augmentations whose formulas take many passes, and what does each in one
FUSED: dict[type[Augmentation], Callable[[Any, Tensor, KernelDraw, Step], Tensor]] = {
    SpikeDropout: lambda own, x, draw, step: draw.drop(x, own.p),
    Thinning: lambda own, x, draw, step: draw.thin(x, own.most),
    NoiseSpikes: lambda own, x, draw, step: draw.add(x, min(step.expected(own.rate), 1.0)),
    TimeJitter: lambda own, x, draw, step: draw.jitter(x, step.steps(own.reach)),
}


def augmented(
    training: Training, step: Step, x: Tensor, partner: Tensor | None, binary: bool, seed: int, epoch: int,
    samples: Tensor, arena: Arena,
) -> Tensor:
    """``program.augment.augmented`` for a batch (T, B, *shape) on the CPU. samples: identities (B,)."""
    now, named = np.array([epoch], np.uint32), samples.numpy().astype(np.uint32)
    for augmentation, keys in keyed(training, NUMPY, seed, now, named):
        draw, fused = KernelDraw(NUMPY, keys, binary, arena), FUSED.get(type(augmentation))
        x = fused(augmentation, x, draw, step) if fused else augmentation.apply(x, draw, step, partner)
    return x
