"""Do two things that should behave alike do so? Files, numerics, engines and recordings, on one input."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroport import api
from neuroport.compare.agreement import needed_for_threshold
from neuroport.engine.base import Engine
from neuroport.errors import InvalidData, Problem, listed
from neuroport.model.graph import Model
from neuroport.model.losses import CrossEntropy
from neuroport.model.numerics import Numerics
from neuroport.nir.divergence import Pair, node_checks
from neuroport.nir.recorded import SPIKES, Recorded, V, is_recording, recorded
from neuroport.nir.verdict import TOLERANCE, Check
from neuroport.program.lower import Program, lower
from neuroport.program.objective import step_of
from neuroport.program.schedule import Stepped

Traces = dict[str, dict[str, np.ndarray]]  # node -> variable -> (T, B, *shape)
TAU = 10e-3  # seconds, of the van Rossum distance


@dataclass(frozen=True, eq=False)
class Network:
    """A side that runs. words: what it is, for the report."""

    model: Model
    parameters: Mapping[str, Any]
    words: str
    engine: str | Engine | None
    device: str | None
    precision: str | None

    @property
    def program(self) -> Program:
        return lower(self.model)


@dataclass(frozen=True, eq=False)
class Ran:
    """What a side did: its traces, what left it by Output node (empty for a recording), its words with the engine."""

    traces: Traces
    outputs: Mapping[str, np.ndarray]
    words: str


def check(
    a: Any, b: Any = None, inputs: Any = None, engine: Any = None, *, numerics: Any = None, dt: Any = None,
    reset: Any = None, device: Any = None, precision: Any = None, node: str | None = None,
    pairs: Mapping[str, str] | None = None, labels: Any = None, tau: float = TAU, tolerance: float = TOLERANCE,
    names: Sequence[str] | None = None,
) -> Check:
    """Run one input through two networks, or hold one network against a recording, and say where they differ.

    a: the path of a .nir file, or (model, parameters). b: another of these; None: ``a`` again, under other
    settings; or a recording: the path of an .npy or .npz file, arrays by node, or nir's graph data, as an object
    or the path of its file. node: whose an array without a name is. inputs: (T, B, *shape), or a dict of them by
    A's Input nodes; None: the "inputs.NODE" of an .npz recording. names: what A and B are called in the report.

    engine, device, precision: as ``npt.run`` takes them. numerics, dt, reset: as ``npt.nir.read`` takes them, for
    paths. Each may be a pair, for A and B: ``engine=("reference", "torch")``.

    Nodes are paired by name, nested ones joined by "/"; signs other than letters and digits do not matter.
    pairs: names of A that are other ones in B. labels: classes (B,), for accuracies: the class is the largest
    sum of the first output over time. tau: of the van Rossum distance, in seconds. tolerance: how far from the
    threshold, as a share of it, the potential of a differing spike may be to count as rounding.
    Raises InvalidData, InvalidModel, UnsupportedModel and the engines' other errors.
    """
    _check_measures(tau, tolerance)
    sides = [dict(zip(("engine", "numerics", "dt", "reset", "device", "precision"), values, strict=True))
             for values in zip(*map(_pair, (engine, numerics, dt, reset, device, precision)), strict=True)]
    called = names or (None, None)
    first = _network(a, "a", sides[0], called[0])
    program = first.program
    other = _second(a, b, sides, called[1])
    held = None if isinstance(other, Network) else recorded(other, first.model.dt, node)
    inputs = _own_inputs(b) if inputs is None else inputs
    theirs = tuple(other.program.neurons) if isinstance(other, Network) else tuple(held or ())
    matched = _matched(tuple(program.neurons), theirs, pairs or {}, strict=held is not None)
    ran = _run(first, inputs, matched)
    if isinstance(other, Network):
        second = _run(other, _renamed(inputs, program, other.program, pairs or {}), matched.values())
    else:
        words = called[1] or f"recording {Path(b).name if isinstance(b, (str, Path)) else 'given'}"
        second = Ran(_shaped(held or {}, matched, ran), {}, words)
    checked = _pairs(program, matched, ran, second, other.program if isinstance(other, Network) else None)
    nodes = node_checks(checked, program, first.parameters, tau)
    steps, samples = next(iter(checked[0].a.values())).shape[:2]
    alone = (_rest(program.neurons, matched) if held is None else (), _rest(theirs, matched.values()))
    right = None if labels is None else _accuracies(program, labels, samples, ran, second, matched)
    return Check((ran.words, second.words), first.model.dt, steps, samples, nodes, alone, right, tolerance)


def _check_measures(tau: float, tolerance: float) -> None:
    problems = []
    if not (np.isfinite(tolerance) and tolerance >= 0):
        problems.append(Problem("tolerance", f"is no share of a threshold (got {tolerance})", "give 0 or more"))
    if not (np.isfinite(tau) and tau > 0):
        problems.append(Problem("tau", f"is no time constant (got {tau})", "give seconds, above zero"))
    if problems:
        raise InvalidData(problems)


def _second(a: Any, b: Any, sides: Sequence[Mapping[str, Any]], name: str | None) -> Any:
    """What stands on the second side: a Network, or a recording as it was given."""
    if b is None:
        if sides[0] == sides[1]:
            mend = "give a second file, a recording, or pairs of settings: engine=(...), numerics=(...)"
            raise InvalidData([Problem("b", "is missing, and both sides would be the same", mend)])
        return _network(a, "b", sides[1], name)
    of_network = not is_recording(b) if isinstance(b, (str, Path)) else _is_network(b)
    return _network(b, "b", sides[1], name) if of_network else b


def _pair(value: Any) -> tuple[Any, Any]:
    """A setting for both sides, or one for each."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            wrong = f"a setting has {len(value)} values (got {value!r:.60})"
            raise InvalidData([Problem("check", wrong, "give one, or two: for A, B")])
        return value[0], value[1]
    return value, value


