"""What a platform recorded, as traces by node: arrays, .npy, .npz, and nir's graph data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.data.npz import read_array, read_arrays
from neuroport.errors import InvalidData, Problem, listed
from neuroport.nir import traces

SPIKES, V = "spikes", "v"
# what platforms call the two; anything else that is recorded is passed over
OBSERVABLES = {
    **dict.fromkeys(("spikes", "spike", "spk", "z", "s"), SPIKES),
    **dict.fromkeys(("v", "voltage", "voltages", "membrane", "mem", "v_mem", "u"), V),
}
SUFFIXES = (".npy", ".npz")  # beside HDF5, which holds networks too
Recorded = dict[str, dict[str, np.ndarray]]  # node -> "spikes" or "v" -> (T, B, *shape)


def recorded(given: Any, dt: float, node: str | None = None) -> Recorded:
    """A recording by node, then variable, (T, B, *shape).

    given: the path of an .npy file (one array, whose node is named by ``node``), of an .npz file (arrays by node, or
    by "node.spikes" and "node.v"), or of an HDF5 file of nir's graph data; an array, a mapping like that, or an object
    like ``nir.NIRGraphData``. Arrays are (T, N) or (T, B, *shape). dt: seconds, the step that recordings of events
    are put into, and that others must have. Raises InvalidData.
    """
    if isinstance(given, (str, Path)):
        given = _read(Path(given), node, dt)
    elif isinstance(given, np.ndarray):
        given = {_named(node, "the recording"): given}
    elif hasattr(given, "nodes"):
        given = traces.arrays(_graph_data(given), dt)
    found: Recorded = {}
    for name, what, values in _arrays(given):
        found.setdefault(name, {})[what] = _batched(values, f"{name}.{what}")
    if not found:
        mend = "give arrays (T, N) or (T, B, *shape) by the names of the nodes that were recorded"
        raise InvalidData([Problem("recording", "holds neither spikes nor potentials", mend)])
    return found


def _named(node: str | None, what: str) -> str:
    if node is None:
        raise InvalidData([Problem("node", f"is missing: {what} is one array without a name", "name its node")])
    return node


def is_recording(path: str | Path) -> bool:
    """Whether a file holds recorded activity, and not a network."""
    if Path(path).suffix.lower() in SUFFIXES:
        return True
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "nodes" in file and "node" not in file  # by its members: an attribute may claim any length
    except (OSError, ValueError):
        return False


def _read(path: Path, node: str | None, dt: float) -> Any:
    """The arrays of a file; of one array alone, or where ``node`` is given, that node's."""
    if path.suffix.lower() not in SUFFIXES:
        held = traces.arrays(traces.load(path), dt)
        return held if node is None else {name: its for name, its in held.items() if name == node}
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


def _arrays(given: Any) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(given, Mapping):
        wrong = f"is no recording (got {type(given).__name__})"
        mend = "give a path, arrays by node, or nir's graph data"
        raise InvalidData([Problem("recording", wrong, mend)])
    for key, values in given.items():
        name, _, what = str(key).rpartition(".")
        if isinstance(values, Mapping):
            for inner, array in values.items():
                if str(inner).lower() in OBSERVABLES:
                    yield str(key), OBSERVABLES[str(inner).lower()], array
        elif name and what in (SPIKES, V):
            yield name, what, values
        elif not str(key).startswith(("inputs.", "outputs.")):  # as `neuroport simulate --out` names those
            yield str(key), SPIKES, values


def _graph_data(given: Any, prefix: str = "") -> traces.Traces:
    """nir's graph data as traces, told by their fields, so that nir itself is not needed."""
    found: dict[str, dict[str, traces.Trace]] = {}
    for name, node in given.nodes.items():
        if hasattr(node, "nodes"):
            found.update({path: dict(held) for path, held in _graph_data(node, f"{prefix}{name}/").items()})
        else:
            found[f"{prefix}{name}"] = {what: _trace(values) for what, values in node.observables.items()}
    return found


def _trace(values: Any) -> traces.Trace:
    if hasattr(values, "data"):
        return traces.Dense(np.moveaxis(np.asarray(values.data), 0, 1), float(values.dt))
    amounts = np.asarray(values.value) if hasattr(values, "value") else None
    return traces.Events(np.asarray(values.idx), np.asarray(values.time, np.float64), amounts, (int(values.n_neurons),),
                         float(values.t_max))


def _batched(values: Any, path: str) -> np.ndarray:
    """Numbers (T, N) as (T, 1, N)."""
    array = np.asarray(values)
    if array.ndim < 2 or array.dtype.kind not in "buif" or 0 in array.shape:
        wrong = f"is no recording (T, N) or (T, B, *shape) of numbers (got shape {array.shape} of {array.dtype})"
        raise InvalidData([Problem(path, wrong, "give steps first, then the batch if there is one, then neurons")])
    return array[:, None] if array.ndim == 2 else array
