"""One process at a time writes a run's folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType

from neuroport.errors import UnusableFolder

try:
    import fcntl
except ImportError:  # on Windows nothing keeps two processes apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
LOCKS = Path("/proc/locks")  # where Linux says who holds one


class Claim:
    """Holds a run's folder for this process while ``with`` lasts, from ``take`` on.

    By a lock on an empty file, which the system lets go of when the process ends, however it does; the file is removed
    at the end. Empty: on a full disk there is no room for a word.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, int] | None = None

    def take(self, path: Path) -> None:
        """Claim an existing folder; once more does nothing. Raises UnusableFolder where another training writes there.

        A folder that cannot be written gets no lock: whoever wants to write there is told so by the first file.
        """
        if fcntl is None or self._held is not None:
            return
        lock = path / LOCK
        for kind in (os.O_RDONLY, os.O_RDWR):  # to read: a disk can be made read-only meanwhile; NFS asks for the other
            while (file := _opened(lock, kind)) is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    by = _holder(file)
                    os.close(file)
                    raise UnusableFolder(
                        f"another training writes to {path} at this moment{by}\n"
                        "  mend: wait until it ends, stop it, or choose another folder"
                    ) from None
                except OSError:
                    os.close(file)
                    break
                if _same(file, lock):
                    self._held = (lock, file)
                    return
                os.close(file)  # who held it has just removed it: once more

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        if self._held is None:
            return
        lock, file = self._held
        self._held = None
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(file)


def _opened(path: Path, kind: int) -> int | None:
    """A file as a descriptor, made where it is missing; None where that is not possible."""
    try:
        return os.open(path, kind | os.O_CREAT, 0o644)
    except OSError:
        return None


def _same(file: int, path: Path) -> bool:
    """Whether an open file is the one that stands at a path."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _holder(file: int) -> str:
    """Which process holds the lock on a file, in words; "" where the system does not say."""
    try:
        rows = [line.split() for line in LOCKS.read_text(encoding="ascii").splitlines()]
    except OSError:
        return ""
    inode = str(os.fstat(file).st_ino)
    # 1: FLOCK ADVISORY WRITE <process> <device>:<device>:<inode> 0 EOF
    found = [row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5].rpartition(":")[2] == inode]
    return f" (process {found[0]})" if found else ""