def _is_network(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Model)


def _network(given: Any, side: str, settings: Mapping[str, Any], name: str | None) -> Network:
    on = [settings[name] for name in ("engine", "device", "precision")]
    if _is_network(given):
        return Network(given[0], given[1], name or "model", *on)
    if not isinstance(given, (str, Path)):
        mend = "give the path of a .nir file, or (model, parameters)"
        raise InvalidData([Problem(side, f"is no network (got {type(given).__name__})", mend)])
    from neuroport.nir.importing import read

    asked = {name: settings[name] for name in ("numerics", "dt", "reset") if settings[name] is not None}
    model, parameters = read(given, **asked)
    said = [f"{what} {_said(value)}" for what, value in asked.items()]
    return Network(model, parameters, name or ", ".join([Path(given).name, *said]), *on)


def _said(value: Any) -> str:
    return "of your own" if isinstance(value, Numerics) else f"{value:g}" if isinstance(value, float) else str(value)


def _own_inputs(recording: Any) -> Any:
    """The inputs that an .npz recording holds."""
    held: dict[str, Any] = {}
    if isinstance(recording, (str, Path)) and Path(recording).suffix.lower() == ".npz":
        from neuroport.data.npz import read_arrays

        held = read_arrays(recording)
    elif isinstance(recording, Mapping):
        held = dict(recording)
    found = {key.removeprefix("inputs."): values for key, values in held.items() if str(key).startswith("inputs.")}
    if not found:
        raise InvalidData([Problem("inputs", "are missing", "give what goes in: (T, B, *shape)")])
    return found


# --- names --------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    """A name's letters and digits."""
    return re.sub(r"[^0-9a-z]+", "_", name.lower())


def _matched(ours: Sequence[str], theirs: Sequence[str], given: Mapping[str, str], strict: bool) -> dict[str, str]:
    """Names of A with those of B, in the order of A. strict: every one of B must find its partner."""
    problems = [Problem(f"pairs.{one}", f"there is no node {name!r} in {side}", f"the nodes are: {listed(known)}")
                for one, two in given.items()
                for name, known, side in ((one, ours, "A"), (two, theirs, "B")) if name not in known]
    exact = {name: name for name in ours if name in theirs and name not in given and name not in given.values()}
    known = {**exact, **given}
    left = [[name for name in names if name not in used] for names, used in ((ours, known), (theirs, known.values()))]
    alike = [Counter(map(_plain, names)) for names in left]  # two of one side that are alike find no partner
    known |= {name: other for name in left[0] for other in left[1]
              if _plain(name) == _plain(other) and all(count[_plain(name)] == 1 for count in alike)}
    found = {name: known[name] for name in ours if name in known}
    lost = [name for name in theirs if name not in found.values()] if strict else []
    problems += [Problem(name, "was recorded, but A has no such node of neurons",
                         f"pair it, pairs={{NAME: {name!r}}}, or leave it out; the nodes are: {listed(ours)}")
                 for name in lost]
    if not found and not problems:
        mend = f"name pairs, such as pairs={{{ours[0]!r}: {theirs[0]!r}}}" if ours and theirs else "give other networks"
        wrong = f"no node has a partner: A has {listed(ours)}, B has {listed(theirs)}"
        problems.append(Problem("pairs", wrong, mend))
    if problems:
        raise InvalidData(problems, "check")
    return found


def _rest(names: Iterable[str], used: Iterable[str]) -> tuple[str, ...]:
    taken = set(used)
    return tuple(name for name in names if name not in taken)


