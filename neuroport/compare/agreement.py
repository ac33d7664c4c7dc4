"""How far an engine agrees with the reference: spikes and potentials of one batch, losses, accuracies over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from neuroport.program import thresholds
from neuroport.program.bound import BoundNeuron
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped

BIT, NORM, STATISTICAL, NONE = "bit", "norm", "statistical", "none"
VOLTAGES = 1e-5  # ||a - reference|| / ||reference|| of potentials: the norm tier
NEAR = 1e-4  # of a threshold, relative to it: what rounding may tip
LOSSES = 0.05  # relative difference of the first losses: what tipped spikes may make of them

Traces = Mapping[str, np.ndarray]  # "node.variable" -> (T, B, *shape)


@dataclass(frozen=True)
class FirstDifference:
    """Where a sample's spikes differ first. neuron: index into the population.

    margin: distance of the reference's potential from the threshold there, in the model's unit; None where
    records do not tell the threshold.
    """

    node: str
    step: int
    neuron: tuple[int, ...]
    sample: int
    margin: float | None


@dataclass(frozen=True)
class SpikeAgreement:
    """Spikes and potentials of one batch against the reference.

    equal, total: values that are spikes or none, over all populations, steps and samples. samples: of the
    batch; differing: of those, with any difference. first: the earliest. margin: the largest among the samples'
    first differences, relative to the threshold. voltages: the largest relative distance of a population's
    potentials until its sample's first difference. tier: "bit", "norm", "statistical" or "none", reason: why.
    """

    equal: int
    total: int
    samples: int
    differing: int
    first: FirstDifference | None
    margin: float | None
    voltages: float
    tier: str
    reason: str


class _Start(NamedTuple):
    """A sample's first difference, and how far potentials stood from thresholds (absolute, relative)."""

    difference: FirstDifference
    margin: float | None


def spikes_agree(
    program: Program, parameters: Mapping[str, Any], reference: Traces, found: Traces, plain: Traces | None = None
) -> SpikeAgreement:
    """The tier that holds for one batch. plain: the reference's traces in float32, for the tier of equal bits."""
    order = [name for segment in program.segments if isinstance(segment, Stepped)
             for name in segment.nodes if name in program.neurons]
    spiking = {name: program.neurons[name] for name in order if program.neurons[name].neuron.spiking}
    differs = {name: decisions(bound, found) != decisions(bound, reference) for name, bound in spiking.items()}
    steps, samples = next(iter(reference.values())).shape[:2]
    until = np.full(samples, steps)
    starts = []
    for sample in range(samples):
        start = _start(spiking, parameters, reference, differs, sample)
        if start is not None:
            starts.append(start)
            until[sample] = start.difference.step
    total = sum(values.size for values in differs.values())
    wrong = sum(int(values.sum()) for values in differs.values())
    apart = [relative_distance(found[key], reference[key], until) for key in _potentials(program)]
    voltages = float(np.max(apart, initial=0.0))  # NaN stays NaN
    known = [start.margin for start in starts if start.margin is not None]
    margin = max(known) if known else None
    bits = plain is not None and all(np.array_equal(found[name], plain[name]) for name in plain)
    tier, reason = _tier(bits, starts, margin, voltages)
    first = min((start.difference for start in starts), key=lambda one: (one.step, one.sample), default=None)
    return SpikeAgreement(total - wrong, total, samples, len(starts), first, margin, voltages, tier, reason)


def _tier(bits: bool, starts: Sequence[_Start], margin: float | None, voltages: float) -> tuple[str, str]:
    if bits:
        return BIT, "every recorded value equals the reference's in float32"
    if not voltages <= VOLTAGES:  # NaN is far
        when = "until a spike differs" if starts else "over the whole run"
        return NONE, f"potentials differ by {voltages:.1e} of their size {when}, more than rounding ({VOLTAGES:g})"
    if not starts:
        return NORM, f"every spike is equal, and potentials to {voltages:.1e} of their size"
    if margin is not None and not margin <= NEAR:
        return NONE, f"a spike differs although its potential stood {margin:.1e} of the threshold away from it"
    return STATISTICAL, "spikes differ first where a potential stood at the threshold: rounding tips them"


def decisions(bound: BoundNeuron, traces: Traces) -> np.ndarray:
    """Spikes in the step in which they are decided; an output delay shows them a step later."""
    own = f"{bound.name}.last_output"
    return traces[own if own in traces else f"{bound.name}.spikes"]


def _potentials(program: Program) -> Iterator[str]:
    for name, bound in program.neurons.items():
        yield f"{name}.v_pre" if bound.neuron.spiking else f"{name}.v"


