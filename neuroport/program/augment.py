"""Augmentation of a batch: the random numbers of ``model/augmentation.py``, on arrays of any kind.

Written in operators and indexing alone, so that NumPy and jax (uint32) and torch (int64, cut to 32
bits) draw the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.model.training import Training
from neuroport.program.noise import mix, of_samples, stream_of

Array = Any


@dataclass(frozen=True)
class Words:
    """Whole numbers of an engine: ``constant`` makes one of 32 bits, ``arange`` the first n of them."""

    constant: Callable[[int], Any]
    arange: Callable[[int], Array]


NUMPY = Words(np.uint32, lambda count: np.arange(count, dtype=np.uint32))


@dataclass(frozen=True)
class HashDraw:
    """``model.augmentation.Draw`` from the counter-based hash. keys: one of each sample, (B,) words."""

    words: Words
    keys: Array
    binary: bool

    def chance(self, like: Array, p: float) -> Array:
        drawn = self._values(like)
        return drawn < self.words.constant(int(p * 2**32)) if p < 1 else drawn == drawn

    def choice(self, like: Array, count: int) -> Array:
        return self._values(like) % self.words.constant(count)

    def move(self, x: Array, reach: int, axis: int) -> Array:
        if reach == 0:
            return x
        first = 0 if axis == 0 else axis + 1  # behind the batch
        turned = x.swapaxes(0, first) if first else x
        # may run below zero, which is beyond the end for words without a sign
        source = self._along(turned) + self.words.constant(reach) - self._of_sample(2 * reach + 1)[None, :]
        moved = _gathered(turned, source, (source >= self.words.constant(0)) & self._inside(source, len(turned)),
                          self.words.arange(turned.shape[1]))
        return moved.swapaxes(0, first) if first else moved

    def window(self, x: Array, steps: int) -> Array:
        if steps >= len(x):
            return x
        place = self._along(x)
        source = place + self._of_sample(len(x) - steps + 1)[None, :]
        return _gathered(x, source, self._inside(place, steps) & self._inside(source, len(x)),
                         self.words.arange(x.shape[1]))

    def _inside(self, place: Array, count: int) -> Array:
        return place < self.words.constant(count)

    def _along(self, x: Array) -> Array:
        return self.words.arange(len(x))[:, None]

    def _of_sample(self, count: int) -> Array:
        """A whole number below ``count`` for each sample, (B,)."""
        return mix(self.keys ^ self.words.constant(0x9E3779B9), self.words.constant) % self.words.constant(count)

    def _values(self, like: Array) -> Array:
        """32 bits for each value, (T, B, *shape)."""
        steps, batch, *shape = like.shape
        units = int(np.prod(shape))
        index = self.words.arange(steps * units).reshape(steps, 1, *shape)
        return mix(self.keys.reshape(1, batch, *(1 for _ in shape)) ^ index, self.words.constant)


def _gathered(x: Array, source: Array, valid: Array, samples: Array) -> Array:
    """x[source[i, b], b], and zero where it is not valid. source, valid: (M, B)."""
    found = x[ops.where(valid, source, source ^ source), samples[None, :]]
    shown = valid.reshape(*valid.shape, *(1 for _ in x.shape[2:]))
    return ops.where(shown, found, found * 0.0)


def augmented(
    training: Training, step: Step, words: Words, x: Array, partner: Array | None, binary: bool,
    seed: int, epoch: Array, samples: Array,
) -> Array:
    """A batch (T, B, *shape) with every augmentation of a training, in order.

    epoch: (1,), samples: (B,) identities in the whole data set, words of the engine. partner: (T, B, *shape).
    """
    for place, augmentation in enumerate(training.augmentation):
        stream = stream_of(f"augmentation {place}")
        draw = HashDraw(words, of_samples(stream, seed, epoch, samples, words.constant), binary)
        x = augmentation.apply(x, draw, step, partner)
    return x


def needs_partner(training: Training) -> bool:
    """Whether batches need other samples to mix with."""
    return any(augmentation.needs_partner for augmentation in training.augmentation)
