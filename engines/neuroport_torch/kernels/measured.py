"""The fastest of several ways to do one thing, measured once on a machine and kept on disk.

Ways may differ in the last bits of a result, and a clock decides between them; so what was decided
stays decided. A choice is kept beside the generated sources under a name that holds all it depends on,
the first process to write it down is right, and a process that finds no place to keep one does not
measure at all: its caller has a rule for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

from neuroport_loops.load import folder

_chosen: dict[str, str] = {}
_turn = Lock()  # one measurement at a time: two would disturb each other


def fastest(what: Sequence[str], ways: Sequence[str], seconds: Callable[[str], float]) -> str | None:
    """One of ``ways``; None where nothing can be kept. what: all that the choice may depend on, in words.

    seconds: how long a way takes, asked only where no choice is known yet.
    """
    key = _key(*what, *ways)
    with _turn:
        if key not in _chosen:
            file = _file(key)
            if file is None:
                return None
            found = _read(file, ways)
            _chosen[key] = found if found is not None else _kept(file, min(ways, key=seconds), ways)
        return _chosen[key]


def known(what: Sequence[str], ways: Sequence[str]) -> str | None:
    """The choice if it has been made, without a measurement."""
    key = _key(*what, *ways)
    file = _file(key)
    return _chosen.get(key) or (None if file is None else _read(file, ways))


@cache
def processor() -> str:
    """The name of this machine's processor, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{os.uname().machine} of {os.uname().sysname}" if hasattr(os, "uname") else "unknown"


@cache
def _key(*words: str) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=12).hexdigest()


def _file(key: str) -> Path | None:
    place = folder()
    return None if place is None else place / f"choice_{key}.txt"


def _read(file: Path, ways: Sequence[str]) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        word = file.read_text("ascii").strip()
        return word if word in ways else None
    return None


def _kept(file: Path, way: str, ways: Sequence[str]) -> str:
    """The choice that stands on disk now: this one, or that of a process which was sooner."""
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(way + "\n", "ascii")
    try:
        os.link(draft, file)
    except FileExistsError:
        sooner = _read(file, ways)
        if sooner is not None:
            return sooner
        os.replace(draft, file)  # what stood there names no way
        return way
    except OSError:  # a file system without links
        os.replace(draft, file)
        return way
    finally:
        draft.unlink(missing_ok=True)
    return way
