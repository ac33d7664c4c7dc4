"""One data set of an HDF5 file as an array, a text or None; what it declares is checked before any of it is read."""

from __future__ import annotations

import math
import zlib
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5s, h5t, h5z

from neuroport.errors import InvalidData
from neuroport.nir.codec.budget import DAMAGED, Budget, damaged, decoded, refused
from neuroport.nir.codec.marks import BYTES, KIND, NONE, UNICODE
from neuroport.nir.codec.texts import read_texts
from neuroport.nir.contents import Value

# each at most once in a data set: a filter that unpacks what another unpacked multiplies what it makes
FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_SZIP, h5z.FILTER_LZF}
MOST_UNPACKED = 1100  # bytes that a packed byte can become: 1032 with gzip
CHECKSUM, POINTER = 4, 16  # bytes of a chunk's checksum, and of a text's place
REPACK = "write it again with a plain array of numbers or texts"


def read_value(dataset: Any, path: str, budget: Budget) -> Value:
    """An array, a text or None. dataset: h5py's low-level one. Raises InvalidData where it is no such thing."""
    try:
        kind = mark(dataset, KIND, path, budget)
        if kind == NONE or dataset.get_space().get_simple_extent_type() == h5s.NULL:
            return None
        dtype = _dtype(dataset, path)
        _check_storage(dataset, dtype, path, budget)
        if dtype.kind == "O":
            texts = read_texts(dataset, path, budget)
            if kind is not None and UNICODE.fullmatch(kind):
                budget.spend_bytes(texts.size * np.dtype(kind).itemsize, path)
                return texts.astype(kind)
            return texts if texts.ndim else texts[()]
        array = np.empty(dataset.shape, dtype)
        dataset.read(h5s.ALL, h5s.ALL, array)
        if dtype.kind == "S" and not array.ndim and kind != BYTES:
            return decoded(bytes(array[()]), path)
        return array
    except InvalidData:
        raise
    except MemoryError:
        raise refused(path, "does not fit this machine's memory", "read it on a machine with more") from None
    except DAMAGED as error:
        raise damaged(path, error) from None


def mark(thing: Any, name: str, path: str, budget: Budget) -> str | None:
    """The text of an attribute, None where there is none. Of fixed length: HDF5 would believe any other's."""
    try:
        if not h5a.get_num_attrs(thing) or not h5a.exists(thing, name.encode()):
            return None
        attribute = h5a.open(thing, name.encode())
        kind = h5py.check_string_dtype(attribute.dtype)
        if attribute.shape != () or kind is None or kind.length is None:
            raise refused(f"{path}@{name}", "is no text of fixed length", "remove this attribute")
        budget.spend_bytes(attribute.dtype.itemsize, f"{path}@{name}")
        held = np.empty((), attribute.dtype)
        attribute.read(held)
    except DAMAGED as error:
        raise damaged(f"{path}@{name}", error) from None
    return decoded(held[()], f"{path}@{name}")


def _dtype(dataset: Any, path: str) -> np.dtype[Any]:
    """What NumPy makes of its type, where that is a number or a text."""
    try:
        dtype: np.dtype[Any] = dataset.dtype
    except DAMAGED:
        raise refused(path, "has a type that NumPy does not know", REPACK) from None
    if dtype.kind in "biufcS" and dtype.subdtype is None and h5py.check_enum_dtype(dtype) is None:
        return dtype
    if dtype.kind == "O" and h5py.check_string_dtype(dtype) is not None:
        return dtype
    names = {h5t.COMPOUND: "records", h5t.REFERENCE: "references", h5t.VLEN: "lists of various lengths",
             h5t.OPAQUE: "opaque bytes", h5t.ENUM: "an enumeration", h5t.ARRAY: "arrays within an array"}
    held = names.get(dataset.get_type().get_class(), str(dtype))
    raise refused(path, f"holds {held}, neither numbers nor texts", REPACK)


def _check_storage(dataset: Any, dtype: np.dtype[Any], path: str, budget: Budget) -> None:
    """That reading it stays within the file, the limits and the filters that can be bounded."""
    plan = dataset.get_create_plist()
    layout = plan.get_layout()
    if layout not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
        raise refused(path, "is put together from other files (a virtual data set)", REPACK)
    if layout != h5d.CHUNKED and plan.get_external_count():
        raise refused(path, "keeps its values in another file", REPACK)
    itemsize = POINTER if dtype.kind == "O" else dtype.itemsize
    budget.spend_bytes(math.prod(dataset.shape) * itemsize, path)
    if layout == h5d.CHUNKED:
        _check_chunks(dataset, plan, itemsize, path, budget)


def _check_chunks(dataset: Any, plan: Any, itemsize: int, path: str, budget: Budget) -> None:
    chunk = plan.get_chunk()
    size = math.prod(chunk) * itemsize  # it is unpacked whole, however little of it the array takes
    if size > budget.bytes:
        budget.spend_bytes(size, f"{path} (a chunk of it)")
    count = math.prod(-(-length // piece) for length, piece in zip(dataset.shape, chunk, strict=True))
    if count > budget.limits.chunks or dataset.get_num_chunks() > budget.limits.chunks:
        raise refused(path, f"comes in {count:,} chunks, more than {budget.limits.chunks:,}", REPACK)
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    if len(set(filters)) < len(filters) or not set(filters) <= FILTERS:
        raise refused(path, f"is packed with HDF5's filters {filters}", "pack it with gzip: h5repack -f GZIP=4")
    if filters:
        _check_packed(dataset, filters, size, path, budget)


def _check_packed(dataset: Any, filters: list[int], size: int, path: str, budget: Budget) -> None:
    """That no chunk becomes more than its size: HDF5 would unpack it however much that is."""
    found: list[Any] = []
    dataset.chunk_iter(found.append)
    for chunk in found:
        if chunk.size * MOST_UNPACKED <= max(budget.bytes, size):
            continue
        used = [kind for index, kind in enumerate(filters) if not chunk.filter_mask >> index & 1]
        raw = b"" if chunk.size > budget.file_size else dataset.read_direct_chunk(chunk.chunk_offset)[1]
        if used[-1:] == [h5z.FILTER_FLETCHER32]:
            used, raw = used[:-1], raw[:-CHECKSUM]
        unpacked = len(raw)
        if used[-1:] == [h5z.FILTER_DEFLATE]:
            unpacked = len(zlib.decompressobj().decompress(raw, size + 1))
        elif set(used) - {h5z.FILTER_SHUFFLE}:
            raise refused(path, f"has large chunks packed with HDF5's filters {used}", "pack it with gzip: h5repack")
        if unpacked > size or not raw:
            raise refused(path, f"has a chunk that unpacks to more than the {size:,} bytes declared", REPACK)
