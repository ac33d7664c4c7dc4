"""Calls of numba's functions within XLA programs: see ``native.py``."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from neuroport_jax.native import Call

Array = jax.Array
Outline = jax.ShapeDtypeStruct

MOST = 2**31 - 1  # the largest number that a call can be given


def call(
    how: Call, total: int, read: Mapping[str, Array], made: Mapping[str, Outline], updated: Mapping[str, Array],
) -> dict[str, Array]:
    """Run a function on ranges that cover 0 .. total; gives ``made`` and ``updated`` by name.

    read: what it reads. made: what it fills. updated: what it reads and overwrites. All of it by the names of
    ``how.arrays``.
    """
    from neuroport_jax.native_adapter import registered

    leading = [value for value in how.leading if isinstance(value, int)]
    numbers = np.array([total, how.grain, *leading], np.int64)
    if numbers.max() > MOST:
        raise ValueError(f"{how.name}: {numbers.max()} is more than a call can be given, {MOST}")
    given = {**read, **updated}
    places = {name: ("argument", index + 1) for index, name in enumerate(read)}
    places |= {name: ("result", index) for index, name in enumerate([*made, *updated])}
    outlines = {**given, **made}
    kinds = tuple((*places[name], outlines[name].ndim, np.dtype(outlines[name].dtype).name) for name in how.arrays)
    target = registered(how, kinds)
    found = jax.ffi.ffi_call(
        target, [*made.values(), *(Outline(value.shape, value.dtype) for value in updated.values())],
        input_output_aliases={1 + len(read) + index: len(made) + index for index in range(len(updated))},
        vmap_method="sequential",
    )(jnp.asarray(numbers, jnp.int32), *given.values())
    return dict(zip([*made, *updated], found, strict=True))
