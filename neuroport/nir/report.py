"""What a NIR file is, and what each platform and engine makes of it: ``npt.nir.info`` and ``neuroport nir info``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroport import registry
from neuroport.engine.base import Engine
from neuroport.errors import InvalidData, NeuroportError, Problem, listed
from neuroport.model.graph import Model
from neuroport.nir import shapes
from neuroport.nir.codec.hdf5 import load
from neuroport.nir.contents import Finding, NirFile, NirGraph, NirNode
from neuroport.nir.findings import TIMES, findings
from neuroport.nir.flat import Flat, flatten, place_delays
from neuroport.nir.from_nir import STATEFUL
from neuroport.nir.importing import imported
from neuroport.nir.platforms import LEVELS, PLATFORMS, Claim, Level, Platform
from neuroport.nir.releases import subtracts
from neuroport.nir.uses import numbers
from neuroport.program.lower import lower
from neuroport.program.needs import needs

if TYPE_CHECKING:
    from rich.console import Group

WIDTH = 100
READ_AS = ("norse", "hard")  # numerics and reset by which an engine's support is judged where a file says none


@dataclass(frozen=True)
class Range:
    """A parameter: its shape, its dtype and the values that it spans; None where they are no finite numbers."""

    shape: tuple[int, ...]
    dtype: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class NodeInfo:
    """A node by its path, nested names joined by "/". into, out: shapes, None where nothing says them."""

    path: str
    type: str
    into: tuple[int, ...] | None
    out: tuple[int, ...] | None
    parameters: dict[str, Range]


@dataclass(frozen=True)
class Point:
    """One thing that a platform does other than the file says, and at which nodes; "" for the graph as a whole."""

    level: Level
    reason: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Support:
    """What a platform or engine makes of the file: the lowest level of all nodes, and why."""

    name: str
    version: str
    level: Level
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Info:
    """A NIR file. reset: what its version of nir meant by one. delays: edges that carry the step which a cycle needs.

    findings: what was mended on reading, and what a reader should know. dt: seconds, as given.
    """

    path: str
    version: str
    reset: str
    dt: float | None
    nodes: tuple[NodeInfo, ...]
    edges: int
    delays: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    platforms: tuple[Support, ...]
    engines: tuple[Support, ...]

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    def report(self) -> str:
        """For people, at most 100 columns wide."""
        from rich.console import Console

        text = StringIO()
        Console(file=text, width=WIDTH, highlight=False).print(screen(self))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def info(path: str | Path, dt: float | None = None) -> Info:
    """What a NIR file holds, what is odd about it, and what platforms and the installed engines make of it.

    dt: the step that it is meant for, in seconds; without one, what depends on it is left out. Raises
    InvalidData where the file cannot be read at all.
    """
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        raise InvalidData([Problem("dt", f"is no time step (got {dt})", "give seconds, above zero")])
    file = load(path)
    return described(file, str(path), dt)


def described(file: NirFile, path: str = "", dt: float | None = None) -> Info:
    """The same of a file that is at hand."""
    graph = file.graph
    flat, unclear = _flat(graph)
    placed = place_delays(flat, lambda name: flat.nodes[name].type == "Delay",
                          lambda name: flat.nodes[name].type in STATEFUL)
    inferred = shapes.infer(graph)
    known = tuple(dict.fromkeys([*file.findings, *unclear, *inferred.findings, *findings(graph, flat, dt)]))
    delays = tuple(edge for edge in flat.edges if edge in placed.delays)
    return Info(
        path, file.version, reset_words(file.version), dt, tuple(_nodes(graph, flat, inferred)), len(flat.edges),
        delays, known, tuple(_on_platform(one, graph, flat, bool(delays), dt) for one in PLATFORMS.values()),
        tuple(_on_engines(file, flat, dt)),
    )


def _flat(graph: NirGraph) -> tuple[Flat, list[Finding]]:
    """The graph without nesting; where its edges do not tell that, its nodes alone, and why."""
    try:
        return flatten(graph), []
    except InvalidData as error:
        nodes = {path: node for path, node in graph.walk() if not isinstance(node, NirGraph)}
        return Flat(nodes, ()), [Finding(problem.path, problem.wrong) for problem in error.problems]


def reset_words(version: str) -> str:
    """What a reset means in files of that version of nir."""
    soft = subtracts(version)
    if soft is None:
        return "the file has no version: ask who wrote it whether a spike subtracts the threshold or resets to v_reset"
    return ("v - v_threshold (the specification until 1.0.5), though writers did either" if soft
            else "to v_reset (the specification since 1.0.6)")


def _nodes(graph: NirGraph, flat: Flat, inferred: shapes.Shapes) -> Iterator[NodeInfo]:
    """In the order in which signals pass; the ends of nested graphs, which only pass on, are left out."""
    held = dict(graph.walk())
    for path in flat.nodes:
        node = held.get(path, flat.nodes[path])
        ranges = {name: _range(node, name) for name in node.fields}
        yield NodeInfo(path, node.type, inferred.into.get(path), inferred.out.get(path),
                       {name: found for name, found in ranges.items() if found is not None})


def _range(node: NirNode, name: str) -> Range | None:
    value = numbers(node, name)
    if value is None:
        return None
    finite = bool(np.isfinite(value).all())
    of_file = np.asarray(node.fields[name])
    return Range(of_file.shape, str(of_file.dtype), float(value.min()) if finite else None,
                 float(value.max()) if finite else None)


# --- platforms and engines ----------------------------------------------------------------------


def _on_platform(platform: Platform, graph: NirGraph, flat: Flat, cyclic: bool, dt: float | None) -> Support:
    points: dict[Claim, list[str]] = {}
    for name, node in flat.nodes.items():
        points.setdefault(platform.node(node, dt), []).append(name)
    for claim in platform.whole(graph, cyclic):
        points.setdefault(claim, []).append("")
    return _support(platform.name, platform.version, points)


def _support(name: str, version: str, points: Mapping[Claim, list[str]]) -> Support:
    level = LEVELS[max((LEVELS.index(claim.level) for claim in points), default=0)]
    said = [Point(claim.level, claim.reason, tuple(nodes)) for claim, nodes in points.items() if claim.reason]
    return Support(name, version, level, tuple(sorted(said, key=lambda point: -LEVELS.index(point.level))))


def _on_engines(file: NirFile, flat: Flat, dt: float | None) -> Iterator[Support]:
    """The installed engines, by their own capabilities."""
    try:
        model, refused = _model(file, flat, dt), {}
    except NeuroportError as error:
        model = None
        refused = {Claim("unsupported", problem.wrong): [problem.path] for problem in getattr(error, "problems", ())}
        refused = refused or {Claim("unsupported", str(error)): [""]}
    known = registry.registry()
    for name in known.names:
        version = next(one.origin.version for one in known.engines if one.info.name == name)
        if model is None:
            yield _support(name, version, refused)
            continue
        try:
            engine = known.engine(name)
        except NeuroportError as error:
            yield _support(name, version, {Claim("unsupported", str(error).splitlines()[0]): [""]})
            continue
        yield _support(name, version, _of_engine(engine, model))


def _of_engine(engine: Engine, model: Model) -> dict[Claim, list[str]]:
    able = engine.capabilities()
    points: dict[Claim, list[str]] = {}
    for gap in able.gaps(needs(lower(model)), model.dt):
        points.setdefault(Claim("unsupported", gap.wrong), []).append(gap.path)
    if points:
        return points
    precision = able.precisions[0]
    if able.weight_bits is not None:
        return {Claim("approximate", f"weights of {able.weight_bits} bits"): [""]}
    bound = "" if precision == "float64" else ", potentials to 1e-5 of those in float64"
    return {Claim("exact", f"{precision}{bound}"): [""]}


def _model(file: NirFile, flat: Flat, dt: float | None) -> Model:
    """The file as a model, under what it says itself or else under Norse's numerics."""
    try:
        return imported(file).model
    except InvalidData:
        taus = [value for node in flat.nodes.values() for name in TIMES if (value := numbers(node, name)) is not None]
        shortest = min((float(tau.min()) for tau in taus), default=1e-3)
        numerics, reset = READ_AS
        return imported(file, numerics, dt if dt is not None else max(shortest, 1e-12), reset).model


