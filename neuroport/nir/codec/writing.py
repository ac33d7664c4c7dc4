"""What a NIR file holds as an HDF5 file that nir 1.0.8 reads as well. See ``hdf5.py`` for the layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuroport.data.disk import write_atomically
from neuroport.errors import NotWritten
from neuroport.nir.codec.budget import refused
from neuroport.nir.codec.limits import DEEPEST
from neuroport.nir.codec.marks import BYTES, KIND, NAME, NONE, written_name
from neuroport.nir.codec.stand_ins import StandIns, stand_ins
from neuroport.nir.contents import NirFile, NirGraph, NirNode, Value, plain

PACKED_FROM = 4096  # bytes from which an array is packed: a chunk has an overhead of its own
TEXT = h5py.string_dtype()


@contextmanager
def image() -> Iterator[Any]:
    """A file in memory, which keeps the order in which things are put into it."""
    with h5py.File("image", "w", driver="core", backing_store=False, track_order=True) as file:
        yield file


def put_whole(path: Path, file: Any) -> None:
    """Put the file from memory to a path, whole or not at all. Raises NotWritten."""
    file.flush()
    try:
        write_atomically(path, bytes(file.id.get_file_image()))
    except OSError as error:
        mend = "choose a folder that you may write to, on a disk with space left"
        raise NotWritten(f"{path} cannot be written: {error.strerror or error}\n  mend: {mend}") from None


def write_file(path: Path, content: NirFile, compression: int | None) -> None:
    """The whole file; equal contents give equal bytes. Raises InvalidData and NotWritten."""
    _check_nesting(content.graph)
    with image() as file:
        writer = _Writer(compression, stand_ins(content.graph))
        if content.version:
            writer.value(file, "version", _text(content.version, "/version"), "/version")
        writer.node(file.create_group("node", track_order=True), content.graph, "/node", 0)
        writer.group(file, _without(content.extra, ("version", "node"), ""), "", 0)
        put_whole(path, file)


def put_mark(held: Any, name: str, text: str) -> None:
    """An attribute of fixed length: one of variable length could claim any."""
    content = text.encode()
    held.attrs.create(name, np.array(content, f"S{max(1, len(content))}"),
                      dtype=h5py.string_dtype("utf-8", max(1, len(content))))


def true_name(held: Any) -> str:
    """The name of a thing that was put into a file: as its mark says, else as it is written."""
    written = held.name.rpartition("/")[2]
    return bytes(held.attrs[NAME]).decode() if NAME in held.attrs else str(written)


def packing(array: np.ndarray, compression: int | None) -> dict[str, Any]:
    """How an array is stored: packed where it is large, and compression (gzip's level) is not None."""
    if compression is None or not array.ndim or array.nbytes < PACKED_FROM:
        return {}
    return {"compression": "gzip", "compression_opts": compression, "shuffle": True}


class _Writer:
    def __init__(self, compression: int | None, stand_ins: Mapping[str, StandIns]):
        self.compression, self.stand_ins = compression, stand_ins

    def node(self, group: Any, node: NirNode, path: str, depth: int, place: str = "") -> None:
        """path: in the file. place: of the node in the graph, with a "/" behind it."""
        _check_depth(path, depth)
        reserved = ("type", "nodes", "edges") if isinstance(node, NirGraph) else ("type",)
        if not isinstance(node, NirGraph) and node.type == NirGraph.type:
            raise refused(path, f"has the type {node.type}, but is a NirNode", "give a NirGraph")
        if isinstance(node, NirGraph) and node.type != NirGraph.type:
            raise refused(path, f"is a NirGraph of type {node.type!r}", f"name its type {NirGraph.type}")
        fields = dict(_without(node.fields, reserved, path))
        if isinstance(fields.get("metadata"), Mapping) or (node.metadata and "metadata" in fields):
            raise refused(f"{path}/metadata", "is a field", "put it into the node's metadata")
        if isinstance(node, NirGraph):
            self._graph(group, node, path, depth, place)
        self.value(group, "type", _text(node.type, f"{path}/type"), f"{path}/type")
        self.group(group, fields, path, depth, self.stand_ins.get(place[:-1], {}))
        if node.metadata:
            self.value(group, "metadata", node.metadata, f"{path}/metadata", depth)

    def _graph(self, group: Any, graph: NirGraph, path: str, depth: int, place: str) -> None:
        inside = group.create_group("nodes", track_order=True)
        ends = {end for edge in graph.edges for end in edge}
        names = _written(graph.nodes, f"{path}/nodes", ends)
        for name, node in graph.nodes.items():
            held = inside.create_group(names[name], track_order=True)
            _name(held, name, names[name])
            self.node(held, node, f"{path}/nodes/{names[name]}", depth + 2, f"{place}{name}/")
        pairs = np.empty((len(graph.edges), 2), object)
        for index, edge in enumerate(graph.edges):
            pairs[index] = [names.get(_text(end, f"{path}/edges"), end) for end in edge]
        group.create_dataset("edges", data=pairs, dtype=TEXT)

    def group(
        self, group: Any, values: Mapping[str, Value], path: str, depth: int, stand_ins: StandIns | None = None
    ) -> None:
        names = _written(values, path, ("type", "nodes", "edges", "metadata", "version", "node"))
        for name, value in values.items():
            where = f"{path}/{names[name]}"
            held = self.value(group, names[name], value, where, depth, (stand_ins or {}).get(name))
            _name(held, name, names[name])

    def value(
        self, group: Any, name: str, value: Value, path: str, depth: int = 0, stand_in: np.ndarray | None = None
    ) -> Any:
        """The data set or group that holds a value. stand_in: what nir reads where the value is None."""
        value = plain(value)
        if isinstance(value, Mapping):
            _check_depth(path, depth + 1)
            held = group.create_group(name, track_order=True)
            self.group(held, value, path, depth + 1)
            return held
        if isinstance(value, str):
            return group.create_dataset(name, data=_text(value, path), dtype=TEXT)
        if value is None:
            held = group.create_dataset(name, data=h5py.Empty("f") if stand_in is None else stand_in)
            put_mark(held, KIND, NONE)
            return held
        if not isinstance(value, np.ndarray):
            raise refused(path, f"is a {type(value).__name__}", "give an array, a text, None, or a dict of these")
        return self._array(group, name, value, path)

    def _array(self, group: Any, name: str, array: np.ndarray, path: str) -> Any:
        kind = ""
        if array.dtype.kind in "OU":
            kind = array.dtype.str if array.dtype.kind == "U" else ""
            texts = np.empty(array.shape, object)
            for index, text in np.ndenumerate(array):
                texts[index] = _text(text, path)
            if not array.ndim and not kind:
                raise refused(path, "is a 0-d array of objects", "give the text itself")
            held = group.create_dataset(name, data=texts, dtype=TEXT)
        elif array.dtype.kind in "biufcS" and array.dtype.itemsize:
            kind = BYTES if array.dtype.kind == "S" and not array.ndim else ""
            held = group.create_dataset(name, data=array, dtype=array.dtype, **packing(array, self.compression))
        else:
            raise refused(path, f"holds {array.dtype}", "give numbers, booleans or texts")
        if kind:
            put_mark(held, KIND, kind)
        return held


def _written(values: Mapping[str, Any], path: str, ends: Iterable[str]) -> dict[str, str]:
    """Names as they stand in the file, none of which is the true name of something else."""
    taken = {*values, *ends}
    found = {}
    for name in values:
        found[name] = written_name(_text(name, path), taken)
        taken.add(found[name])
    return found


def _name(held: Any, name: str, written: str) -> None:
    if name != written:
        put_mark(held, NAME, name)


def _text(text: Any, path: str) -> str:
    """A text that HDF5 can hold."""
    if not isinstance(text, str):
        raise refused(path, f"holds {text!r:.60} where a text belongs", "give a str")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise refused(path, f"holds the text {text!r:.60}, which is no Unicode", "replace the lone surrogate") from None
    if "\0" in text:
        raise refused(path, f"holds the text {text!r:.60}: HDF5 ends a text at NUL", "remove the NUL character")
    return str(text)


def _check_depth(path: str, depth: int) -> None:
    if depth > DEEPEST:
        raise refused(path, f"lies more than {DEEPEST} groups deep", "nest less deeply")


def _check_nesting(graph: NirGraph) -> None:
    """That graphs are nested no deeper than they may be, before anything goes down into them."""
    level: list[NirGraph] = [graph]
    for _ in range(DEEPEST // 2 + 1):
        level = [node for one in level for node in one.nodes.values() if isinstance(node, NirGraph)]
    if level:
        raise refused("/node", f"nests graphs more than {DEEPEST // 2} deep", "nest less deeply")


def _without(values: Mapping[str, Value], reserved: Iterable[str], path: str) -> Mapping[str, Value]:
    taken = [name for name in reserved if name in values]
    if taken:
        raise refused(f"{path}/{taken[0]}", "is a field of a name that NIR keeps for itself", "give it another name")
    return values


