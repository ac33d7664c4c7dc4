"""What NIR's standard cannot say, kept in a file's metadata: numerics, dt, surrogates, delays, exact values.

Where neuroport wrote a file, each node's metadata hold ``neuroport``, a JSON text with our description of the
node, and ``neuroport_arrays``, the arrays that the standard's fields hold only broadcast or converted. The graph's
hold dt, the model's numerics, and its edges with their delays. A digest of the standard's own fields tells a file
that somebody has changed since; such a file is then read by those fields alone, under numerics that are given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neuroport.errors import Invalid, InvalidData, Problem
from neuroport.model.graph import Model
from neuroport.nir.codec.marks import written_name
from neuroport.nir.contents import Fields, NirGraph, NirNode

FORMAT = 1
TEXT, ARRAYS = "neuroport", "neuroport_arrays"
STANDARD = ("weight", "bias")  # arrays that are read from the standard's fields, so that others may train them
Array = np.ndarray


def digest_of(node: NirNode, whole: bool = False) -> str:
    """A name for what the standard's fields of a node say; without weights and biases unless it is ``whole``."""
    found = hashlib.blake2b(node.type.encode(), digest_size=12)
    for name, value in sorted(node.fields.items()):
        if whole or name not in STANDARD:
            array = np.asarray(value)
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(array.astype(array.dtype.newbyteorder("<")).tobytes() if array.dtype.kind in "biuf"
                         else repr(array.tolist()).encode())
    return found.hexdigest()


def shape_of(graph: NirGraph) -> str:
    """A name for a graph's nodes, their types and its edges, whatever their order."""
    nodes = sorted((name, shape_of(node) if isinstance(node, NirGraph) else node.type)
                   for name, node in graph.nodes.items())
    return hashlib.blake2b(json.dumps([nodes, sorted(graph.edges)]).encode(), digest_size=12).hexdigest()


def of_node(description: Mapping[str, Any], standard: NirNode, arrays: Mapping[str, Array]) -> Fields:
    """The metadata of one node. Where it was given other weights than ours for a platform's sake, they hold ours."""
    held = {name: np.asarray(value) for name, value in arrays.items()}
    moved = any(_differs(held.get(name), standard.fields.get(name)) for name in STANDARD)
    found: Fields = {TEXT: json.dumps({"node": description, "digest": digest_of(standard, moved), "moved": moved})}
    kept = {name: value for name, value in held.items() if moved or name not in STANDARD}
    return {**found, ARRAYS: kept} if kept else found


def _differs(ours: Array | None, written: Any) -> bool:
    """Whether a file's weight or bias is not ours; zeros may stand where we have none."""
    if ours is None:
        return written is not None and bool(np.any(written))
    return written is None or not np.array_equal(ours, written)


def of_graph(model: Model, graph: NirGraph) -> Fields:
    """The metadata of the whole."""
    edges = [[edge.source, edge.target, edge.delay] for edge in model.edges]
    return {TEXT: json.dumps({
        "format": FORMAT, "dt": model.dt, "numerics": model.numerics.model_dump(mode="json"),
        "nodes": list(model.nodes), "edges": edges, "shape": shape_of(graph)})}


def extension_of(graph: NirGraph) -> dict[str, Any] | None:
    """What neuroport wrote about a graph, None where it wrote nothing. Raises InvalidData where it cannot be read."""
    return _said("", graph)


def _said(path: str, node: NirNode) -> dict[str, Any] | None:
    text = node.metadata.get(TEXT)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _changed(path, "its metadata are no longer what neuroport wrote")
    return found


def _changed(path: str, wrong: str) -> InvalidData:
    mend = "to read what the standard's own fields say now, pass numerics=, dt= and reset="
    return InvalidData([Problem(path or "the graph", wrong, mend)], "NIR file written by neuroport")


def _by_name(graph: NirGraph) -> Iterator[tuple[str, NirNode]]:
    """The nodes that neuroport described, those of nested graphs by their own names too."""
    for name, node in graph.nodes.items():
        if isinstance(node, NirGraph):
            yield from _by_name(node)
        elif TEXT in node.metadata:
            yield name, node


def _true_names(graph: NirGraph, names: Any) -> NirGraph:
    """The graph under the names that neuroport gave it: nir, writing it anew, keeps ``a%2Fb`` and not the true name."""
    held = set(_names(graph))
    lost = {name for name in names if isinstance(name, str)} - held if isinstance(names, list) else set()
    written = {written_name(name, ()): name for name in sorted(lost)}
    back = {name: written.get(name, name) for name in held}
    return _renamed(graph, back) if set(back.values()) != held else graph


def _names(graph: NirGraph) -> Iterator[str]:
    for name, node in graph.nodes.items():
        yield name
        if isinstance(node, NirGraph):
            yield from _names(node)


def _renamed(graph: NirGraph, names: Mapping[str, str]) -> NirGraph:
    nodes = {names[name]: _renamed(node, names) if isinstance(node, NirGraph) else node
             for name, node in graph.nodes.items()}
    edges = tuple((names.get(source, source), names.get(target, target)) for source, target in graph.edges)
    return replace(graph, nodes=nodes, edges=edges)


def restored(graph: NirGraph) -> tuple[Model, dict[str, Array]]:
    """The model that neuroport wrote, with the parameters that stand there now.

    Weights may have been changed since. Raises InvalidData where anything else was.
    """
    said = extension_of(graph)
    assert said is not None
    if said.get("format") != FORMAT:
        raise _changed("", f"it is of format {said.get('format')!r}, this neuroport knows {FORMAT}")
    graph = _true_names(graph, said.get("nodes", ()))
    if said.get("shape") != shape_of(graph):
        raise _changed("", "nodes or edges were changed since neuroport wrote it")
    nodes, arrays = {}, {}
    held_nodes = dict(_by_name(graph))
    for name in said.get("nodes", ()):
        node = held_nodes.get(name)
        about = None if node is None else _said(name, node)
        if node is None or about is None or about.get("digest") != digest_of(node, bool(about.get("moved"))):
            raise _changed(name, "this node was changed since neuroport wrote it")
        nodes[name] = about.get("node")
        held = {**{field: node.fields[field] for field in STANDARD if node.fields.get(field) is not None},
                **node.metadata.get(ARRAYS, {})}
        arrays.update({f"{name}.{field}": value for field, value in held.items()})
    try:
        model = Model.parse({key: said.get(key) for key in ("dt", "numerics", "edges")} | {"nodes": nodes})
    except Invalid as error:
        raise InvalidData(error.problems, "model within a NIR file") from None
    missing = [name for name in model.parameters if name not in arrays]
    if missing:
        raise _changed(missing[0], "its array is missing")
    return model, {name: np.asarray(arrays[name]) for name in model.parameters}
