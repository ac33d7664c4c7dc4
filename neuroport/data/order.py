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


def batches(samples: np.ndarray, batch_size: int, multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Samples (N,) cut into batches: order (batches, B) int32 and mask (batches, B) float32.

    B is ``batch_size``, or N where there are fewer. The last batch is filled up with repetitions of
    its first sample, which the mask takes out (0); whole batches of them follow until the number of
    batches is a multiple of ``multiple``.
    """
    size = min(batch_size, len(samples))
    filled = -(-len(samples) // size)
    rows = -(-filled // multiple) * multiple
    padding = rows * size - len(samples)
    filler = np.full(padding, samples[(filled - 1) * size])
    order = np.concatenate([samples, filler]).astype(np.int32).reshape(rows, size)
    mask = np.concatenate([np.ones(len(samples)), np.zeros(padding)]).astype(np.float32).reshape(rows, size)
    return order, mask


def epoch_partners(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """For each sample another one of its class, (N,) int32, drawn for one epoch; itself where it is alone.

    labels: class indices (N,). The samples of a class stand in a ring, in a drawn order: each one's
    partner is the next.
    """
    # a stream of its own beside the order's: the high word of the key tells them apart
    words = np.random.Philox(key=np.array([seed | 1 << 32, epoch], dtype=np.uint64)).random_raw(len(labels))
    ring = np.lexsort((words, labels))
    last = np.flatnonzero(np.diff(labels[ring], append=labels.max() + 1))  # of each class
    following = np.roll(ring, -1)
    following[last] = ring[np.concatenate([[0], last[:-1] + 1])]
    partners = np.empty(len(labels), np.int32)
    partners[ring] = following
    return partners
