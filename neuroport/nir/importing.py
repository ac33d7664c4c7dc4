"""From a NIR file to a Model and its parameters: what the file says, under numerics that are stated.

Where the file leaves something open (the numerics, dt, what a reset does) and nothing is given, it asks.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem, listed
from neuroport.model.check import delays_input, delays_output, infer_shapes
from neuroport.model.graph import Edge, Model
from neuroport.model.layers import Convolution, Flatten, Linear
from neuroport.model.neurons import CubaLI, CubaLIF, Neuron
from neuroport.model.nodes import Node, Output
from neuroport.model.numerics import Numerics
from neuroport.nir.codec.hdf5 import load
from neuroport.nir.contents import Finding, NirFile, NirNode
from neuroport.nir.extension import extension_of, restored
from neuroport.nir.flat import Flat, flatten, place_delays
from neuroport.nir.from_nir import SPIKING, STATEFUL, TIMED, Reading, Translated, translated
from neuroport.nir.presets import PRESETS, Preset, Reset, custom
from neuroport.nir.quantize import quantized
from neuroport.nir.releases import subtracts
from neuroport.nir.shapes import ELEMENTWISE

Array = np.ndarray
Chosen = str | Numerics | Preset
NO_TIME = 1e-3  # dt of a model in which nothing depends on it
RESETS: dict[Any, Reset] = {"soft": "soft", "subtract": "soft", "hard": "hard", "value": "hard", "none": "none"}


class NirWarning(UserWarning):
    """A file was mended on reading, contradicts itself, or was understood against its letter; where and how."""


@dataclass(frozen=True)
class Imported:
    """A file as a model of ours. findings: what was mended, found not to fit, or decided on the way."""

    model: Model
    parameters: dict[str, Array]
    findings: tuple[Finding, ...] = ()


def read(
    path: str | Path, numerics: Chosen | Mapping[str, Chosen] | None = None, dt: float | None = None,
    reset: str | Mapping[str, str] | None = None, *, time_unit: float = 1.0,
) -> tuple[Model, dict[str, Array]]:
    """A NIR file as (model, parameters by "node.parameter"); nodes keep the file's names, nested ones as "outer/inner".

    numerics: a preset's name (see ``PRESETS``), Numerics of one's own, or either by path of a node or nested
    graph ("" for all the rest). dt: seconds a step. reset: "soft" (the threshold is subtracted) or "hard" (to
    v_reset), or by path like the numerics. Files that neuroport wrote hold all three. time_unit: seconds that one
    unit of the file's times has: 1e-3 where they are milliseconds, ``dt`` where they are steps.
    Warns (NirWarning) of everything that was mended, and of shapes that do not fit together. Raises InvalidData with
    what is missing and the choices.
    """
    found = imported(load(path), numerics, dt, reset, time_unit=time_unit)
    for finding in found.findings:
        warnings.warn(f"{path}: {finding}", NirWarning, stacklevel=2)
    return found.model, found.parameters


def imported(
    file: NirFile, numerics: Chosen | Mapping[str, Chosen] | None = None, dt: float | None = None,
    reset: str | Mapping[str, str] | None = None, *, time_unit: float = 1.0,
) -> Imported:
    """A file's contents as a model; the arguments are those of ``read``."""
    if numerics is None and dt is None and reset is None and extension_of(file.graph) is not None:
        model, parameters = restored(file.graph)
        return Imported(model, _fitting(model, parameters), file.findings)
    flat = flatten(file.graph)
    readings = _readings(file, flat, numerics, dt, reset, time_unit)
    found: dict[str, Translated] = {}
    problems: list[Problem] = []
    for name, node in flat.nodes.items():
        try:
            found[name] = translated(name, node, readings[name])
        except InvalidData as error:
            problems += error.problems
    if problems:
        raise InvalidData(problems, "NIR graph")
    return _assembled(file, flat, found, readings)


