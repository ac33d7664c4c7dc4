"""Texts of variable length, whose lengths are looked at in the file before HDF5 makes room for them.

Each stands in its array as a length, the address of a heap and a place in it; HDF5 believes the length.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from h5py import h5d, h5s, h5z

from neuroport.nir.codec.budget import Budget, decoded, refused

REWRITE = "write it again, its texts one after the other or packed with gzip"


def read_texts(dataset: Any, path: str, budget: Budget) -> np.ndarray:
    """The texts of a data set as an array of str, 0-d ones too. Raises InvalidData, or what h5py raises."""
    count, layout = math.prod(dataset.shape), dataset.get_create_plist().get_layout()
    held = np.empty(dataset.shape, object)
    if count and dataset.get_storage_size():
        pieces = _chunks(dataset, path, budget) if layout == h5d.CHUNKED else _whole(dataset, path, budget, count)
        for piece in pieces:
            _spend(piece, path, budget)
        dataset.read(h5s.ALL, h5s.ALL, held)
    texts = np.empty(dataset.shape, object)
    for index, text in np.ndenumerate(held):
        texts[index] = decoded(text or b"", path)
    return texts


def _spend(piece: bytes, path: str, budget: Budget) -> None:
    width = 8 + budget.address_size
    places = np.frombuffer(piece, np.uint8)[: len(piece) // width * width].reshape(-1, width)
    lengths = places[:, :4].copy().view("<u4")
    longest = int(lengths.max(initial=0))
    if longest > budget.file_size:
        raise refused(path, f"declares a text of {longest:,} bytes, the file has {budget.file_size:,}",
                      "fetch the file again: it is damaged")
    budget.spend_bytes(int(lengths.sum(dtype=np.int64)), path)


def _whole(dataset: Any, path: str, budget: Budget, count: int) -> Iterator[bytes]:
    offset = dataset.get_offset()
    if offset is None:
        raise refused(path, "keeps its texts in the head of the array", REWRITE)
    size = count * (8 + budget.address_size)
    with open(budget.path, "rb") as file:
        file.seek(offset)
        yield file.read(size)


def _chunks(dataset: Any, path: str, budget: Budget) -> Iterator[bytes]:
    plan = dataset.get_create_plist()
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    size = math.prod(plan.get_chunk()) * (8 + budget.address_size)
    found: list[Any] = []
    dataset.chunk_iter(found.append)
    for chunk in found:
        if chunk.size > budget.file_size:
            raise refused(path, f"declares a chunk of {chunk.size:,} bytes, the file has {budget.file_size:,}", REWRITE)
        raw = dataset.read_direct_chunk(chunk.chunk_offset)[1]
        for index in reversed(range(len(filters))):
            if not chunk.filter_mask >> index & 1:
                raw = _unpacked(raw, filters[index], size, path)
        yield raw


def _unpacked(raw: bytes, kind: int, size: int, path: str) -> bytes:
    """A chunk before one of its filters. size: of the chunk, in bytes; no more is unpacked."""
    if kind != h5z.FILTER_DEFLATE:
        raise refused(path, f"holds texts packed with HDF5's filter {kind}", REWRITE)
    try:
        return zlib.decompressobj().decompress(raw, size)
    except zlib.error:
        raise refused(path, "has a chunk that cannot be unpacked", "fetch the file again: it is damaged") from None
