"""From a Model and its parameters to a NIR file that others can read and we read back whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.dynamics.discretize import Step
from neuroport.errors import InvalidData, Problem
from neuroport.model.graph import Model
from neuroport.model.nodes import Misfit
from neuroport.nir.codec.hdf5 import save
from neuroport.nir.contents import Finding, NirFile, NirGraph, NirNode
from neuroport.nir.extension import of_graph, of_node
from neuroport.nir.flat import flatten, place_delays
from neuroport.nir.from_nir import SPIKING
from neuroport.nir.platforms import PLATFORMS
from neuroport.nir.presets import PRESETS, Preset
from neuroport.nir.releases import WRITTEN
from neuroport.nir.suiting import nested, suited
from neuroport.nir.to_nir import Writing, standard_node, unsaid
from neuroport.program.arrays import check_parameters
from neuroport.program.lower import Program, lower
from neuroport.program.schedule import Stepped


def write(
    path: str | Path, model: Model, parameters: Mapping[str, Any], *, numerics: str | Preset | None = None,
    strict: bool = False,
) -> tuple[Finding, ...]:
    """Write a model and its parameters as a NIR file, whole or not at all; ``read`` gives both back bit by bit.

    numerics: the preset by which the file will be read elsewhere, so that time constants are written under which
    that platform takes our steps, in the form that its importer understands (see ``suiting``); None: the model's own
    time constants. Where a platform knows one dt alone, times are scaled so that our steps are its steps. strict:
    refuse what NIR's standard cannot say (a subtractive reset, an adaptive threshold, ...) in place of putting it into
    the file's metadata. Returns what only the metadata say, and of a platform which resets it has not and what its
    importer refuses or leaves out; what it runs otherwise than the file says is told by ``info``. Raises InvalidData,
    NotWritten.
    """
    file = exported(model, parameters, numerics=numerics, strict=strict)
    save(path, file)
    return file.findings


def exported(
    model: Model, parameters: Mapping[str, Any], *, numerics: str | Preset | None = None, strict: bool = False
) -> NirFile:
    """The contents that ``write`` writes; findings: what only the metadata say."""
    program = lower(model)
    held = check_parameters(program, parameters)
    preset = _preset(numerics)
    target = None if preset is None else Step(preset.dt or model.dt, preset.numerics.discretization)
    charge = "step" if preset is None else preset.charge
    problems: list[Problem] = []
    nodes: dict[str, NirNode] = {}
    findings: list[Finding] = []
    own = {name: {full.rsplit(".", 1)[1]: value for full, value in held.items() if full.rsplit(".", 1)[0] == name}
           for name in model.nodes}
    for name in model.nodes:
        try:
            nodes[name] = standard_node(Writing(program, name, own[name], target, charge))
        except Misfit as misfit:
            problems.append(misfit.problem.under(name))
            continue
        findings += [Finding(name, f"{words}: said in the metadata alone") for words in unsaid(program, name)]
    mend = "change the model, or write with strict=False: the metadata then say it"
    problems += [Problem(finding.path, finding.words.split(":")[0] + ", which NIR cannot say", mend)
                 for finding in findings if strict]
    if problems:
        raise InvalidData(problems, "model for a NIR file")
    graph = _linked(program, nodes, target or Step(model.dt, "euler"))
    if preset is not None and target is not None:
        findings += _other_resets(program, preset, nodes)
        graph = suited(graph, preset, target.dt, early={edge.target for edge in model.edges if edge.delay})
    described = {name: replace(graph.nodes[name], metadata=of_node(
        node.model_dump(mode="json"), graph.nodes[name], own[name])) for name, node in model.nodes.items()}
    graph = replace(graph, nodes={**graph.nodes, **described})
    if preset is not None and preset.nests:
        graph = nested(graph)
    if preset is not None and target is not None:
        findings += _refusals(graph, preset, target.dt)
    return NirFile(replace(graph, metadata=of_graph(model, graph)), WRITTEN, tuple(findings))


def _refusals(graph: NirGraph, preset: Preset, dt: float) -> list[Finding]:
    """What the platform that will read the file refuses, drops or fails at, as the table of platforms has it."""
    platform = PLATFORMS.get(preset.name)
    if platform is None:
        return []
    flat = flatten(graph)
    claims = [(name, platform.node(node, dt)) for name, node in flat.nodes.items()]
    cyclic = bool(place_delays(flat, lambda name: False, lambda name: True).delays)
    claims += [("", claim) for claim in platform.whole(graph, cyclic)]
    return [Finding(name, f"{preset.name}: {claim.reason}") for name, claim in claims if claim.level == "unsupported"]


def _other_resets(program: Program, preset: Preset, nodes: Mapping[str, NirNode]) -> list[Finding]:
    """Neurons whose resets the platform that will read the file has not."""
    found = []
    for name in nodes.keys() & program.neurons.keys():
        ours = program.neurons[name].numerics.reset
        if nodes[name].type not in SPIKING:
            continue
        if preset.reset not in (None, ours):
            found.append(Finding(name, f"its reset is {ours}, in {preset.name} it is {preset.reset}"))
        elif ours == "hard" and preset.resets_to_zero and np.any(nodes[name].fields["v_reset"]):
            found.append(Finding(name, f"{preset.name} resets to 0, whatever v_reset says"))
    return sorted(found, key=lambda finding: finding.path)


def _preset(numerics: Any) -> Preset | None:
    """The platform that will read the file."""
    if numerics is None:
        return None
    preset = PRESETS.get(numerics) if isinstance(numerics, str) else numerics
    if not isinstance(preset, Preset):
        mend = f"give one of {', '.join(map(repr, PRESETS))}"
        raise InvalidData([Problem("numerics", f"there is no preset {numerics!r:.60}", mend)], "NIR export")
    return preset


def _linked(program: Program, nodes: dict[str, NirNode], step: Step) -> NirGraph:
    """The graph with its edges; a delay is a node on its way, but for the one step that closes a cycle."""
    edges = [(edge.source, edge.target) for edge in program.model.edges]
    bare = NirGraph(nodes=nodes, edges=tuple(edges))
    implied = _implied(program, bare)
    linked: list[tuple[str, str]] = []
    nodes = dict(nodes)
    for edge in program.model.edges:
        if not edge.delay or (edge.source, edge.target) in implied:
            linked.append((edge.source, edge.target))
            continue
        name = _free(f"delay_{edge.source}_{edge.target}", nodes)
        seconds = np.full(program.leaving[edge.source], edge.delay * step.dt, np.float32)
        nodes[name] = NirNode("Delay", {"delay": seconds})
        linked += [(edge.source, name), (name, edge.target)]
    return NirGraph(nodes=nodes, edges=tuple(linked))


def _implied(program: Program, bare: NirGraph) -> frozenset[tuple[str, str]]:
    """Edges of cycles whose one step every reader supplies by itself, where those are the delays that we have."""
    keys = {wire.key for segment in program.segments if isinstance(segment, Stepped) for wire in segment.internal}
    inner = [edge for edge in program.model.edges if edge.key in keys]
    ours = {(edge.source, edge.target) for edge in inner if edge.delay}
    if any(edge.delay > 1 for edge in inner):
        return frozenset()
    flat = flatten(bare)
    # the bias of a recurrent connection acts from the first step on, or does not
    ways: list[Callable[[str], bool]] = [lambda name: True, lambda name: False]
    for early in ways:
        placed = place_delays(flat, lambda name: bare.nodes[name].type == "Delay",
                              lambda name: name in program.neurons, early).delays
        if placed == ours:
            return placed
    return frozenset()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    return found
