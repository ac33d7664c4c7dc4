"""How two runs differ: node by node, spike by spike, each with its distance from the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from neuroport.compare.agreement import VOLTAGES, FirstDifference, from_threshold, relative_distance
from neuroport.model.losses import VanRossum
from neuroport.program.bound import BoundNeuron
from neuroport.program.lower import Program
from neuroport.program.objective import step_of

Traces = Mapping[str, np.ndarray]  # variable -> (T, B, *shape)


class Pair(NamedTuple):
    """A node of one side and what it is compared with: names, traces by variable, and the first one's neuron.

    bound: None for an Output, whose ``v`` is what leaves it.
    """

    node: str
    other: str
    a: Traces
    b: Traces
    bound: BoundNeuron | None


@dataclass(frozen=True, eq=False)
class DifferingSpikes:
    """Every spike of a node that one side has and the other has not; a row each, in the order of time.

    step, sample: (K,). neuron: (K, axes), indices into the population. extra: (K,), spikes of B minus those of A.
    distance: (K,), |v - threshold| in A when the spike was decided, in the model's unit; share: of the
    threshold; NaN where that is not known. cause: (K,), whether nothing in this sample differed before, in time or
    in an earlier node of the same step; what follows may be its consequence.
    """

    step: np.ndarray
    sample: np.ndarray
    neuron: np.ndarray
    extra: np.ndarray
    distance: np.ndarray
    share: np.ndarray
    cause: np.ndarray

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True, eq=False)
class NodeCheck:
    """One node in both runs.

    values: how many were compared, steps x samples x neurons. counts: spikes on either side, None where the node
    does not spike or spikes were not recorded. differing: the spikes that differ. van_rossum: distance of the spike
    trains, mean over samples. first: where spikes differ first, or, where none does, potentials.
    voltage_max: largest difference of potentials in the model's unit; voltage_relative: ||B - A|| / ||A||; both
    before a sample's first differing spike; None where one side has no potentials. spikes, potentials: of A and B.
    """

    node: str
    other: str
    values: int
    counts: tuple[float, float] | None
    differing: DifferingSpikes
    first: FirstDifference | None
    van_rossum: float | None
    voltage_max: float | None
    voltage_relative: float | None
    spikes: tuple[np.ndarray, np.ndarray] | None
    potentials: tuple[np.ndarray, np.ndarray] | None

    @property
    def share(self) -> float:
        """Of all values, how many differ."""
        return len(self.differing) / self.values

    @property
    def voltages_agree(self) -> bool:
        """Whether potentials are equal up to rounding, as far as they are known."""
        return self.voltage_relative is None or self.voltage_relative <= VOLTAGES  # NaN is no agreement

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON, without traces."""
        causes = self.differing.cause
        distances = self.differing.distance
        return {
            "node": self.node, "other": self.other, "values": self.values, "counts": self.counts,
            "differing": len(self.differing), "share": self.share, "causes": int(causes.sum()),
            "farthest_cause": float(distances[causes].max()) if causes.any() else None,
            "farthest": float(distances.max()) if len(distances) else None,
            "van_rossum": self.van_rossum, "voltage_max": self.voltage_max,
            "voltage_relative": self.voltage_relative, "first": place(self.first),
        }


def place(first: FirstDifference | None) -> dict[str, Any] | None:
    """Where something differs first, as plain data."""
    if first is None:
        return None
    return {"node": first.node, "step": first.step, "neuron": list(first.neuron), "sample": first.sample,
            "distance": first.margin}


def node_checks(
    pairs: Sequence[Pair], program: Program, parameters: Mapping[str, Any], tau: float
) -> tuple[NodeCheck, ...]:
    """Every pair compared, in the order given, which is the one of computing. tau: of the van Rossum distance, in s."""
    differs: dict[str, np.ndarray] = {
        pair.node: np.not_equal(pair.a["spikes"], pair.b["spikes"]) for pair in pairs if _both(pair, "spikes")}
    starts = _starts(differs, *next(iter(pairs[0].a.values())).shape[:2])
    return tuple(_node_check(pair, differs.get(pair.node), starts, program, parameters, tau) for pair in pairs)


def _both(pair: Pair, what: str) -> bool:
    return what in pair.a and what in pair.b


class _Starts(NamedTuple):
    """Of each sample, (B,): the step of its first difference, T where there is none, and in which node it is."""

    step: np.ndarray
    node: np.ndarray


