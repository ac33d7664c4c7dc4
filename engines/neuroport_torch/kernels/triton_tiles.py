"""How a kernel's lanes are cut up: a small table, and a rule that measures it once and keeps what it found.

Lanes do not meet, so a tile changes the speed of a kernel and not a bit of its results. What was measured is kept
beside the generated sources, by the kernel's text, the device and the size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import triton

from neuroport_torch.kernels.load import folder


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

_chosen: dict[str, Tile] = {}


def on(device: torch.device) -> AbstractContextManager[object]:
    """Kernels are launched on the current device: make it this one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def tile_for(source: str, device: torch.device, lanes: int, launch: Callable[[Tile], None]) -> Tile:
    """The tile for a kernel on about so many lanes. launch: runs the kernel, to the same results each time."""
    if device.type != "cuda":
        return INTERPRETED
    key = _key(source, torch.cuda.get_device_name(device), lanes.bit_length())
    if key not in _chosen:
        found = _read(key)
        if found is None and torch.cuda.is_current_stream_capturing():
            return USUAL
        _chosen[key] = _measured(key, launch) if found is None else found
    return _chosen[key]


@cache
def _key(source: str, device: str, size: int) -> str:
    text = "\n".join((source, device, str(size), triton.__version__, str(TABLE)))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _file(key: str) -> Path | None:
    place = folder()
    return None if place is None else place / f"tile_{key}.txt"


def _read(key: str) -> Tile | None:
    file = _file(key)
    if file is None or not file.exists():
        return None
    words = file.read_text("ascii")
    return next((tile for tile in TABLE if _text(tile) == words), None)


def _text(tile: Tile) -> str:
    return " ".join(map(str, tile)) + "\n"


def _measured(key: str, launch: Callable[[Tile], None]) -> Tile:
    """The fastest tile of the table, written down."""
    times = {tile: triton.testing.do_bench(lambda tile=tile: launch(tile), warmup=5, rep=20, return_mode="median")
             for tile in TABLE}
    fastest = min(times, key=lambda tile: times[tile])
    file = _file(key)
    if file is not None:
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(_text(fastest), "ascii")
        os.replace(draft, file)
    return fastest
