"""An HDF5 file as what it holds, node by node, nothing repaired. See ``hdf5.py`` for the layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from h5py import h5d, h5g

from neuroport.nir.codec.arrays import read_value
from neuroport.nir.codec.budget import decoded, refused, trusted
from neuroport.nir.codec.groups import EXPORT, Groups, Member, opened
from neuroport.nir.codec.limits import Limits
from neuroport.nir.contents import Fields, Finding, NirFile, NirGraph, NirNode

GRAPH = NirGraph.type


def read_file(path: Path, limits: Limits) -> NirFile:
    """What the file at ``path`` holds. Raises InvalidData."""
    with opened(path, limits) as (root, groups):
        return _Reader(groups).file(root)


class _Reader:
    def __init__(self, groups: Groups):
        self.groups, self.budget = groups, groups.budget
        self.findings: list[Finding] = []

    def file(self, file: Member) -> NirFile:
        root = {member.name: member for member in self.groups.members(file.thing, "", 0)}
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
        extra = {member.name: self.groups.value(member, 1) for member in root.values()}
        if self.groups.strange:
            words = "has HDF5 attributes, which mean nothing in NIR: they are not kept"
            self.findings.append(Finding(self.groups.strange, words))
        return NirFile(graph, version, tuple(self.findings), extra)

    def _version(self, member: Member | None) -> str:
        if member is None:
            return ""
        version = self.groups.value(member, 1)
        if not isinstance(version, str):
            raise refused(member.path, "is no text", EXPORT)
        return version

    def _node(self, member: Member, place: str, depth: int) -> NirNode:
        """place: the node's path in the graph."""
        if not isinstance(member.thing, h5g.GroupID):
            raise refused(member.path, "is no group, as a node is", EXPORT)
        members = list(self.groups.members(member.thing, member.path, depth))
        kind, rest = None, []
        for one in members:
            if one.name == "type":
                kind = self.groups.value(one, depth)
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
        for member in self.groups.members(inside.thing, inside.path, depth + 1):
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
            wrong = f"has {shape[0]:,} edges, more than {self.budget.limits.edges:,}"
            raise refused(member.path, wrong, trusted("edges", shape[0]))
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
            value = self.groups.value(member, depth)
            if member.name == "metadata" and isinstance(value, dict):
                metadata = value
            else:
                fields[member.name] = value
        return fields, metadata

    def _repaired(self, place: str, words: str) -> None:
        self.findings.append(Finding(place, words, repaired=True))


