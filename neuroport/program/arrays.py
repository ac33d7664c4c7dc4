"""Whether arrays fit a program: inputs, parameters, states, targets, records. All problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from neuroport.errors import InvalidData, Problem, listed
from neuroport.model.losses import Loss
from neuroport.model.values import Bound
from neuroport.program.lower import Program

Records = tuple[tuple[str, str], ...]


class Given(NamedTuple):
    """Checked arrays. inputs: (T, B, *shape) by Input node. state: None for zeros. targets: as a loss takes them."""

    inputs: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    state: dict[str, Any] | None
    record: Records
    batch: int
    targets: np.ndarray


def check_run(
    program: Program, parameters: Any, inputs: Any, state: Any = None, record: Any = (),
    targets: Any = None, loss: Loss | None = None,
) -> Given:
    """Everything that a run is given, checked against the program. Raises InvalidData."""
    problems: list[Problem] = []
    fed = _inputs(program, inputs, problems)
    steps, batch = next((value.shape[:2] for value in fed.values()), (None, None))
    held = _parameters(program, parameters, problems)
    kept = None if state is None else _state(program, state, batch, problems)
    wanted = _records(program, record, problems)
    wanted_targets = np.zeros(0) if loss is None else _targets(program, targets, loss, steps, batch, problems)
    if problems:
        raise InvalidData(problems)
    assert batch is not None
    return Given(fed, held, kept, wanted, batch, wanted_targets)


def check_parameters(program: Program, parameters: Any) -> dict[str, np.ndarray]:
    """Parameters by "node.parameter", checked. Raises InvalidData."""
    problems: list[Problem] = []
    held = _parameters(program, parameters, problems)
    if problems:
        raise InvalidData(problems, "parameters")
    return held


def _array(value: Any, path: str, problems: list[Problem]) -> np.ndarray | None:
    """Numbers as an array, all of them finite; or a problem."""
    try:
        array = np.asarray(value)
    except Exception as error:
        problems.append(Problem(path, f"is no array ({error})", "give a NumPy array of numbers"))
        return None
    if array.dtype.kind not in "buif":
        problems.append(Problem(path, f"holds {array.dtype}, no numbers", "give a NumPy array of numbers"))
        return None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        first = tuple(int(index) for index in bad[0])
        problems.append(Problem(path, f"holds {len(bad)} values that are NaN or infinite, the first at {first}",
                                "replace or remove them"))
        return None
    return array


def _inputs(program: Program, inputs: Any, problems: list[Problem]) -> dict[str, np.ndarray]:
    expected = program.inputs
    if not isinstance(inputs, Mapping):
        if len(expected) > 1:
            mend = f"give a dict of arrays by name: {listed(expected)}"
            problems.append(Problem("inputs", f"is one array, the model has {len(expected)} inputs", mend))
            return {}
        inputs = {next(iter(expected)): inputs}
    problems += _misnamed("inputs", inputs, expected, "Input")
    found = {}
    for name, shape in expected.items():
        if name not in inputs:
            continue
        path = f"inputs.{name}" if len(expected) > 1 else "inputs"
        array = _array(inputs[name], path, problems)
        if array is None:
            continue
        words = f"(T, B, {', '.join(map(str, shape))})"
        if array.ndim != 2 + len(shape) or array.shape[2:] != shape:
            mend = f"give {words}: time first, then the batch"
            if array.ndim == 1 + len(shape) and array.shape[1:] == shape:
                mend += "; x[:, None] makes a batch of one"
            problems.append(Problem(path, f"has shape {array.shape}, expected {words}", mend))
        elif 0 in array.shape[:2]:
            wrong = f"has shape {array.shape}: {'no steps' if array.shape[0] == 0 else 'no samples'}"
            problems.append(Problem(path, wrong, "give at least one step and one sample"))
        else:
            found[name] = array
    leading = {name: array.shape[:2] for name, array in found.items()}
    if len(set(leading.values())) > 1:
        wrong = f"steps and batches (T, B) differ: {listed(f'{name} {size}' for name, size in leading.items())}"
        problems.append(Problem("inputs", wrong, "give every input the same T and B"))
    return found


def _misnamed(what: str, given: Mapping[Any, Any], expected: Iterable[str], kind: str) -> list[Problem]:
    """Names that are missing, and names that nothing asks for."""
    names = list(expected)
    unknown = [str(name) for name in given if name not in names]
    missing = [name for name in names if name not in given]
    found = []
    for name in unknown:
        close = difflib.get_close_matches(name, names, 1)
        mend = f"did you mean {close[0]!r}?" if close else f"remove it; expected: {listed(names)}"
        found.append(Problem(f"{what}.{name}", f"the model has no {kind} of that name", mend))
    for name in missing:
        found.append(Problem(f"{what}.{name}", "is missing", f"add it under the key {name!r}"))
    return found


def _parameters(program: Program, parameters: Any, problems: list[Problem]) -> dict[str, np.ndarray]:
    if not isinstance(parameters, Mapping):
        wrong = f"is no dict of arrays (got {type(parameters).__name__})"
        problems.append(Problem("parameters", wrong, "give what npt.init(model, seed) returns, or a trained run's"))
        return {}
    problems += _misnamed("parameters", parameters, program.parameters, "parameter")
    found = {}
    for name, spec in program.parameters.items():
        if name not in parameters:
            continue
        array = _array(parameters[name], f"parameters.{name}", problems)
        if array is None:
            continue
        if array.shape != spec.shape:
            mend = f"give shape {spec.shape}; npt.init(model, seed) gives arrays that fit"
            problems.append(Problem(f"parameters.{name}", f"has shape {array.shape}, expected {spec.shape}", mend))
        elif spec.bound is Bound.TIME and not (array > 0).all():
            problems.append(Problem(f"parameters.{name}", "holds a time constant that is not positive", "give seconds"))
        elif spec.bound is Bound.DECAY and not ((array >= 0) & (array <= 1)).all():
            problems.append(Problem(f"parameters.{name}", "holds a decay outside [0, 1]", "give decays per step"))
        else:
            found[name] = array
    return found


def _state(program: Program, state: Any, batch: int | None, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(state, Mapping):
        wrong = f"is no dict of arrays (got {type(state).__name__})"
        problems.append(Problem("state", wrong, "give .state of the run before, or None to start from zeros"))
        return {}
    problems += _misnamed("state", state, program.state, "state")
    found = {}
    for name, (shape, line) in program.state.items():
        if name not in state:
            continue
        array = _array(state[name], f"state.{name}", problems)
        if array is None:
            continue
        expected = (shape[0], batch, *shape[1:]) if line else (batch, *shape)
        if batch is not None and array.shape != expected:
            mend = "give .state of a run of the same model and batch size, or None"
            problems.append(Problem(f"state.{name}", f"has shape {array.shape}, expected {expected}", mend))
        found[name] = array
    return found


def recordable(program: Program) -> dict[str, tuple[str, ...]]:
    """What can be recorded, by node: spikes, v, v_pre and the other states."""
    return {name: bound.records for name, bound in program.neurons.items()}


def _records(program: Program, record: Any, problems: list[Problem]) -> Records:
    """Pairs (node, variable) of "node.variable", "node", "variable" or (node, variable)."""
    known = recordable(program)
    mend = f"what can be recorded: {listed(f'{node}.{what}' for node in known for what in known[node])}"
    items = [record] if isinstance(record, str) else record
    if not isinstance(items, Sequence):
        problems.append(Problem("record", f"is no list (got {record!r:.60})", mend))
        return ()
    found: list[tuple[str, str]] = []
    for item in items:
        pairs = _pairs(item, known)
        if not pairs:
            problems.append(Problem("record", f"{item!r:.60} is nothing that the model has", mend))
        found += pairs
    return tuple(dict.fromkeys(found))


def _pairs(item: Any, known: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    if isinstance(item, str) and item in known:
        return [(item, what) for what in known[item]]
    if isinstance(item, str) and "." not in item:
        return [(node, item) for node, variables in known.items() if item in variables]
    node, what = item.rsplit(".", 1) if isinstance(item, str) else tuple(item) if _is_pair(item) else ("", "")
    return [(node, what)] if what in known.get(node, ()) else []


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(part, str) for part in item)


def _targets(
    program: Program, targets: Any, loss: Loss, steps: int | None, batch: int | None, problems: list[Problem]
) -> np.ndarray:
    """Class indices (B,), or traces with their neuron axes as one (T, B, C)."""
    array = _array(targets, "targets", problems)
    if array is None:
        return np.zeros(0)
    judged = loss.output or next(iter(program.outputs))
    shape = program.outputs[judged]
    expected: tuple[Any, ...] = ("T" if steps is None else steps, "B" if batch is None else batch, *shape)
    if loss.targets == "traces":
        if array.ndim != len(expected) or (steps is not None and array.shape != expected):
            words = f"({', '.join(map(str, expected))})"
            problems.append(Problem("targets", f"has shape {array.shape}, expected {words}",
                                    f"{type(loss).__name__} compares {judged!r} with a trace for each sample"))
            return np.zeros(0)
        return array.reshape(*array.shape[:2], -1)
    if array.ndim != 1 or (batch is not None and len(array) != batch):
        wrong = f"has shape {array.shape}, expected ({expected[1]},)"
        problems.append(Problem("targets", wrong, "give one class index a sample"))
    elif array.dtype.kind not in "ui":
        problems.append(Problem("targets", f"holds {array.dtype}, no class indices", "give integers (B,)"))
    elif array.min() < 0 or array.max() >= shape[0]:
        wrong = f"holds classes {array.min()} to {array.max()}, {judged!r} has {shape[0]}"
        problems.append(Problem("targets", wrong, f"give classes 0 to {shape[0] - 1}, or a wider output"))
    return array
