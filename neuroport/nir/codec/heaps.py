"""HDF5's heaps of texts, looked through before HDF5 does: it runs forever on one in which an object takes no room.

A collection (HDF5 file format specification, III.E) is ``GCOL``, version 1, 3 bytes, its size; then objects: a number,
a count, 4 bytes, a size, and that many bytes up to a multiple of 8. Number 0 is the free rest, whose size holds its
own head. Texts anywhere in the file are reached only through these.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from neuroport.nir.codec.budget import refused

SIGNATURE, ALIGNED = b"GCOL\x01", 8


def check_heaps(path: Path, length_size: int) -> None:
    """length_size: bytes of a size in this file, as its superblock says. Raises InvalidData, OSError."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for place in _places(content):
            if not _ends(content, place, length_size):
                raise refused(f"byte {place}", "a heap of texts there is damaged", "fetch the file again")


def _places(content: mmap.mmap) -> Iterator[int]:
    place = content.find(SIGNATURE)
    while place >= 0:
        yield place
        place = content.find(SIGNATURE, place + 1)


def _ends(content: mmap.mmap, place: int, length_size: int) -> bool:
    """Whether the objects of a collection lead to its end, each further on than the one before."""
    head = _aligned(8 + length_size)
    size = int.from_bytes(content[place + 8 : place + 8 + length_size], "little")
    at, end = place + head, place + size
    if end > len(content):
        return False
    while at + head <= end:
        number = int.from_bytes(content[at : at + 2], "little")
        held = int.from_bytes(content[at + 8 : at + 8 + length_size], "little")
        room = head + _aligned(held) if number else held
        if room < head or at + room > end:
            return False
        at += room
    return True


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
