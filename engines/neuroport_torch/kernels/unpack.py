"""Packed samples as activity over time, in one pass."""

from __future__ import annotations

import numpy as np
from neuroport_loops.kept import kept
from neuroport_loops.lanes import lowest


@kept
def unpack_bits(values, samples, x, lo, hi):
    """Steps lo to hi of x (T, B, M), from bits along time: values (N, T / 8, M) uint8, samples (B,)."""
    for t in range(lo, hi):
        place = t & 7
        for b in range(x.shape[1]):
            source, into = values[samples[b], t >> 3], x[t, b]
            for m in range(x.shape[2]):
                into[m] = (source[m] >> place) & 1


@kept
def mark_bits(values, samples, lo, hi, bits):
    """Steps 8 lo to 8 hi of the same activity as marks: bits (T * B, words of 64)."""
    batch, one = len(samples), np.uint64(1)
    last = len(bits) // batch
    for block in range(lo, hi):
        steps = min(8, last - 8 * block)
        bits[8 * block * batch : (8 * block + steps) * batch] = 0
        for b in range(batch):
            source = values[samples[b], block]
            for k in range(len(source)):
                byte = np.uint64(source[k])
                while byte:
                    step = lowest(byte)
                    byte &= byte - one
                    if step < steps:
                        bits[(8 * block + step) * batch + b, k >> 6] |= one << np.uint64(k & 63)
