"""Membrane potentials of a few neurons, with the threshold they were compared with and their spikes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem, listed
from neuroport.model.graph import Model
from neuroport.pictures.batch import of_sample
from neuroport.pictures.palette import BLACK, BLUE, FINE, SMALL, VERMILION, canvas, headed, shape_text, tidy
from neuroport.program import thresholds
from neuroport.program.arrays import check_parameters
from neuroport.program.bound import BoundNeuron
from neuroport.program.lower import lower

MOST_ACTIVE = 4
POTENTIAL, THRESHOLD, SPIKE = "membrane potential", "threshold", "spike"


def membranes(
    model: Model, parameters: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], node: str,
    neurons: Sequence[int | tuple[int, ...]] | None = None, sample: int = 0, figure: Any = None,
    state: Mapping[str, Any] | None = None, title: str = "",
) -> Any:
    """The potential of some neurons of the population ``node``, a panel each, with threshold and spikes.

    records: of ``npt.run(..., record=[node])``; all that is read of them is v, v_pre, spikes and what
    an adaptive threshold depends on. parameters: those of that run. The curve visits the potential
    before the reset and after it at each step, so that a reset is a vertical line. neurons: indices
    into the population, flat or one a dimension; the most active of the sample where not given.
    sample: which of the batch. state: as the run was given it, (B, *shape) by "node.variable"; zeros
    where not given. title: which sample of what it is. Raises InvalidData that names what to record.
    """
    bound = _bound(model, node)
    parameters = check_parameters(lower(model), parameters)
    reads = thresholds.reads(bound, parameters) if bound.neuron.spiking else frozenset()
    seen = _recorded(bound, records.get(node, {}), _needed(bound, reads), sample)
    chosen = _most_active(bound, seen) if neurons is None else [_flat_index(bound, one) for one in neurons]
    if not chosen:
        raise InvalidData([Problem("neurons", "name no neuron", "leave them out for the most active ones")])
    theta, label = _threshold(bound, parameters, reads, seen, state or {}, sample)
    figure = canvas(figure, 6, 1 + 1.5 * len(chosen))
    axes = np.atleast_1d(figure.subplots(len(chosen), 1, sharex=True))
    milliseconds = 1e3 * model.dt
    for axis, index in zip(axes, chosen, strict=True):
        own = {name: values.reshape(len(values), -1)[:, index] for name, values in seen.items()}
        crossed = None if theta is None else theta.reshape(len(theta), -1)[:, index]
        _panel(tidy(axis), own, crossed, label, milliseconds)
        axis.set_title(_title(bound, index, own), fontsize=SMALL, loc="left", pad=3)
    figure.supylabel(f"potential of {node} (the model's unit)", fontsize=SMALL)
    axes[-1].set_xlabel("time (ms)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False,
                  fontsize=FINE)
    return headed(figure, title)


def _bound(model: Model, node: str) -> BoundNeuron:
    populations = lower(model).neurons
    if node not in populations:
        wrong = f"{node!r} is no population of neurons"
        raise InvalidData([Problem("node", wrong, f"the populations are: {listed(populations)}")])
    return populations[node]


def _needed(bound: BoundNeuron, reads: frozenset[str]) -> tuple[str, ...]:
    """Names of the variables that the picture reads. reads: what the threshold depends on."""
    if not bound.neuron.spiking:
        return ("v",)
    states = bound.neuron.state if thresholds.INPUT in reads else sorted(reads & set(bound.neuron.state))
    return tuple(dict.fromkeys(("v", thresholds.BEFORE_RESET, "spikes", *states)))


def _recorded(
    bound: BoundNeuron, records: Mapping[str, Any], needed: Iterable[str], sample: int
) -> dict[str, np.ndarray]:
    """What is needed of one sample, (T, *shape) by variable."""
    missing = [name for name in needed if name not in records]
    if missing:
        wrong = f"hold no {' and no '.join(missing)}"
        mend = f'call npt.run(..., record=["{bound.name}"]) and give its .records'
        raise InvalidData([Problem(f"records[{bound.name!r}]", wrong, mend)])
    found = {name: of_sample(records[name], sample, f"records[{bound.name!r}][{name!r}]") for name in needed}
    for name, values in found.items():
        if values.shape[1:] != bound.shape:
            wrong = f"has shape {values.shape[1:]} after time and batch, the population has {bound.shape}"
            raise InvalidData([Problem(f"records[{bound.name!r}][{name!r}]", wrong, "give the records of this model")])
    return found


def _threshold(
    bound: BoundNeuron, parameters: Mapping[str, Any], reads: frozenset[str], seen: Mapping[str, np.ndarray],
    state: Mapping[str, Any], sample: int,
) -> tuple[np.ndarray | None, str]:
    """The threshold at each step, (T, *shape), and what to call it; None where nothing is compared."""
    if not bound.neuron.spiking:
        return None, ""
    if thresholds.INPUT in reads:  # which no record holds
        return thresholds.after_the_step(bound, parameters, seen), f"{THRESHOLD} after the step"
    start = {field: np.asarray(state[f"{bound.name}.{field}"])[sample]
             for field in bound.neuron.state if f"{bound.name}.{field}" in state}
    return thresholds.compared_with(bound, parameters, seen, start), THRESHOLD


def _most_active(bound: BoundNeuron, seen: Mapping[str, np.ndarray]) -> list[int]:
    """Those that spike most; where none can, those whose potential moves most. By index."""
    activity = seen["spikes"].sum(0) if bound.neuron.spiking else np.ptp(seen["v"], axis=0)
    return sorted(np.argsort(-activity.reshape(-1), kind="stable")[:MOST_ACTIVE].tolist())


def _flat_index(bound: BoundNeuron, neuron: int | tuple[int, ...]) -> int:
    index = (neuron,) if isinstance(neuron, (int, np.integer)) else tuple(neuron)
    shape = (int(np.prod(bound.shape)),) if len(index) == 1 else bound.shape
    try:
        return int(np.ravel_multi_index(index, shape))
    except ValueError:
        wrong = f"there is no neuron {neuron}, the population {bound.name!r} has shape {shape_text(bound.shape)}"
        mend = f"give numbers from 0 to {int(np.prod(bound.shape)) - 1}, or one index a dimension"
        raise InvalidData([Problem("neurons", wrong, mend)]) from None


def _panel(
    axis: Any, own: Mapping[str, np.ndarray], threshold: np.ndarray | None, label: str, milliseconds: float
) -> None:
    """One neuron: potential, threshold and, in a strip above, spikes. own: (T,) by variable."""
    times = np.arange(len(own["v"])) * milliseconds
    before = own.get(thresholds.BEFORE_RESET, own["v"])
    potential = np.stack([before, own["v"]], 1).reshape(-1)
    axis.plot(np.repeat(times, 2), potential, color=BLUE, linewidth=1, label=POTENTIAL, rasterized=len(times) > 10_000)
    if threshold is None:
        return
    axis.plot(times, threshold, color=VERMILION, linestyle="--", linewidth=1, label=label)
    low, high = min(potential.min(), threshold.min()), max(potential.max(), threshold.max())
    margin = 0.05 * (high - low) or 1.0
    axis.set_ylim(low - margin, high + 5 * margin)
    spikes = np.nonzero(own["spikes"])[0]
    axis.scatter(times[spikes], np.full(len(spikes), high + 3 * margin), marker="|", s=36, color=BLACK, linewidths=1.1,
                 label=SPIKE)


def _title(bound: BoundNeuron, index: int, own: Mapping[str, np.ndarray]) -> str:
    place = index if len(bound.shape) < 2 else tuple(int(one) for one in np.unravel_index(index, bound.shape))
    if not bound.neuron.spiking:
        return f"neuron {place}"
    count = int(own["spikes"].sum())
    return f"neuron {place}: {count} spike{'' if count == 1 else 's'}"
