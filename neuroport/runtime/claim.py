"""One process at a time writes a run's folder."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from neuroport.errors import UnusableFolder

try:
    import fcntl
except ImportError:  # on Windows nothing keeps two processes apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


class Claim:
    """Holds a run's folder for this process while ``with`` lasts, from ``take`` on.

    By a lock that the system lets go of when the process ends, however it does; the file is removed at the end.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, IO[bytes]] | None = None

    def take(self, path: Path) -> None:
        """Claim an existing folder; once more does nothing. Raises UnusableFolder where another training writes there.

        A folder that cannot be written gets no lock: whoever wants to write there is told so by the first file.
        """
        if fcntl is None or self._held is not None:
            return
        lock = path / LOCK
        while True:
            try:
                file = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            except OSError:
                return
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with file:
                    by = file.read(200).decode(errors="replace").strip()
                raise UnusableFolder(
                    f"another training writes to {path} at this moment ({by or 'it begins'})\n"
                    "  mend: wait until it ends, stop it, or choose another folder"
                ) from None
            if _same(file, lock):  # else the one who held it has just removed it
                break
            file.close()
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        file.flush()
        self._held = (lock, file)

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
        file.close()


def _same(file: IO[Any], path: Path) -> bool:
    """Whether an open file is the one that stands at a path."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(file.fileno())
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
