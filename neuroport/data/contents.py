"""What source files hold, as a checksum that is taken again only where a file may have changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from neuroport.data.disk import cache_folder, write_note

BLOCK = 1 << 20
RACY = 2.0  # seconds: coarser than the clock of any file system in use


def contents(files: Mapping[str, Path]) -> str:
    """A name for what files hold, whatever their folder: of each its name here, its size and its crc32.

    What was read once is noted in the cache folder, with each file's size, device, inode and times of change. As
    long as none of these has changed the note is believed, so that a large set is not read again at every start.
    The times are the modification's and the inode's own (ctime), which no program can set back. A file that was
    written in the two seconds before it was read is not noted: a second write within the clock's grain would go
    unseen.
    """
    names = sorted(files)
    paths = [files[name] for name in names]
    seen = [_seen(path) for path in paths]
    note = cache_folder() / "contents" / f"{_digest([(name, os.path.abspath(files[name])) for name in names])}.json"
    known = _noted(note, seen)
    if known is not None:
        return known
    read_at = time.time()
    with ThreadPoolExecutor(2) as pool:  # zlib lets go of the interpreter's lock
        sums = list(pool.map(checksum, paths))
    name = _digest([[name, stat[0], crc] for name, stat, crc in zip(names, seen, sums, strict=True)])
    settled = all(max(changed) / 1e9 < read_at - RACY for _, changed, _ in seen)
    if settled and seen == [_seen(path) for path in paths]:
        write_note(note, json.dumps({"seen": _digest(seen), "contents": name}))
    return name


def checksum(path: Path) -> int:
    """crc32 of a file, read a block at a time."""
    crc = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc


Seen = tuple[int, tuple[int, int], tuple[int, int]]


def _seen(path: Path) -> Seen:
    """Size; times of change of the content and of the inode, ns; which inode it is."""
    stat = os.stat(path)
    return stat.st_size, (stat.st_mtime_ns, stat.st_ctime_ns), (stat.st_dev, stat.st_ino)


def _noted(note: Path, seen: Sequence[Seen]) -> str | None:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        return str(found["contents"]) if found["seen"] == _digest(seen) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(data: object) -> str:
    return hashlib.blake2b(json.dumps(data).encode(), digest_size=16).hexdigest()
