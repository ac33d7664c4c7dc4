"""What the version of nir that wrote a file says about it."""

from __future__ import annotations

import re

HARD_RESET = (1, 0, 6)  # the first whose specification resets to v_reset; up to 1.0.5 it was v - v_threshold


def parsed(version: str) -> tuple[int, ...]:
    """The numbers of a version, () where it has none: "1.0.6.dev3" is (1, 0, 6)."""
    found = re.match(r"\s*v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def resets_to_v_reset(version: str) -> bool:
    """Whether a spike resets to v_reset in files of this version; False also where the version is not known."""
    return parsed(version) >= HARD_RESET
