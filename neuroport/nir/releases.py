"""Which release of nir wrote a file, as its ``/version`` says, and what changed in between.

1.0.6 changed what a spike does: until 1.0.5 the specification said v <- v - v_threshold, since then v <- v_reset, which
is 0 where a file does not give it. Releases 0.0.1 to 0.1 wrote no version at all.
"""

from __future__ import annotations

import re

WRITTEN = "1.0.8"  # what files of our own say: the release whose meaning they have
RESET_TO_VALUE = (1, 0, 6)  # its first development version has the change already

_LEADING = re.compile(r"v?(\d{1,9}(?:\.\d{1,9})*)(?!\d)")


def release(version: str) -> tuple[int, ...] | None:
    """``"1.0.6.dev3+g6189cac"`` as (1, 0, 6), always at least three numbers; None where it says no number."""
    found = _LEADING.match(version.strip())
    if found is None:
        return None
    numbers = tuple(int(part) for part in found[1].split("."))
    return numbers + (0,) * (3 - len(numbers))


def subtracts(version: str) -> bool | None:
    """Whether a spike subtracts the threshold, by the specification of that release; None where the file says none."""
    wrote = release(version)
    return None if wrote is None else wrote < RESET_TO_VALUE