def _readings(
    file: NirFile, flat: Flat, numerics: Any, dt: float | None, reset: Any, time_unit: float
) -> dict[str, Reading]:
    """How each node is to be read, by path. Raises InvalidData with every open question."""
    problems: list[Problem] = []
    presets = _by_path("numerics", numerics, flat, problems, _preset)
    resets = _by_path("reset", reset, flat, problems, _reset)
    found, open_resets, open_dt = {}, [], []
    for name, node in flat.nodes.items():
        preset = presets[name]
        chosen = resets[name] or (preset and preset.reset)
        if chosen is None and node.type in SPIKING:
            chosen = "hard" if subtracts(file.version) is False else None
            open_resets += [name] if chosen is None else []
        if preset is None:
            open_dt += [name] if dt is None and node.type in TIMED else []  # asked for together with numerics
            continue
        if dt is None and (node.type in TIMED or (node.type in ("I", "IF") and preset.charge == "second")):
            open_dt.append(name)
        found[name] = Reading(preset, chosen or "soft", dt, time_unit)
    neurons = [name for name, node in flat.nodes.items() if node.type in STATEFUL and presets[name] is None]
    if neurons:
        wrong = f"a file does not say how its equations become steps ({listed(neurons, 4)})"
        mend = f"pass numerics=, one of {', '.join(map(repr, PRESETS))}, or Numerics(...) of your own"
        problems.append(Problem("numerics", wrong, mend))
    if open_resets:
        meant = (f"version {file.version} of nir meant the soft one" if subtracts(file.version)
                 else f"its version is {file.version!r:.60}" if file.version else "the file has no version")
        wrong = f"this file does not say what a spike's reset does ({listed(open_resets, 4)}); {meant}"
        mend = "pass reset='soft' (v - v_threshold) or reset='hard' (to v_reset)"
        decide = [repr(one.name) for one in PRESETS.values() if one.reset] if neurons else []
        mend += f"; these numerics have one of their own: {', '.join(decide)}" if decide else ""
        problems.append(Problem("reset", wrong, mend))
    if open_dt:
        wrong = f"a file does not say how long a step is ({listed(open_dt, 4)})"
        problems.append(Problem("dt", wrong, "pass dt= in seconds, such as dt=1e-4, the step of snnTorch and Norse"))
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        problems.append(Problem("dt", f"is no time step (got {dt})", "give seconds, above zero"))
    if not (np.isfinite(time_unit) and time_unit > 0):
        problems.append(Problem("time_unit", f"is no time (got {time_unit})", "give seconds, 1e-3 for milliseconds"))
    if problems:
        raise InvalidData(problems, "reading of a NIR file")
    stateless = Reading(Preset("none", Numerics(), ""), dt=dt, time_unit=time_unit)
    return {name: found.get(name, stateless) for name in flat.nodes}


def _by_path(what: str, given: Any, flat: Flat, problems: list[Problem], read_one: Any) -> dict[str, Any]:
    """One choice for each node: the one given for the longest part of its path."""
    choices = given if isinstance(given, Mapping) else {"": given}
    found = {}
    for path, choice in choices.items():
        if path and not any(_within(name, path) for name in flat.nodes):
            mend = f"the nodes are {listed(flat.nodes)}; '' stands for all the rest"
            problems.append(Problem(f"{what}[{path!r}]", "is the path of nothing in this file", mend))
        found[path] = read_one(choice, problems)
    return {name: max(((len(path), index, choice) for index, (path, choice) in enumerate(found.items())
                       if _within(name, path)), key=lambda each: each[:2], default=(0, 0, None))[2]
            for name in flat.nodes}


def _within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}/")


def _preset(choice: Any, problems: list[Problem]) -> Preset | None:
    if choice is None or isinstance(choice, Preset):
        return choice
    if isinstance(choice, Numerics):
        return custom(choice)
    if choice not in PRESETS:
        mend = f"give one of {', '.join(map(repr, PRESETS))}, or Numerics(...)"
        problems.append(Problem("numerics", f"there is no preset {choice!r:.60}", mend))
        return PRESETS["norse"]  # to find what else is wrong
    return PRESETS[choice]


def _reset(choice: Any, problems: list[Problem]) -> Reset | None:
    if choice is None:
        return None
    if not isinstance(choice, str) or choice not in RESETS:
        problems.append(Problem("reset", f"there is no reset {choice!r:.60}", "give 'soft', 'hard' or 'none'"))
        return "soft"
    return RESETS[choice]


