"""Staged arrays on disk, memory-mapped: written whole or not at all, checked when they are opened.

An entry is a folder ``staged/NAME-KEY`` of .npy files and ``header.json``, which holds the format's version, the
key, a checksum of every block of every file, and of itself. An entry that is damaged, incomplete or of another
version is never read: it is moved away and built again. It is built in a folder of its own and renamed when it is
whole, so that of several processes one wins and all others use what it wrote.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from neuroport.data.disk import VARIABLE, cache_folder
from neuroport.errors import NotWritten, UnusableFolder

try:
    import fcntl
except ImportError:  # on Windows: unfinished entries go when they are old
    fcntl = None  # type: ignore[assignment]

FORMAT = 2  # of the entries and of what staging makes: raised when either changes
HEADER, LOCK = "header.json", "lock"
BLOCK = 1 << 24  # bytes under one checksum
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ABANDONED = 7 * 24 * 3600.0  # seconds after which an unfinished entry is nobody's


class Column(Protocol):
    """An array that grows by rows, up to the length it was opened with."""

    def append(self, rows: np.ndarray) -> None: ...


class Sink(Protocol):
    """Where staged arrays go: memory, or an entry of the cache."""

    def column(self, name: str, shape: tuple[int, ...], dtype: Any) -> Column: ...


@dataclass
class Memory:
    """Arrays in memory."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def column(self, name: str, shape: tuple[int, ...], dtype: Any) -> Column:
        self.arrays[name] = np.empty(shape, dtype)
        return _MemoryColumn(self.arrays[name])


@dataclass
class _MemoryColumn:
    array: np.ndarray
    done: int = 0

    def append(self, rows: np.ndarray) -> None:
        self.array[self.done:self.done + len(rows)] = rows
        self.done += len(rows)


@dataclass(frozen=True)
class Entry:
    """A checked entry: its arrays, memory-mapped (copy on write: no change reaches the file), and what was noted."""

    path: Path
    arrays: dict[str, np.ndarray]
    notes: dict[str, Any]


class Damaged(Exception):
    """Why an entry cannot be read."""


def key_of(described: Mapping[str, Any]) -> str:
    """The key of what is described: everything that decides the content of an entry, as plain data."""
    text = json.dumps({"format": FORMAT, **described}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def place_of(name: str, key: str) -> Path:
    """Where an entry is, or would be."""
    return cache_folder() / "staged" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)[:60]}-{key}"


def find(name: str, key: str) -> Entry | None:
    """The entry, checked; None where there is none that is whole. A damaged one is said on standard error."""
    path = place_of(name, key)
    try:
        return opened(path, key)
    except Damaged as damage:
        print(f"neuroport: {path} is damaged ({damage}) and is built again", file=sys.stderr)
        return None


def opened(path: Path, key: str) -> Entry | None:
    """The entry at a path; None where there is none. Raises Damaged."""
    if not path.is_dir():
        return None
    header = _header(path)
    if header.get("format") != FORMAT:
        raise Damaged(f"format {header.get('format')}, this neuroport reads {FORMAT}")
    if header.get("key") != key:
        raise Damaged("its header belongs to another entry")
    try:
        columns = {name: _Written(**described) for name, described in header["arrays"].items()}
        notes = header["notes"]
    except (KeyError, TypeError, AttributeError):
        raise Damaged("the header lacks parts") from None
    return Entry(path, {name: _mapped(path / column.file, column) for name, column in columns.items()}, notes)


def build(name: str, key: str, needed: int, write: Callable[[Sink], None], note: Callable[[Entry], dict[str, Any]]) -> (
        Entry):
    """Write an entry and open it.

    needed: bytes, about. write: fills the arrays. note: what to keep beside them, from the arrays as written.
    Raises NotWritten where the disk fills up, UnusableFolder where nothing can be written; nothing half-written
    stays, nor where ``write`` raises.
    """
    path = place_of(name, key)
    explained = _Explained(path.parent, needed)
    building = path.parent / f".building-{os.urandom(8).hex()}"
    try:
        with explained:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(path.parent)
            building.mkdir(mode=0o700)
            lock = _Lock(building)
        with lock, _Folder(building, explained) as sink:
            with explained:
                _check_space(building, needed)
            write(sink)
            columns = sink.written()
            arrays = {name: _memmap(building / column.file) for name, column in columns.items()}
            notes = note(Entry(building, arrays, {}))
            header = {"format": FORMAT, "key": key, "arrays": {n: vars(c) for n, c in columns.items()}, "notes": notes}
            with explained:
                (building / HEADER).write_text(_sealed(header), encoding="utf-8")
                (building / LOCK).unlink(missing_ok=True)
                _settle(building, path, key)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    found = opened(path, key)
    if found is None:
        raise NotWritten(f"{path} was removed while it was built\n  mend: start again")
    return found