def relative_distance(found: np.ndarray, reference: np.ndarray, until: np.ndarray) -> float:
    """||found - reference|| / ||reference|| of traces (T, B, *shape), over the first ``until`` (B,) steps of each."""
    inside = np.arange(len(reference))[:, None] < until  # (T, B)
    expected = reference[inside]
    size = float(np.linalg.norm(expected))
    return float(np.linalg.norm(found[inside] - expected)) / (size or 1.0)


def _start(
    spiking: Mapping[str, BoundNeuron], parameters: Mapping[str, Any], reference: Traces,
    differs: Mapping[str, np.ndarray], sample: int,
) -> _Start | None:
    """Where a sample's spikes differ first; within a step the population that is computed first counts."""
    steps = {name: int(values[:, sample].reshape(len(values), -1).any(1).argmax()) for name, values in differs.items()
             if values[:, sample].any()}
    if not steps:
        return None
    node = min(steps, key=lambda name: steps[name])  # of equal ones the first, in the order of computing
    step = steps[node]
    neurons = np.argwhere(differs[node][step, sample])
    at = tuple(int(index) for index in neurons[0])
    known = from_threshold(spiking[node], parameters, reference, sample)
    if known is None:
        return _Start(FirstDifference(node, step, at, sample, None), None)
    margins, theta, potential = known
    scale = max(float(np.abs(theta).max()), float(np.sqrt(np.mean(np.square(potential))))) or 1.0
    worst = max(float(margins[(step, *neuron)]) for neuron in neurons)
    return _Start(FirstDifference(node, step, at, sample, float(margins[(step, *at)])), worst / scale)


class FromThreshold(NamedTuple):
    """How far each potential of a sample stood from the threshold that it was compared with; all (T, *shape)."""

    distance: np.ndarray
    threshold: np.ndarray
    potential: np.ndarray


def needed_for_threshold(bound: BoundNeuron, parameters: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The records that ``from_threshold`` reads; None where no record tells the threshold."""
    reads = thresholds.reads(bound, parameters)
    if thresholds.INPUT in reads:  # which no record holds
        return None
    return (thresholds.BEFORE_RESET, *(field for field in bound.neuron.state if field in reads))


def from_threshold(
    bound: BoundNeuron, parameters: Mapping[str, Any], traces: Traces, sample: int
) -> FromThreshold | None:
    """Distances from the threshold, in the model's unit; None where records do not tell the threshold."""
    needed = needed_for_threshold(bound, parameters)
    if needed is None:
        return None
    recorded = {name: traces[f"{bound.name}.{name}"][:, sample] for name in needed}
    theta = thresholds.compared_with(bound, parameters, recorded, {})
    potential = recorded[thresholds.BEFORE_RESET]
    if bound.numerics.multi_spike:  # the nearest multiple decides
        theta = theta * np.maximum(np.round(potential / theta), 1.0)
    return FromThreshold(np.abs(potential - theta), theta, potential)


@dataclass(frozen=True)
class LossAgreement:
    """Losses of the first batches against the reference's. largest: relative difference, at ``batch`` (from 1)."""

    largest: float
    batch: int
    agrees: bool


def losses_agree(reference: Sequence[float], found: Sequence[float]) -> LossAgreement:
    """How far the losses of the first batches, from equal parameters and samples, are apart."""
    a, b = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    if a.shape != b.shape or not len(b):
        return LossAgreement(float("inf"), 1, False)
    apart = np.abs(a - b) / np.maximum(np.abs(b), 1e-12)
    at = int(np.argmax(np.where(np.isfinite(apart), apart, np.inf)))
    return LossAgreement(float(apart[at]), at + 1, bool(apart[at] <= LOSSES))


@dataclass(frozen=True)
class SeedAgreement:
    """A measure over seeds on several engines, by name.

    deviations: standard ones over seeds, 0 for a single seed. spreads: largest minus smallest.
    apart: largest difference between two engines' means. within: whether that is no more than the largest spread,
    or than one sample more or less; None for a single seed, which has no spread, or a single engine.
    """

    means: dict[str, float]
    deviations: dict[str, float]
    spreads: dict[str, float]
    apart: float
    within: bool | None


def seeds_agree(values: Mapping[str, Sequence[float]], resolution: float) -> SeedAgreement:
    """values: one a seed, by engine. resolution: the smallest difference that there can be."""
    means = {name: float(np.mean(its)) for name, its in values.items()}
    deviations = {name: float(np.std(its, ddof=1)) if len(its) > 1 else 0.0 for name, its in values.items()}
    spreads = {name: float(max(its) - min(its)) for name, its in values.items()}
    apart = max(means.values()) - min(means.values())
    judged = len(means) > 1 and all(len(its) > 1 for its in values.values())
    within = bool(apart <= max(*spreads.values(), resolution)) if judged else None
    return SeedAgreement(means, deviations, spreads, apart, within)
