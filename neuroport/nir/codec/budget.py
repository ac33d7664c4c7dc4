"""What is left of the limits while a file is read, and the errors that name a place in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuroport.errors import InvalidData, Problem
from neuroport.nir.codec.limits import Limits

# what h5py raises where a file is not as HDF5 has it
DAMAGED = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError)


class Budget:
    """What is left of the limits while a file is read. Each way of spending raises InvalidData when they are met."""

    def __init__(self, limits: Limits, path: Path, address_size: int):
        self.limits, self.path, self.file_size = limits, path, path.stat().st_size
        self.address_size = address_size  # bytes of an address in this file
        self.bytes, self.items = limits.bytes, limits.items

    def spend_bytes(self, count: int, path: str) -> None:
        if count > self.bytes:
            wrong = f"declares {count:,} bytes, {self.bytes:,} are left of {self.limits.bytes:,} in all"
            raise refused(path, wrong, trusted("bytes", count + self.limits.bytes))
        self.bytes -= count

    def spend_items(self, count: int, path: str) -> None:
        if count > self.items:
            wrong = f"holds {count:,} items, {self.items:,} are left of {self.limits.items:,} in all"
            raise refused(path, wrong, trusted("items", count + self.limits.items))
        self.items -= count


def trusted(limit: str, enough: int) -> str:
    """The mend where a limit is met."""
    power = 1 << max(enough - 1, 1).bit_length()
    return f"where you trust the file: npt.nir.load(path, limits=npt.nir.Limits({limit}={power}))"


def refused(path: str, wrong: str, mend: str = "") -> InvalidData:
    """The error for one place of a file."""
    return InvalidData([Problem(path, wrong, mend)], "NIR file")


def damaged(path: str, error: Exception) -> InvalidData:
    words = " ".join(str(error).split()) or type(error).__name__
    return refused(path, f"cannot be read: {words:.200}", "fetch the file again, or export it again: it is damaged")


def decoded(value: Any, path: str) -> str:
    try:
        return value if isinstance(value, str) else bytes(value or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise refused(path, "is no UTF-8 text", "write it again as UTF-8") from None