def _starts(differs: Mapping[str, np.ndarray], steps: int, samples: int) -> _Starts:
    """Within a step, the node that is computed first counts."""
    found = _Starts(np.full(samples, steps), np.full(samples, "", object))
    for node, values in differs.items():
        any_neuron = values.reshape(steps, samples, -1).any(2)
        first = np.where(any_neuron.any(0), any_neuron.argmax(0), steps)
        earlier = first < found.step
        found.step[earlier], found.node[earlier] = first[earlier], node
    return found


def _node_check(
    pair: Pair, differs: np.ndarray | None, starts: _Starts, program: Program, parameters: Mapping[str, Any],
    tau: float,
) -> NodeCheck:
    a, b = pair.a, pair.b
    spikes = (np.asarray(a["spikes"]), np.asarray(b["spikes"])) if differs is not None else None
    differing = _differing(pair, differs, starts, parameters)
    potentials = (np.asarray(a["v"]), np.asarray(b["v"])) if _both(pair, "v") else None
    first, largest, relative = _first_of(pair.node, differing), None, None
    if potentials is not None:
        inside = np.arange(len(potentials[0]))[:, None] < starts.step
        apart = np.abs(potentials[1] - potentials[0])
        largest = float(np.max(apart[inside], initial=0.0))
        relative = relative_distance(potentials[1], potentials[0], starts.step)
        if first is None:
            first = _first_potential(pair.node, apart, potentials[0])
    return NodeCheck(
        pair.node, pair.other, next(iter(a.values())).size,
        None if spikes is None else (float(spikes[0].sum(dtype=np.float64)), float(spikes[1].sum(dtype=np.float64))),
        differing, first, None if spikes is None else _van_rossum(spikes, len(differing), program, tau),
        largest, relative, spikes, potentials,
    )


def _differing(
    pair: Pair, differs: np.ndarray | None, starts: _Starts, parameters: Mapping[str, Any]
) -> DifferingSpikes:
    at = np.argwhere(differs) if differs is not None else np.zeros((0, 2), int)  # rows of step, sample, neuron
    step, sample = at[:, 0], at[:, 1]
    distance, share = np.full(len(at), np.nan), np.full(len(at), np.nan)
    for one in np.unique(sample):
        known = None if pair.bound is None else from_threshold(pair.bound, parameters, _by_name(pair), int(one))
        if known is None:
            continue
        rows = np.flatnonzero(sample == one)
        # an output delay shows a spike a step after it was decided
        decided = at[rows, 0] - (pair.bound.numerics.output_delay if pair.bound is not None else 0)
        rows, decided = rows[decided >= 0], decided[decided >= 0]
        places = (decided, *at[rows, 2:].T)
        distance[rows] = known.distance[places]
        share[rows] = distance[rows] / np.maximum(np.abs(known.threshold[places]), np.finfo(np.float64).tiny)
    extra = np.zeros(0) if not len(at) else (
        np.asarray(pair.b["spikes"], np.float64)[tuple(at.T)] - np.asarray(pair.a["spikes"], np.float64)[tuple(at.T)])
    cause = (starts.step[sample] == step) & (starts.node[sample] == pair.node)
    return DifferingSpikes(step, sample, at[:, 2:], extra, distance, share, cause)


def _by_name(pair: Pair) -> dict[str, np.ndarray]:
    return {f"{pair.node}.{what}": values for what, values in pair.a.items()}


def _first_of(node: str, differing: DifferingSpikes) -> FirstDifference | None:
    if not len(differing):
        return None
    known = float(differing.distance[0])
    neuron = tuple(int(index) for index in differing.neuron[0])
    return FirstDifference(node, int(differing.step[0]), neuron, int(differing.sample[0]),
                           None if np.isnan(known) else known)


def _first_potential(node: str, apart: np.ndarray, expected: np.ndarray) -> FirstDifference | None:
    """Where a potential is first off by more than rounding of the largest one."""
    far = np.argwhere(~(apart <= VOLTAGES * np.max(np.abs(expected), initial=0.0)))
    if not len(far):
        return None
    step, sample, *neuron = (int(index) for index in far[0])
    return FirstDifference(node, step, tuple(neuron), sample, None)


def _van_rossum(spikes: tuple[np.ndarray, np.ndarray], differing: int, program: Program, tau: float) -> float:
    if not differing:
        return 0.0
    a, b = (values.reshape(*values.shape[:2], -1).astype(np.float64) for values in spikes)
    return float(np.mean(VanRossum(tau=tau).per_sample(b, a, step_of(program))))
