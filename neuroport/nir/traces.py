"""Recorded activity in NIR's own format for it (NIRGraphData, nir 1.0.7 and later): ``load`` and ``save``.

By path of the node and by variable, a trace is dense, (T, B, *shape), or a list of events. The file has samples first
and neurons flat, (B, T, N); the true shape stands in an attribute beside it, which nir passes over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from h5py import h5a, h5d, h5g

from neuroport.errors import InvalidData, Problem
from neuroport.nir.codec.budget import DAMAGED, Budget, damaged, refused
from neuroport.nir.codec.groups import Groups, Member, opened
from neuroport.nir.codec.limits import LIMITS, MOST_BYTES, Limits
from neuroport.nir.codec.marks import NAME, written_name
from neuroport.nir.codec.writing import image, packing, put_mark, put_whole, true_name
from neuroport.nir.contents import NirGraph
from neuroport.nir.shapes import Shape

TYPE, SHAPE = "__type__", "neuroport_shape"
GRAPH, NODE, DENSE, EVENTS, VALUED = (
    "NIRGraphData", "NIRNodeData", "TimeGriddedData", "EventData", "ValuedEventData")
EXPORT = "write it again with nir.write_data or with neuroport"
NEAR = 1e-6  # of a step: 0.3 / 0.1 is the third step, however it rounds


@dataclass(frozen=True, eq=False)
class Dense:
    """values: (T, B, *shape), of any dtype. dt: seconds."""

    values: np.ndarray
    dt: float

    @property
    def shape(self) -> Shape:
        """Of the population."""
        return self.values.shape[2:]

    def events(self) -> Events:
        """Each value that is not zero as an event at the beginning of its step, in order of time, then of neuron.

        A whole number is so many events, any other value is kept beside its event.
        """
        steps, batch = self.values.shape[:2]
        flat = np.moveaxis(self.values, 0, 1).reshape(batch, steps, -1)
        sample, step, neuron = np.nonzero(flat)
        held = flat[sample, step, neuron]
        valued = flat.dtype.kind not in "biu"
        if not valued:
            if held.dtype.kind == "i" and (held < 0).any():
                raise InvalidData([Problem("values", "hold counts below zero", "give values as floats")], "trace")
            sample, step, neuron = (np.repeat(each, held.astype(np.int64)) for each in (sample, step, neuron))
        count = np.bincount(sample, minlength=batch)
        # the place of each event in its sample's row
        place = np.arange(sample.size) - np.repeat(np.cumsum(count) - count, count)
        width = int(count.max(initial=0))
        index, times = np.full((batch, width), -1, np.int64), np.full((batch, width), np.inf)
        index[sample, place], times[sample, place] = neuron, step * self.dt
        values = np.zeros((batch, width), flat.dtype) if valued else None
        if values is not None:
            values[sample, place] = held
        return Events(index, times, values, self.shape, steps * self.dt)


@dataclass(frozen=True, eq=False)
class Events:
    """index: (B, E), neurons of a flattened population, -1 for none. times: (B, E) seconds, inf for none.

    values: (B, E) or None where an event is a spike. shape: of the population. duration: seconds.
    """

    index: np.ndarray
    times: np.ndarray
    values: np.ndarray | None
    shape: Shape
    duration: float

    def dense(self, dt: float, most_bytes: int = MOST_BYTES) -> Dense:
        """The events in steps of ``dt``: spikes as their number (int64), values added up (their own dtype).

        Raises InvalidData where an event lies outside the duration, or the array would be larger than ``most_bytes``.
        """
        batch, size, steps = len(self.index), math.prod(self.shape), int(_steps(np.array(self.duration), dt, up=True))
        dtype = np.dtype(np.int64) if self.values is None else self.values.dtype
        if batch * size * steps * dtype.itemsize > most_bytes:
            wrong = f"would take {batch * size * steps * dtype.itemsize:,} bytes, more than {most_bytes:,}"
            raise InvalidData([Problem("dense", wrong, "give a longer dt, or most_bytes")], "trace")
        sample, place = np.nonzero(self.index >= 0)
        step = _steps(self.times[sample, place], dt)
        if ((step < 0) | (step >= steps)).any():
            mend = f"events lie in [0, {self.duration:g})"
            raise InvalidData([Problem("times", "hold an event outside the duration", mend)], "trace")
        found = np.zeros((steps, batch, size), dtype)
        added = np.ones(len(step), dtype) if self.values is None else self.values[sample, place]
        np.add.at(found, (step, sample, self.index[sample, place]), added)
        return Dense(found.reshape(steps, batch, *self.shape), dt)


Trace: TypeAlias = Dense | Events
Traces: TypeAlias = Mapping[str, Mapping[str, Trace]]


def of_arrays(records: Mapping[str, Mapping[str, Any]], dt: float, events: Iterable[str] = ("spikes",)) -> Traces:
    """Traces of arrays (T, B, *shape) by node and variable, as a run records them. events: variables kept as events."""
    as_events = set(events)
    dense = {node: {name: Dense(np.asarray(values), dt) for name, values in variables.items()}
             for node, variables in records.items()}
    return {node: {name: trace.events() if name in as_events else trace for name, trace in variables.items()}
            for node, variables in dense.items()}


def arrays(traces: Traces, dt: float | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Arrays (T, B, *shape) by node and variable. dt: seconds; needed for events."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for node, variables in traces.items():
        found[node] = {}
        for name, trace in variables.items():
            where = f"{node}.{name}"
            if isinstance(trace, Events):
                if dt is None:
                    raise InvalidData([Problem(where, "holds events, which have no steps", "give dt")], "trace")
                trace = trace.dense(dt)
            elif dt is not None and not math.isclose(trace.dt, dt, rel_tol=NEAR):
                raise InvalidData([Problem(where, f"has steps of {trace.dt:g} s", f"give dt={trace.dt:g}")], "trace")
            found[node][name] = trace.values
    return found


def load(path: str | Path, *, limits: Limits = LIMITS) -> dict[str, dict[str, Trace]]:
    """Every trace in a file, by path of the node (names joined by "/") and variable. Raises InvalidData."""
    with opened(Path(path).expanduser(), limits) as (root, groups):
        held = _members(root, groups, 0)
        if "nodes" not in held:
            raise refused("/nodes", "is missing", "give a file of recorded activity; npt.nir.load reads graphs")
        found: dict[str, dict[str, Trace]] = {}
        _read_nodes(held["nodes"], groups, "", 1, found)
        return found


def save(
    path: str | Path, traces: Traces, *, graph: NirGraph | None = None, compression: int | None = 4
) -> None:
    """Write traces so that nir.read_data reads them, whole or not at all.

    graph: whose nodes the paths name, where names have a "/" in them; without it every "/" leads into a nested graph.
    compression: gzip's level, or None. Raises InvalidData, and NotWritten where the disk does not take it.
    """
    parts = {} if graph is None else dict(_named(graph))
    with image() as file:
        file.attrs[TYPE] = GRAPH
        for node, variables in traces.items():
            names = parts.get(node, tuple(node.split("/")) if graph is None else None)
            if names is None:
                raise refused(node, "is no node of the graph", "give the path of a node of it")
            _write_node(_node_group(file, names, node), variables, node, compression)
        put_whole(Path(path).expanduser(), file)


def _named(graph: NirGraph, above: tuple[str, ...] = ()) -> Iterable[tuple[str, tuple[str, ...]]]:
    for name, node in graph.nodes.items():
        yield "/".join((*above, name)), (*above, name)
        if isinstance(node, NirGraph):
            yield from _named(node, (*above, name))


def _node_group(file: Any, names: tuple[str, ...], path: str) -> Any:
    """The group of a node's traces, and those of the graphs around it."""
    group = file
    for name in names[:-1]:
        group = _inside(group, name, GRAPH, path)
    return _inside(group, names[-1], NODE, path)


