"""Where staged data is kept on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
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


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that others see all of it or nothing. A note that cannot be written is left out."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        return
