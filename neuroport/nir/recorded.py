"""What a platform recorded, as traces by node: arrays, .npy, .npz, and nir's graph data."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.data.npz import read_arrays
from neuroport.dynamics.discretize import Step
from neuroport.errors import InvalidData, Problem, listed

SPIKES, V = "spikes", "v"
# what platforms call the two; anything else that is recorded is passed over
OBSERVABLES = {
    **dict.fromkeys(("spikes", "spike", "spk", "z", "s"), SPIKES),
    **dict.fromkeys(("v", "voltage", "voltages", "membrane", "mem", "v_mem", "u"), V),
}
SUFFIXES = (".npy", ".npz")
Recorded = dict[str, dict[str, np.ndarray]]  # node -> "spikes" or "v" -> (T, B, *shape)


def recorded(given: Any, dt: float, node: str | None = None) -> Recorded:
    """A recording by node, then variable, (T, B, *shape).

    given: the path of an .npy file (one array, whose node is named by ``node``) or of an .npz file (arrays by node,
    or by "node.spikes" and "node.v"); a mapping like that; or an object like ``nir.NIRGraphData``, whose nested
    names are joined by "/". Arrays are (T, N) or (T, B, *shape); those of nir (samples, T, N). dt: seconds, for
    recordings of events. Raises InvalidData.
    """
    if isinstance(given, (str, Path)):
        given = _read(Path(given), node)
    elif isinstance(given, np.ndarray):
        given = {_named(node, "the recording"): given}
    found: Recorded = {}
    for name, what, values in _graph_data(given, Step(dt, "euler")) if hasattr(given, "nodes") else _arrays(given):
        found.setdefault(name, {})[what] = _batched(values, f"{name}.{what}")
    if not found:
        mend = "give arrays (T, N) or (T, B, *shape) by the names of the nodes that were recorded"
        raise InvalidData([Problem("recording", "holds neither spikes nor potentials", mend)])
    return found


def _named(node: str | None, what: str) -> str:
    if node is None:
        raise InvalidData([Problem("node", f"is missing: {what} is one array without a name", "name its node")])
    return node


def _read(path: Path, node: str | None) -> dict[str, np.ndarray]:
    """The arrays of a file; of one array alone, or where ``node`` is given, that node's."""
    if path.suffix.lower() not in SUFFIXES:
        wrong = "is no recording that can be read"
        raise InvalidData([Problem(str(path), wrong, f"give a file that ends in {' or '.join(SUFFIXES)}")])
    if path.suffix.lower() == ".npy":
        return {_named(node, str(path)): read_array(path)}
    arrays = {name: values for name, values in read_arrays(path).items() if values.ndim > 1}
    if node is None or node in arrays or any(name.startswith(f"{node}.") for name in arrays):
        return arrays if node is None else {name: values for name, values in arrays.items()
                                            if name == node or name.startswith(f"{node}.")}
    if len(arrays) != 1:
        mend = f"name one of: {listed(arrays)}"
        raise InvalidData([Problem(f"{path}: {node}", "is missing", mend)])
    return {node: next(iter(arrays.values()))}


def read_array(path: Path) -> np.ndarray:
    """The array of an .npy file. Raises InvalidData."""
    if not path.is_file():
        raise InvalidData([Problem(str(path), "there is no such file", f"the path is taken from {Path.cwd()}")])
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidData([Problem(str(path), f"cannot be read as .npy: {error}", "write it with np.save")]) from None


def _arrays(given: Any) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(given, Mapping):
        wrong = f"is no recording (got {type(given).__name__})"
        mend = "give a path, arrays by node, or nir's graph data"
        raise InvalidData([Problem("recording", wrong, mend)])
    for key, values in given.items():
        name, _, what = str(key).rpartition(".")
        if isinstance(values, Mapping):
            for inner, array in values.items():
                if inner in OBSERVABLES:
                    yield str(key), OBSERVABLES[inner], array
        elif name and what in (SPIKES, V):
            yield name, what, values
        elif not str(key).startswith(("inputs.", "outputs.")):  # as `neuroport simulate --out` names those
            yield str(key), SPIKES, values


def _graph_data(given: Any, step: Step, prefix: str = "") -> Iterator[tuple[str, str, np.ndarray]]:
    """Each observable of nir's graph data, told by its fields, so that nir itself is not needed."""
    for name, node in given.nodes.items():
        if hasattr(node, "nodes"):
            yield from _graph_data(node, step, f"{prefix}{name}/")
            continue
        for what, values in node.observables.items():
            if what.lower() in OBSERVABLES:
                traces = values.data if hasattr(values, "data") else _from_events(values, step)
                yield f"{prefix}{name}", OBSERVABLES[what.lower()], np.moveaxis(np.asarray(traces), 0, 1)


def _from_events(events: Any, step: Step) -> np.ndarray:
    """Events of nir, (samples, events) of neurons and seconds, as counts or values (samples, T, N)."""
    index, time = np.asarray(events.idx), np.asarray(events.time, np.float64)
    found = np.zeros((len(index), step.steps(float(events.t_max)), int(events.n_neurons)))
    # a spike at the beginning of a step may be written a rounding below it
    at = np.floor(np.where(index >= 0, time, 0.0) * (1 + 1e-9) / step.dt + 1e-6).astype(int)
    sample, event = np.nonzero((index >= 0) & (at < found.shape[1]))
    values = np.asarray(events.value)[sample, event] if hasattr(events, "value") else 1.0
    np.add.at(found, (sample, at[sample, event], index[sample, event]), values)
    return found


def _batched(values: Any, path: str) -> np.ndarray:
    """Numbers (T, N) as (T, 1, N)."""
    array = np.asarray(values)
    if array.ndim < 2 or array.dtype.kind not in "buif" or 0 in array.shape:
        wrong = f"is no recording (T, N) or (T, B, *shape) of numbers (got shape {array.shape} of {array.dtype})"
        raise InvalidData([Problem(path, wrong, "give steps first, then the batch if there is one, then neurons")])
    return array[:, None] if array.ndim == 2 else array