def entries() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every entry whose header can be read, with that header."""
    for path in sorted((cache_folder() / "staged").glob("[!.]*")):
        with contextlib.suppress(Damaged):
            yield path, _header(path)


# --- writing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Written:
    """A file of an entry. checksums: crc32 of each block of it."""

    file: str
    bytes: int
    checksums: list[int]


class _Folder:
    """The files of an entry while it is built; each is written from its beginning to its end, once."""

    def __init__(self, folder: Path, explained: _Explained):
        self.folder, self.explained = folder, explained
        self.columns: dict[str, _FileColumn] = {}

    def column(self, name: str, shape: tuple[int, ...], dtype: Any) -> Column:
        with self.explained:
            self.columns[name] = _FileColumn(self.folder / f"{name}.npy", shape, np.dtype(dtype), self.explained)
        return self.columns[name]

    def written(self) -> dict[str, _Written]:
        return {name: column.finished() for name, column in self.columns.items()}

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *failure: object) -> None:
        for column in self.columns.values():
            column.file.close()


class _FileColumn:
    """One .npy file. Written, not mapped: pages of a map would count as memory of this process."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], explained: _Explained):
        self.path, self.shape, self.dtype, self.explained, self.rows = path, shape, dtype, explained, 0
        self.file = path.open("xb", buffering=0)
        self.bytes, self.checksums, self.crc, self.in_block = 0, list[int](), 0, 0
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self, header)

    def write(self, data: Any) -> int:
        """Bytes to the file, under the checksums of their blocks."""
        view = memoryview(data).cast("B")
        while view:
            piece = view[:BLOCK - self.in_block]
            count = self.file.write(piece)
            self.crc = zlib.crc32(piece[:count], self.crc)
            self.in_block += count
            self.bytes += count
            view = view[count:]
            if self.in_block == BLOCK:
                self._close_block()
        return len(data)

    def append(self, rows: np.ndarray) -> None:
        assert rows.dtype == self.dtype and rows.shape[1:] == self.shape[1:], (rows.dtype, rows.shape, self.shape)
        with self.explained:
            self.write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        self.rows += len(rows)

    def finished(self) -> _Written:
        assert self.rows == self.shape[0], f"{self.path.name}: {self.rows} of {self.shape[0]} rows"
        if self.in_block:
            self._close_block()
        return _Written(self.path.name, self.bytes, self.checksums)

    def _close_block(self) -> None:
        self.checksums.append(self.crc)
        self.crc = self.in_block = 0


def _settle(building: Path, path: Path, key: str) -> None:
    """Give the finished entry its name. What stands there is used if it is whole, else moved away."""
    while True:
        try:
            building.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.ENOTDIR) or not path.exists():
                raise
        try:
            if opened(path, key) is not None:
                return
        except Damaged:
            broken = path.parent / f".broken-{os.urandom(4).hex()}"
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                path.rename(broken)
            if broken.is_dir():
                shutil.rmtree(broken, ignore_errors=True)
            else:
                broken.unlink(missing_ok=True)


class _Lock:
    """Says that an entry is being built: the system lets go of it when this process ends, however it does."""

    def __init__(self, building: Path):
        self.file = None
        if fcntl is not None:
            self.file = (building / LOCK).open("xb")
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __enter__(self) -> _Lock:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.file is not None:
            self.file.close()


def _sweep(folder: Path) -> None:
    """Remove what processes that no longer live have left unfinished."""
    for left in [*folder.glob(".building-*"), *folder.glob(".broken-*")]:
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED or _unlocked(left):
                shutil.rmtree(left, ignore_errors=True)


def _unlocked(building: Path) -> bool:
    """Whether an unfinished entry has a lock that nobody holds."""
    if fcntl is None or not (building / LOCK).is_file():
        return False  # without a lock it may have been begun this moment
    with (building / LOCK).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _check_space(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True)
class _Explained:
    """Turns what the system says while an entry is written into what a user can do."""

    folder: Path
    needed: int

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in FULL:
            free = shutil.disk_usage(self.folder).free if self.folder.is_dir() else 0
            raise NotWritten(
                f"the disk is full: staging needs {self.needed / 1e6:,.1f} MB in {self.folder}, {free / 1e6:,.1f} MB "
                f"are free\n  mend: free some, set {VARIABLE} to a folder on another disk, or keep it in memory with "
                "data.options.cache: false"
            ) from error
        raise UnusableFolder(
            f"staged data cannot be kept in {self.folder}: {error}\n  mend: set {VARIABLE} to a folder that can be "
            "written, or switch it off with data.options.cache: false"
        ) from error


# --- reading ------------------------------------------------------------------------------------


def _sealed(header: Mapping[str, Any]) -> str:
    body = json.dumps(header, indent=1)
    return json.dumps({"crc32": zlib.crc32(body.encode())}) + "\n" + body


def _header(path: Path) -> dict[str, Any]:
    try:
        seal, _, body = (path / HEADER).read_text(encoding="utf-8").partition("\n")
        if json.loads(seal)["crc32"] != zlib.crc32(body.encode()):
            raise Damaged("the header's checksum is wrong")
        header: dict[str, Any] = json.loads(body)
    except FileNotFoundError:
        raise Damaged("the header is missing") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise Damaged("the header cannot be read") from None
    return header


def _mapped(path: Path, column: _Written) -> np.ndarray:
    """A file as an array, after its size and every block of it were checked. Raises Damaged."""
    try:
        size = path.stat().st_size
    except OSError:
        raise Damaged(f"{path.name} is missing") from None
    if size != column.bytes:
        raise Damaged(f"{path.name} has {size:,} bytes, it should have {column.bytes:,}")
    starts = range(0, size, BLOCK)
    if len(starts) != len(column.checksums):
        raise Damaged("the header lacks checksums")
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:  # zlib lets go of the interpreter's lock
        for start, found in zip(starts, pool.map(lambda start: _block(path, start), starts), strict=True):
            if found != column.checksums[start // BLOCK]:
                raise Damaged(f"{path.name} is not what was written, from byte {start:,} on")
    try:
        return _memmap(path)
    except (OSError, ValueError) as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from None


def _block(path: Path, start: int) -> int:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        crc, left = 0, BLOCK
        while left and (data := file.read(min(left, 1 << 20))):  # read, not mapped: see _FileColumn
            crc = zlib.crc32(data, crc)
            left -= len(data)
    return crc


def _memmap(path: Path) -> np.ndarray:
    found: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    return found
