"""Where staged data is kept on this machine, and how a file is written whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from neuroport.errors import UnusableFolder

VARIABLE = "NEUROPORT_CACHE"


def cache_folder() -> Path:
    """$NEUROPORT_CACHE, else ``neuroport`` in the user's cache folder of this platform. Made where it is missing,
    for the user alone. Raises UnusableFolder where that is not possible."""
    given = os.environ.get(VARIABLE)
    folder = Path(given).expanduser() if given else _platform_folder() / "neuroport"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFolder(
            f"staged data cannot be kept in {folder}: {error.strerror}\n"
            f"  mend: set {VARIABLE} to a folder that can be written, or switch it off with data.options.cache: false"
        ) from None
    return folder


def _platform_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content at once: a reader, or a crash, sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_note(path: Path, text: str) -> None:
    """Write a small file that spares work later, for the user alone; one that cannot be written is left out."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError:
        return