def _renamed(inputs: Any, ours: Program, theirs: Program, given: Mapping[str, str]) -> Any:
    """Inputs by A's names as inputs by B's."""
    if not isinstance(inputs, Mapping) or set(inputs) == set(theirs.inputs):
        return inputs
    if len(ours.inputs) == len(theirs.inputs) == len(inputs) == 1:
        return {next(iter(theirs.inputs)): next(iter(inputs.values()))}
    by_plain = {_plain(name): name for name in theirs.inputs}
    return {given.get(name) or by_plain.get(_plain(name), name): values for name, values in inputs.items()}


# --- running and pairing ------------------------------------------------------------------------


def _run(network: Network, inputs: Any, nodes: Iterable[str]) -> Ran:
    """Spikes of the nodes, what tells their thresholds, and potentials, as far as they have them."""
    program, record = network.program, []
    for name in nodes:
        bound = program.neurons[name]
        needed = (needed_for_threshold(bound, network.parameters) or ()) if bound.neuron.spiking else ()
        wanted = dict.fromkeys((SPIKES, V, *needed))
        record += [(name, what) for what in wanted if what in bound.records]
    found = api.run(network.model, network.parameters, inputs, network.engine, record,
                    device=network.device, precision=network.precision)
    outputs = found.outputs if isinstance(found.outputs, dict) else {next(iter(program.outputs)): found.outputs}
    info = found.info
    words = f"{network.words}, on {info['engine']} ({info['device']}, {info['precision']})"
    return Ran({name: dict(its) for name, its in found.records.items()}, outputs, words)


def _shaped(held: Recorded, matched: Mapping[str, str], ran: Ran) -> Traces:
    """Recordings in the shapes of the run, (T, B, *shape). Raises InvalidData with all that do not fit."""
    problems: list[Problem] = []
    found: Traces = {}
    for name, other in matched.items():
        expected = next(iter(ran.traces[name].values())).shape
        found[other] = {}
        for what, values in held[other].items():
            if values.shape[:2] != expected[:2] or values.size != np.prod(expected):
                mend = f"give {expected}: steps, samples, neurons, as the input has them"
                problems.append(Problem(f"{other}.{what}", f"has shape {values.shape}, the run {expected}", mend))
            else:
                found[other][what] = values.reshape(expected)
    if problems:
        raise InvalidData(problems, "recording")
    return found


def _pairs(
    program: Program, matched: Mapping[str, str], a: Ran, b: Ran, theirs: Program | None
) -> list[Pair]:
    """What is compared, in the order in which a step computes it. Raises InvalidData where shapes differ."""
    order = [name for segment in program.segments if isinstance(segment, Stepped) for name in segment.nodes]
    found = [Pair(name, matched[name], a.traces[name], b.traces[matched[name]], program.neurons[name])
             for name in order if name in matched]
    if theirs is not None and len(program.outputs) == len(theirs.outputs):
        # what leaves a neuron is compared there; other outputs, such as a last Linear's, only here
        found += [Pair(name, other, {V: a.outputs[name]}, {V: b.outputs[other]}, None)
                  for name, other in zip(program.outputs, theirs.outputs, strict=True)
                  if _feeder(program, name) is None]
    problems = []
    for pair in found:
        shapes = {next(iter(side.values())).shape for side in (pair.a, pair.b)}
        if len(shapes) > 1:
            wrong = f"has shape {next(iter(pair.a.values())).shape} in A and {next(iter(pair.b.values())).shape} in B"
            problems.append(Problem(pair.node, wrong, "pair nodes of equal shapes"))
    if problems:
        raise InvalidData(problems, "check")
    return found


def _feeder(program: Program, output: str) -> str | None:
    """The population whose output an Output node shows as it is."""
    edges = program.incoming[output]
    one = len(edges) == 1 and edges[0].source in program.neurons and not edges[0].delay
    return edges[0].source if one else None


def _accuracies(
    program: Program, labels: Any, samples: int, a: Ran, b: Ran, matched: Mapping[str, str]
) -> tuple[float | None, float | None]:
    """Shares of samples that are decided rightly; None for a recording without the readout."""
    wanted = np.asarray(labels)
    if wanted.shape != (samples,) or wanted.dtype.kind not in "iu":
        wrong = f"is no class index a sample (got shape {wanted.shape} of {wanted.dtype})"
        raise InvalidData([Problem("labels", wrong, f"give {samples} whole numbers")])
    name = next(iter(program.outputs))
    feeder = _feeder(program, name)
    traces = b.traces.get(matched.get(feeder or "", ""), {})
    other = next(iter(b.outputs.values())) if b.outputs else traces.get(SPIKES, traces.get(V))
    return _accuracy(program, a.outputs[name], wanted), None if other is None else _accuracy(program, other, wanted)


def _accuracy(program: Program, outputs: np.ndarray, labels: np.ndarray) -> float:
    flat = np.asarray(outputs).reshape(*np.shape(outputs)[:2], -1)
    scores = np.asarray(CrossEntropy(over="sum").scores(flat, step_of(program)))
    return float(np.mean(scores.argmax(1) == labels))
