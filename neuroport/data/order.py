"""The order of samples: drawn here once, handed to every engine as arrays."""

from __future__ import annotations

import numpy as np


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of ``count`` samples for one epoch, (count,) int32.

    Sorted raw words of Philox keyed by (seed, epoch): unlike ``Generator.permutation``, no later
    NumPy can change it.
    """
    words = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int32)


def batches(samples: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples (N,) cut into batches: order (batches, B) int32 and mask (batches, B) float32.

    B is ``batch_size``, or N where there are fewer. The last batch is filled up with repetitions of
    its first sample, which the mask takes out (0).
    """
    size = min(batch_size, len(samples))
    rows = -(-len(samples) // size)
    padding = rows * size - len(samples)
    filler = np.full(padding, samples[(rows - 1) * size])
    order = np.concatenate([samples, filler]).astype(np.int32).reshape(rows, size)
    mask = np.concatenate([np.ones(len(samples)), np.zeros(padding)]).astype(np.float32).reshape(rows, size)
    return order, mask
