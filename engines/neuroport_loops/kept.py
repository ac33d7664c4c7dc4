"""Functions that numba compiles once on a machine, for as long as what is compiled into them stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from neuroport_loops.load import folder, package


def kept(function: Callable[..., Any]) -> Any:
    """``numba.njit`` without the GIL, kept on disk where that can be.

    numba makes a function anew when its own file changes; what it calls from this package's other files is compiled
    into it, so it is made anew when one of them does, too.
    """
    # only Python and other functions of numba's call it, so it needs no entry for C: a tenth of the compiling
    made = njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, cache=folder() is not None)(function)
    file = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if file is not None:
        file._source_stamp = (file._source_stamp, package())
    return made
