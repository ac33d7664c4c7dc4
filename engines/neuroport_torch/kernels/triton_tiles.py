"""How a kernel's lanes are cut up: a small table, of which the fastest is measured once and kept.

Lanes do not meet, so a tile changes the speed of a kernel and not a bit of its results. What was measured is kept
by the kernel's text, the device and the size (``measured.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import triton

from neuroport_torch.kernels.measured import fastest, known


class Tile(NamedTuple):
    """Lanes of a program, its warps, and steps whose inputs are under way at once."""

    block: int
    warps: int
    ahead: int


# few, since each is compiled before it is measured: small ones spread few lanes over the device, large ones load
# several numbers a thread at once
TABLE = (Tile(64, 2, 4), Tile(128, 4, 4), Tile(256, 4, 4), Tile(512, 4, 4), Tile(256, 4, 1))
USUAL = Tile(128, 4, 4)  # where nothing can be measured: within the capture of a graph
INTERPRETED = Tile(32, 4, 1)


def on(device: torch.device) -> AbstractContextManager[object]:
    """Kernels are launched on the current device: make it this one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def tile_for(source: str, device: torch.device, lanes: int, launch: Callable[[Tile], None]) -> Tile:
    """The tile for a kernel on about so many lanes. launch: runs the kernel, to the same results each time."""
    if device.type != "cuda":
        return INTERPRETED
    what = ("tile", source, torch.cuda.get_device_name(device), str(lanes.bit_length()), triton.__version__)
    tiles = {_text(tile): tile for tile in TABLE}

    def seconds(name: str) -> float:
        return float(triton.testing.do_bench(
            lambda: launch(tiles[name]), warmup=5, rep=20, return_mode="median"))

    capturing = torch.cuda.is_current_stream_capturing()
    found = known(what, tuple(tiles)) if capturing else fastest(what, tuple(tiles), seconds)
    return USUAL if found is None else tiles[found]


def _text(tile: Tile) -> str:
    return " ".join(map(str, tile))