def _inside(group: Any, name: str, kind: str, path: str) -> Any:
    nodes = group["nodes"] if "nodes" in group else group.create_group("nodes", track_order=True)
    for held in nodes.values():
        if true_name(held) == name:
            if held.attrs[TYPE] != kind or kind == NODE:
                raise refused(path, "is given as a node and as a graph", "give traces of nodes only")
            return held
    return _group(nodes, name, kind)


def _group(group: Any, name: str, kind: str) -> Any:
    written = written_name(name, set(group))
    held = group.create_group(written, track_order=True)
    held.attrs[TYPE] = kind
    if written != name:
        put_mark(held, NAME, name)
    return held


def _write_node(group: Any, variables: Mapping[str, Trace], path: str, compression: int | None) -> None:
    held = group.create_group("observables", track_order=True)
    for name, trace in variables.items():
        kind = DENSE if isinstance(trace, Dense) else EVENTS if trace.values is None else VALUED
        one = _group(held, name, kind)
        one.attrs[SHAPE] = np.array(trace.shape, np.int64)
        stored: dict[str, np.ndarray | None]
        if isinstance(trace, Dense):
            steps, batch = trace.values.shape[:2]
            stored = {"data": np.moveaxis(trace.values, 0, 1).reshape(batch, steps, math.prod(trace.shape))}
            one.attrs["dt"] = float(trace.dt)
        else:
            stored = {"idx": trace.index, "time": trace.times, "value": trace.values}
            one.attrs["n_neurons"], one.attrs["t_max"] = math.prod(trace.shape), float(trace.duration)
        for key, values in stored.items():
            if values is None:
                continue
            if values.dtype.kind not in "biufc":
                raise refused(f"{path}.{name}", f"holds {values.dtype}", "give numbers")
            one.create_dataset(key, data=values, dtype=values.dtype, **packing(values, compression))


