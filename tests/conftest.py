"""No test writes into the user's own folders: what is compiled and staged is kept in ``.cache`` of this checkout.

It is kept from one run of the tests to the next, which spares the compiling. Tests of a cache set one of their own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache"

# now, before anything is imported that looks; the processes that tests start inherit it
os.environ |= {
    "NEUROPORT_CACHE": str(CACHE / "neuroport"),  # staged data, jax's programs
    "XDG_CACHE_HOME": str(CACHE),  # the sources of kernels and what numba makes of them
    "TRITON_CACHE_DIR": str(CACHE / "triton"),
    "MPLCONFIGDIR": str(CACHE / "matplotlib"),
}
# many tests start processes, which would compile every source anew where no bytecode is written
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