# --- for people ---------------------------------------------------------------------------------


def screen(found: Info) -> Group:
    """What a person reads: head, nodes, delays, findings, platforms, engines."""
    from rich.console import Group
    from rich.text import Text

    version = f"nir {found.version}" if found.version else "no version"
    head = [Text(f"{found.path}: {len(found.nodes)} nodes, {found.edges} edges, {version}", style="bold"),
            Text(f"reset: {found.reset}")]
    if found.dt is not None:
        head.append(Text(f"dt: {1e3 * found.dt:g} ms"))
    delays = [Text("")] + [Text(f"cycle: the edge {source} -> {target} carries the delay of one step")
                           for source, target in found.delays]
    return Group(*head, Text(""), _node_table(found), *(delays if found.delays else []), *_findings(found), Text(""),
                 _supports("platform", found.platforms), Text(""), _supports("engine", found.engines))


def _table(*headings: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _node_table(found: Info) -> Any:
    from rich.markup import escape

    table = _table("node", "type", "shape", "parameters")
    for node in found.nodes:
        shape = _shape(node.out) if node.into == node.out else f"{_shape(node.into)} -> {_shape(node.out)}"
        said = [f"{name} {_values(one)}" for name, one in node.parameters.items()
                if not (node.type in ("Input", "Output") and name == "shape")]
        table.add_row(escape(node.path), node.type, shape, escape(", ".join(said)))
    return table


def _shape(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "×".join(map(str, shape)) or "1"


def _values(one: Range) -> str:
    """``(38×12) -0.4 to 0.5``; where all values are equal, that one."""
    size = f"({_shape(one.shape)}) " if np.prod(one.shape, dtype=int) > 1 else ""
    if one.low is None or one.high is None:
        return f"{size}not finite"
    return f"{size}{one.low:.4g}" if one.low == one.high else f"{size}{one.low:.3g} to {one.high:.3g}"


def _findings(found: Info) -> list[Any]:
    from rich.text import Text

    if not found.findings:
        return [Text(""), Text("nothing odd was found", style="green")]
    lines = [Text(f"mended: {one}" if one.repaired else f"! {one}", style="yellow") for one in found.findings]
    return [Text(""), *lines]


STYLES: Mapping[Level, str] = {"exact": "green", "approximate": "yellow", "unsupported": "red"}


def _supports(kind: str, supports: tuple[Support, ...]) -> Any:
    from rich.markup import escape

    table = _table(kind, "", "why")
    table.columns[0].max_width = 24
    for one in supports:
        shown = [point for point in one.points if point.level == one.level]
        why = [f"{_at(point)}{point.reason}" for point in shown]
        table.add_row(f"{escape(one.name)}\n[dim]{escape(one.version)}[/dim]", f"[{STYLES[one.level]}]{one.level}[/]",
                      escape("\n".join(why)))
    return table


def _at(point: Point) -> str:
    named = [name for name in point.nodes if name]
    return f"{listed(named, 3)}: " if named else ""