def _read_nodes(nodes: Member, groups: Groups, place: str, depth: int, found: dict[str, dict[str, Trace]]) -> None:
    """What a thing is, its members tell: nir's ``__type__`` is a text of a length that HDF5 would believe."""
    for member in _members(nodes, groups, depth).values():
        inside, where = _members(member, groups, depth + 1), f"{place}{member.name}"
        if "nodes" in inside:
            _read_nodes(inside["nodes"], groups, f"{where}/", depth + 2, found)
        elif "observables" in inside:
            variables = _members(inside["observables"], groups, depth + 2)
            found[where] = {name: _read_trace(one, groups, depth + 3) for name, one in variables.items()}
        else:
            raise refused(member.path, "has neither observables nor nodes", EXPORT)


def _members(group: Member, groups: Groups, depth: int) -> dict[str, Member]:
    if not isinstance(group.thing, h5g.GroupID):
        raise refused(group.path, "is no group", EXPORT)
    return {member.name: member for member in groups.members(group.thing, group.path, depth)}


def _read_trace(member: Member, groups: Groups, depth: int) -> Trace:
    budget, held = groups.budget, _members(member, groups, depth)

    def array(name: str, kinds: str, axes: int) -> np.ndarray:
        if name not in held or not isinstance(held[name].thing, h5d.DatasetID):
            raise refused(f"{member.path}/{name}", "is missing", EXPORT)
        values = groups.value(held[name], depth)
        if not isinstance(values, np.ndarray) or values.dtype.kind not in kinds or values.ndim != axes:
            raise refused(held[name].path, f"is no array of numbers with {axes} axes", EXPORT)
        return values

    if "data" in held:
        data, dt = array("data", "biufc", 3), _number(member, "dt", budget)
        shape = _shape(member, data.shape[2], budget)
        if not dt > 0:
            raise refused(f"{member.path}@dt", f"is {dt:g}", "give seconds")
        return Dense(np.moveaxis(data.reshape(*data.shape[:2], *shape), 0, 1), dt)
    index, times = array("idx", "iu", 2), array("time", "f", 2)
    values = array("value", "biufc", 2) if "value" in held else None
    size = int(_number(member, "n_neurons", budget))
    if index.shape != times.shape or (values is not None and values.shape != index.shape):
        raise refused(member.path, "has idx, time and value of different shapes", EXPORT)
    if size < 0 or (index.size and not -1 <= index.min() <= index.max() < size):
        raise refused(f"{member.path}/idx", f"names neurons outside 0 to {size - 1} (-1 for none)", EXPORT)
    if not np.isfinite(times[index >= 0]).all():
        raise refused(f"{member.path}/time", "has events at no finite time", EXPORT)
    return Events(index, times, values, _shape(member, size, budget), _number(member, "t_max", budget))


def _attribute(member: Member, name: str, budget: Budget) -> np.ndarray | None:
    """Numbers of an attribute, None where it is not there."""
    where = f"{member.path}@{name}"
    try:
        if not h5a.exists(member.thing, name.encode()):
            return None
        attribute = h5a.open(member.thing, name.encode())
        if attribute.dtype.kind not in "iuf" or math.prod(attribute.shape) > 64:
            raise refused(where, "is no number", EXPORT)
        value = np.empty(attribute.shape, attribute.dtype)
        attribute.read(value)
    except DAMAGED as error:
        raise damaged(where, error) from None
    return value


def _number(member: Member, name: str, budget: Budget) -> float:
    value = _attribute(member, name, budget)
    if value is None or value.size != 1 or not np.isfinite(value).all():
        raise refused(f"{member.path}@{name}", "is missing or no number", EXPORT)
    return float(value.reshape(()))


def _shape(member: Member, size: int, budget: Budget) -> Shape:
    """The population's shape: as the attribute says it where that fits, else flat."""
    said = _attribute(member, SHAPE, budget)
    if said is not None and said.dtype.kind != "i":
        raise refused(f"{member.path}@{SHAPE}", "holds no whole numbers", "remove this attribute")
    shape = (size,) if said is None else tuple(int(length) for length in said.ravel())
    if math.prod(shape) != size or min(shape, default=0) < 0:
        raise refused(f"{member.path}@{SHAPE}", f"is {shape}, for {size} neurons", "remove this attribute")
    return shape


def _steps(times: np.ndarray, dt: float, up: bool = False) -> np.ndarray:
    """Which step a time lies in; up: how many steps there are until then."""
    if not dt > 0:
        raise InvalidData([Problem("dt", f"is {dt!r}", "give seconds")], "trace")
    ratio = times / dt
    nearest = np.rint(ratio)
    near = np.abs(ratio - nearest) <= NEAR
    return np.asarray(np.where(near, nearest, np.ceil(ratio) if up else np.floor(ratio)), np.int64)
