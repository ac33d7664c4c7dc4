"""Noise as a function: one counter-based integer hash of (seed, epoch, stream, sample, index).

Written in operators, so that NumPy and jax (uint32) and torch (int64, cut to 32 bits) draw the same
bits. The finalizer is lowbias32 (Chris Wellons, hash-prospector, public domain).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
WORD = 0xFFFFFFFF


def stream_of(name: str) -> int:
    """A node's own stream, 32 bits."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def mix(x: Array, word: Callable[[int], Any] = int) -> Array:
    """32 bits in, 32 well-mixed bits out; ``word`` makes a constant of the kind of ``x``."""
    cut = word(WORD)
    x = x ^ (x >> word(16))
    x = (x * word(0x7FEB352D)) & cut
    x = x ^ (x >> word(15))
    x = (x * word(0x846CA68B)) & cut
    return x ^ (x >> word(16))


def of_samples(
    stream: int, seed: int, epoch: Array, samples: Array, word: Callable[[int], Any] = np.uint32
) -> Array:
    """A key for each sample, (B,): what one stream draws for it in one epoch is hashed from this.

    epoch: (1,), samples: (B,), arrays of 32-bit words in one integer type whose constants ``word``
    makes. stream and seed: numbers.
    """
    h = mix(mix(seed & WORD) ^ stream)
    return mix(samples ^ mix(epoch ^ word(h), word), word)


def keep(
    stream: int, seed: int, epoch: Array, samples: Array, units: Array, p: float,
    word: Callable[[int], Any] = np.uint32,
) -> Array:
    """Which units dropout keeps, (B, N) bool: each with probability 1 - p. units: (N,) words."""
    keys = of_samples(stream, seed, epoch, samples, word)
    return mix(keys[:, None] ^ units[None, :], word) >= word(int(p * 2**32))
