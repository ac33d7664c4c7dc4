"""An HDF5 file as what it holds, node by node, nothing repaired. See ``hdf5.py`` for the layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
from h5py import h5, h5a, h5d, h5g, h5l, h5o, h5p

from neuroport.errors import InvalidData
from neuroport.nir.arrays import DAMAGED, Budget, damaged, decoded, mark, read_value, refused
from neuroport.nir.contents import Fields, Finding, NirFile, NirGraph, NirNode, Value
from neuroport.nir.limits import Limits
from neuroport.nir.marks import KIND, NAME

GRAPH = "NIRGraph"
EXPORT = "export the graph again with a current nir or with neuroport"


class Member(NamedTuple):
    """A thing in a group: its true name, its name and path in the file, and itself."""

    name: str
    written: str
    path: str
    thing: Any


def read_file(path: Path, limits: Limits) -> NirFile:
    """What the file at ``path`` holds. Raises InvalidData."""
    try:
        with h5py.File(path, "r") as file:
            return _Reader(Budget(limits, path.stat().st_size)).file(file.id)
    except InvalidData as error:
        raise InvalidData(error.problems, f"NIR file {path}") from None
    except FileNotFoundError:
        raise refused(str(path), "is not there", "give the path of a file") from None
    except IsADirectoryError:
        raise refused(str(path), "is a folder", "give the path of a file") from None
    except PermissionError:
        raise refused(str(path), "may not be read by you", "change its permissions") from None
    except OSError as error:
        words = " ".join(str(error).split())
        mend = "give a whole file that nir or neuroport wrote; NIR files are HDF5"
        raise refused(str(path), f"is no HDF5 file, or a damaged one: {words:.200}", mend) from None


class _Reader:
    def __init__(self, budget: Budget):
        self.budget = budget
        self.findings: list[Finding] = []
        self.groups: set[int] = set()
        self.strange = ""  # the first thing that has attributes of others

    def file(self, file: Any) -> NirFile:
        root = {member.name: member for member in self._members(h5g.open(file, b"/"), "", 0)}
        version = self._version(root.pop("version", None))
        if "node" in root:
            graph = self._node(root.pop("node"), "", 1)
        elif "nodes" in root and "edges" in root:
            self._repaired("", "written by nir 0.0.5 or earlier: the nodes at the root of the file are read as a graph")
            graph = self._graph([root.pop("nodes"), root.pop("edges")], "", 1)
        else:
            raise refused("/node", "is missing", "give a file that nir.write or neuroport wrote")
        if not isinstance(graph, NirGraph):
            self._repaired("", f"the file is one {graph.type} without a graph: a graph is put around it")
            graph = NirGraph(nodes={graph.type.lower(): graph})
        extra = {member.name: self._value(member, 1) for member in root.values()}
        if self.strange:
            words = "has HDF5 attributes, which mean nothing in NIR: they are not kept"
            self.findings.append(Finding(self.strange, words))
        return NirFile(graph, version, tuple(self.findings), extra)

    def _version(self, member: Member | None) -> str:
        if member is None:
            return ""
        version = self._value(member, 1)
        if not isinstance(version, str):
            raise refused(member.path, "is no text", EXPORT)
        return version

    def _node(self, member: Member, place: str, depth: int) -> NirNode:
        """place: the node's path in the graph."""
        if not isinstance(member.thing, h5g.GroupID):
            raise refused(member.path, "is no group, as a node is", EXPORT)
        members = list(self._members(member.thing, member.path, depth))
        kind, rest = None, []
        for one in members:
            if one.name == "type":
                kind = self._value(one, depth)
                if not isinstance(kind, str):
                    raise refused(one.path, "is no text", "write the node's type, such as LIF")
            else:
                rest.append(one)
        if kind is None:
            if not {"nodes", "edges"} <= {one.name for one in rest}:
                raise refused(f"{member.path}/type", "is missing", "write the node's type, such as LIF")
            self._repaired(place, f"says no type, but has nodes and edges: read as {GRAPH}")
            kind = GRAPH
        if kind == GRAPH:
            return self._graph(rest, place, depth)
        return NirNode(kind, *self._fields(rest, depth))

    def _graph(self, members: list[Member], place: str, depth: int) -> NirGraph:
        held = {member.name: member for member in members}
        for name in ("nodes", "edges"):
            if name not in held:
                where = members[0].path.rpartition("/")[0] if members else place
                raise refused(f"{where}/{name}", "is missing", f"a {GRAPH} has nodes and edges: {EXPORT}")
        inside, listed = held.pop("nodes"), held.pop("edges")
        if not isinstance(inside.thing, h5g.GroupID):
            raise refused(inside.path, "is no group", EXPORT)
        prefix = f"{place}/" if place else ""
        nodes, written = {}, {}
        for member in self._members(inside.thing, inside.path, depth + 1):
            nodes[member.name] = self._node(member, prefix + member.name, depth + 2)
            written[member.written] = member.name
        fields, metadata = self._fields(list(held.values()), depth)
        edges = tuple((written.get(one, one), written.get(two, two)) for one, two in self._edges(listed, place))
        return NirGraph(GRAPH, fields, metadata, nodes, edges)

    def _edges(self, member: Member, place: str) -> Iterator[tuple[str, str]]:
        if not isinstance(member.thing, h5d.DatasetID):
            raise refused(member.path, "is no array", "write pairs of names: (edges, 2)")
        shape: tuple[int, ...] = member.thing.shape or ()
        if shape and shape[0] > self.budget.limits.edges:
            mend = f"if the file is to be trusted: limits=Limits(edges={shape[0]})"
            raise refused(member.path, f"has {shape[0]:,} edges, more than {self.budget.limits.edges:,}", mend)
        if shape == (0,):  # as nir writes a graph without edges
            return
        if len(shape) != 2 or shape[1] != 2:
            raise refused(member.path, f"has shape {shape}", "write pairs of names: (edges, 2)")
        pairs = read_value(member.thing, member.path, self.budget)
        if pairs.dtype.kind in "iu":
            self._repaired(place, "edges are numbers of nodes, as nir 0.0 wrote them: read as the nodes' names")
        elif pairs.dtype.kind not in "OSU":
            raise refused(member.path, f"holds {pairs.dtype}, no names", "write pairs of names: (edges, 2)")
        for pair in pairs.tolist():
            one, two = (str(name) if isinstance(name, int) else decoded(name, member.path) for name in pair)
            yield one, two

    def _fields(self, members: list[Member], depth: int) -> tuple[Fields, Fields]:
        fields: Fields = {}
        metadata: Fields = {}
        for member in members:
            value = self._value(member, depth)
            if member.name == "metadata" and isinstance(value, dict):
                metadata = value
            else:
                fields[member.name] = value
        return fields, metadata

    def _value(self, member: Member, depth: int) -> Value:
        if isinstance(member.thing, h5d.DatasetID):
            return read_value(member.thing, member.path, self.budget)
        if isinstance(member.thing, h5g.GroupID):
            inside = self._members(member.thing, member.path, depth + 1)
            return {one.name: self._value(one, depth + 1) for one in inside}
        raise refused(member.path, "is neither an array nor a group", EXPORT)

    def _members(self, group: Any, path: str, depth: int) -> list[Member]:
        """What a group holds: in the order of creation where the file keeps it, else in HDF5's own."""
        if depth > self.budget.limits.depth:
            mend = f"if the file is to be trusted: limits=Limits(depth={2 * depth})"
            raise refused(path, f"lies more than {self.budget.limits.depth} groups deep", mend)
        try:
            self._visit(group, path)
            self.budget.spend_items(group.get_num_objs(), path or "/")
            order = group.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_TRACKED
            links: list[tuple[bytes, int]] = []
            group.links.iterate(lambda name, link: links.append((name, link.type)), info=True,
                                idx_type=h5.INDEX_CRT_ORDER if order else h5.INDEX_NAME)
        except DAMAGED as error:
            raise damaged(path or "/", error) from None
        found: dict[str, Member] = {}
        for name, kind in links:
            member = self._member(group, name, kind, path)
            if member.name in found:
                raise refused(member.path, f"is named {member.name!r}, as {found[member.name].path} is", EXPORT)
            found[member.name] = member
        return list(found.values())

    def _member(self, group: Any, name: bytes, kind: int, path: str) -> Member:
        written = decoded(name, f"{path}/{name!r}")
        where = f"{path}/{written}"
        if kind != h5l.TYPE_HARD:
            what = {h5l.TYPE_SOFT: "a link within the file", h5l.TYPE_EXTERNAL: "a link to another file"}
            raise refused(where, f"is {what.get(kind, 'a link of an unknown kind')}, no value of its own",
                          "write the value itself: h5repack, or " + EXPORT)
        try:
            thing = h5o.open(group, name)
            if count := h5a.get_num_attrs(thing):
                ours = sum(h5a.exists(thing, one.encode()) for one in (NAME, KIND))
                self.strange = self.strange or (where if count > ours else "")
        except DAMAGED as error:
            raise damaged(where, error) from None
        true = mark(thing, NAME, where, self.budget)
        return Member(written if true is None else true, written, where, thing)

    def _visit(self, group: Any, path: str) -> None:
        """No group is reached twice: such links make cycles, or a small file endlessly wide."""
        address = h5o.get_info(group).addr
        if address in self.groups:
            raise refused(path, "is a group that is reached by another path as well", EXPORT)
        self.groups.add(address)

    def _repaired(self, place: str, words: str) -> None:
        self.findings.append(Finding(place, words, repaired=True))


