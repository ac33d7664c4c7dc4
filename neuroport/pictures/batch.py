"""One sample out of a batch of activity."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem


def of_sample(values: Any, sample: int, path: str) -> np.ndarray:
    """(T, *shape) of one sample out of (T, B, *shape). Raises InvalidData."""
    array = np.asarray(values)
    if array.ndim < 2 or array.dtype.kind not in "buif":
        wrong = f"is no activity (T, B, *shape) (got shape {array.shape} of {array.dtype})"
        raise InvalidData([Problem(path, wrong, "give the arrays as npt.run takes and returns them")])
    if not -array.shape[1] <= sample < array.shape[1]:
        wrong = f"there is no sample {sample}, {path} holds {array.shape[1]}"
        raise InvalidData([Problem("sample", wrong, f"give a number from 0 to {array.shape[1] - 1}")])
    return array[:, sample]