def _assembled(
    file: NirFile, flat: Flat, found: Mapping[str, Translated], readings: Mapping[str, Reading]
) -> Imported:
    """The model from its parts: delays placed, biases and weights as the platform takes them."""
    findings = list(file.findings)
    nodes = {name: of.node for name, of in found.items()}
    arrays = {name: dict(of.arrays) for name, of in found.items()}
    presets = {name: reading.preset for name, reading in readings.items()}
    base = Numerics()  # every neuron has its own at this point
    flat = place_delays(
        flat, lambda name: delays_output(nodes[name], base) or delays_input(nodes[name], readings[name].dt, base),
        lambda name: isinstance(nodes[name], Neuron), lambda name: presets[name].bias_at_start)
    edges = [Edge(source=source, target=target, delay=max(
        int((source, target) in flat.delays),
        presets[target].hop if isinstance(nodes[target], (Linear, Convolution)) else 0))
        for source, target in flat.edges]
    _constant_biases(flat, nodes, arrays, presets)
    nodes, arrays = quantized(nodes, arrays, flat.edges, {name: preset.weight_bits for name, preset in presets.items()})
    nodes, chosen = _flattens(nodes, edges, flat)
    findings += chosen
    numerics = next((node.numerics for node in nodes.values() if isinstance(node, Neuron) and not node.fixed), None)
    nodes = {name: node.model_copy(update={"numerics": None})
             if isinstance(node, Neuron) and node.numerics == numerics else node for name, node in nodes.items()}
    dt = next((reading.dt for reading in readings.values() if reading.dt is not None), NO_TIME)
    model = Model(nodes=nodes, edges=edges, dt=dt, numerics=numerics or Numerics())
    parameters = {f"{name}.{field}": value for name, own in arrays.items() for field, value in own.items()}
    parameters = _fitting(model, parameters)
    _check_sizes(flat, model)
    return Imported(model, parameters, tuple(findings))


def _constant_biases(
    flat: Flat, nodes: Mapping[str, Node], arrays: dict[str, dict[str, Array]], presets: Mapping[str, Preset]
) -> None:
    """What a synapse settles at under a constant input b is w_in b: that much acts on the membrane at once."""
    for source, target in flat.edges:
        synapse = isinstance(nodes[target], (CubaLIF, CubaLI))
        if synapse and presets[target].constant_bias and "bias" in arrays[source]:
            gain = arrays[target].get("w_in", nodes[target].w_in)  # type: ignore[attr-defined]
            arrays[source]["bias"] = arrays[source]["bias"] * gain


def _flattens(
    nodes: Mapping[str, Node], edges: Sequence[Edge], flat: Flat
) -> tuple[dict[str, Node], list[Finding]]:
    """Each Flatten with the axes that its file meant: some writers count the batch as axis 0, which NIR does not."""
    nodes, findings = dict(nodes), []
    for name, node in list(nodes.items()):
        if not isinstance(node, Flatten) or node.start_dim < 1:
            continue
        wanted = [shape for shape in (_declared(flat.nodes[behind], nodes[behind]) for behind in flat.out_of(name))
                  if shape]
        without_batch = node.model_copy(update={
            "start_dim": node.start_dim - 1, "end_dim": node.end_dim - 1 if node.end_dim > 0 else node.end_dim})
        gives = [infer_shapes({**nodes, name: one}, edges)[0].leaving.get(name) for one in (node, without_batch)]
        if wanted and gives[0] != wanted[0] and gives[1] == wanted[0]:
            nodes[name] = without_batch
            words = f"start_dim={node.start_dim} counts the batch as axis 0: read as {without_batch.start_dim}"
            findings.append(Finding(name, words, repaired=True))
    return nodes, findings


def _declared(node: NirNode, ours: Node) -> tuple[int, ...] | None:
    """The shape that a node expects, where its file says so."""
    if isinstance(ours, Linear) and ours.in_features:
        return (ours.in_features,)
    if isinstance(ours, Output) and node.fields.get("shape") is not None:
        return tuple(int(size) for size in np.atleast_1d(node.fields["shape"]))
    return None


def _fitting(model: Model, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters in the model's order and shapes. Raises InvalidData for those that do not fit."""
    problems, found = [], {}
    for name, spec in model.parameters.items():
        value = np.asarray(parameters[name])
        if value.size != np.prod(spec.shape, dtype=int):
            wrong = f"has shape {value.shape}, what reaches this node asks for {spec.shape}"
            problems.append(Problem(name, wrong, "mend the export: parameters have the shape of their node"))
        else:
            found[name] = value.reshape(spec.shape).copy()
    if problems:
        raise InvalidData(problems, "NIR graph")
    return found


def _check_sizes(flat: Flat, model: Model) -> None:
    """That what a file gives by neuron is for as many as reach it: equal values became one number, of no shape."""
    problems = []
    for name, node in flat.nodes.items():
        reached = model.shapes[name]
        for field in ELEMENTWISE.get(node.type, ()):
            held = node.fields.get(field)
            shape = () if held is None else np.shape(held)
            if np.prod(shape, dtype=int) in (1, np.prod(reached, dtype=int)):
                continue
            fits = len(shape) == len(reached) and all(own in (1, one) for own, one in zip(shape, reached, strict=True))
            if not fits:
                wrong = f"has shape {shape}, what reaches this node asks for {reached}"
                problems.append(Problem(f"{name}.{field}", wrong, "mend the export: a population has one size"))
    if problems:
        raise InvalidData(problems, "NIR graph")
