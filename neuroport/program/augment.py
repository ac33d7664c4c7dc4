"""Augmentation of a batch: the random numbers of ``model/augmentation.py``, on arrays of any kind.

Written in operators and indexing alone, so that NumPy and jax (uint32) and torch (int64, cut to 32
bits) draw the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.errors import InvalidData, Problem
from neuroport.model.augmentation import Augmentation
from neuroport.model.training import Training
from neuroport.program.noise import mix, of_samples, stream_of

Array = Any


@dataclass(frozen=True)
class Words:
    """Whole numbers of an engine: ``constant`` makes one of 32 bits, ``arange`` the first n of them."""

    constant: Callable[[int], Any]
    arange: Callable[[int], Array]


PACE = 256  # the pace of a sample as it is; a step in 2^32 / 1024 is the last that 32 bits place at four times that
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

    def own_chance(self, like: Array, most: float) -> Array:
        return self._values(like) < self._limits(most).reshape(1, -1, *(1 for _ in like.shape[2:]))

    def choice(self, like: Array, count: int) -> Array:
        return self._values(like) % self.words.constant(count)

    def move(self, x: Array, reach: int, axis: int) -> Array:
        if reach == 0:
            return x
        # may be below zero, which is beyond any end for words without a sign
        first = self.words.constant(reach) - self._of_sample(2 * reach + 1)
        return self._taken(x, first, x.shape[axis and axis + 1], axis)

    def scatter(self, x: Array, reach: int) -> Array:
        if reach == 0:
            return x
        places = self.choice(x, 2 * reach + 1)
        moved = [ops.shift(ops.where(places == place, x, x * 0.0), place - reach) for place in range(2 * reach + 1)]
        total = moved[0]
        for part in moved[1:]:
            total = total + part
        return total

    def stretch(self, x: Array, most: float) -> Array:
        slowest, fastest = round(PACE / most), round(PACE * most)
        pace = self._of_sample(fastest - slowest + 1) + self.words.constant(slowest)
        twice = self._along(x) * self.words.constant(2) + self.words.constant(1)  # the middle of each step
        return self._at(x, twice * pace[None, :] // self.words.constant(2 * PACE))

    def window(self, x: Array, steps: int) -> Array:
        return x if steps >= len(x) else self._taken(x, self._of_sample(len(x) - steps + 1), steps, 0)

    def _limits(self, most: float) -> Array:
        """Bits below this are drawn, for each sample, (B,): from none to a share ``most`` of them."""
        return self._of_sample(2**16) * self.words.constant(int(most * 2**16))

    def _taken(self, x: Array, first: Array, count: int, axis: int) -> Array:
        """Of each sample ``count`` places along an axis, from its own ``first`` (B,) on; zeros where x has none,
        and behind them. axis: as in ``move``."""
        place = axis and axis + 1  # behind the batch
        turned = x.swapaxes(0, place) if place else x
        source = self._along(turned) + first[None, :]
        inside = self._inside(self._along(turned), count) & self._inside(source, len(turned))
        taken = _gathered(turned, source, inside & (source >= self.words.constant(0)),
                          self.words.arange(turned.shape[1]))
        return taken.swapaxes(0, place) if place else taken

    def _at(self, x: Array, source: Array) -> Array:
        """Of each sample the steps ``source`` (T, B), not below zero; zeros where x has none."""
        return _gathered(x, source, self._inside(source, len(x)), self.words.arange(x.shape[1]))

    def _inside(self, place: Array, count: int) -> Array:
        return place < self.words.constant(count)

    def _along(self, x: Array) -> Array:
        return self.words.arange(len(x))[:, None]

    def _of_sample(self, count: int) -> Array:
        """A whole number below ``count`` for each sample, (B,)."""
        return mix(self.keys ^ self.words.constant(0x9E3779B9), self.words.constant) % self.words.constant(count)

    def _values(self, like: Array) -> Array:
        """32 bits for each value, (T, B, *shape)."""
        return self._hashed(self._index(like))

    def _index(self, like: Array) -> Array:
        """The number of each value in its sample, (T, 1, *shape)."""
        steps, _, *shape = like.shape
        return self.words.arange(steps * int(np.prod(shape))).reshape(steps, 1, *shape)

    def _hashed(self, index: Array) -> Array:
        """32 bits for the values of some steps, (steps, B, *shape), from their numbers (steps, 1, *shape)."""
        return mix(self.keys.reshape(1, -1, *(1 for _ in index.shape[2:])) ^ index, self.words.constant)


def _gathered(x: Array, source: Array, valid: Array, samples: Array) -> Array:
    """x[source[i, b], b], and zero where it is not valid. source, valid: (M, B)."""
    found = x[ops.where(valid, source, source ^ source), samples[None, :]]
    shown = valid.reshape(*valid.shape, *(1 for _ in x.shape[2:]))
    return ops.where(shown, found, 0.0)


def keyed(
    training: Training, words: Words, seed: int, epoch: Array, samples: Array
) -> Iterator[tuple[Augmentation, Array]]:
    """Every augmentation of a training, in order, with the keys of its draws, (B,).

    epoch: (1,), samples: (B,) identities in the whole data set, words of the engine.
    """
    for place, augmentation in enumerate(training.augmentation):
        stream = stream_of(f"augmentation {place}")
        yield augmentation, of_samples(stream, seed, epoch, samples, words.constant)


def augmented(
    training: Training, step: Step, words: Words, x: Array, partner: Array | None, binary: bool,
    seed: int, epoch: Array, samples: Array, draw: type[HashDraw] = HashDraw,
) -> Array:
    """A batch (T, B, *shape) with every augmentation of a training, in order. epoch, samples: as ``keyed`` takes them.

    partner: (T, B, *shape). draw: an engine's own, of equal numbers.
    """
    for augmentation, keys in keyed(training, words, seed, epoch, samples):
        x = augmentation.apply(x, draw(words, keys, binary), step, partner)
    return x


def partners_of(training: Training, partners: np.ndarray | None) -> np.ndarray | None:
    """The partners of a run of batches where an augmentation mixes, else None. Raises InvalidData where they lack."""
    if not needs_partner(training):
        return None
    if partners is None:
        raise InvalidData([Problem("partners", "are missing, an augmentation mixes samples", "give (batches, B) rows")])
    return partners


def needs_partner(training: Training) -> bool:
    """Whether batches need other samples to mix with."""
    return any(augmentation.needs_partner for augmentation in training.augmentation)
