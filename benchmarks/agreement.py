"""Whether a contestant computes what it says: its outputs against neuroport's float64 reference, before it is timed.

Float32 sums in another order move a potential in its last digits. Where one stands at the threshold that decides a
spike, and from there on the runs part, on any two machines. So the reference records how far every potential stood
from its threshold: until the first step in which one was nearer than `NEAR`, a sample's outputs must agree. Over the
whole run it is only said how many are equal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from contestants import Entry
from neuroport_step import build, parameters
from workload import Workload, inputs, targets

from neuroport import api
from neuroport.compare.agreement import from_threshold, needed_for_threshold
from neuroport.model.numerics import Numerics
from neuroport.program.lower import lower

NEAR = 1e-5  # of the threshold
APART = 1e-4  # ||outputs - reference|| / ||reference|| of potentials, before rounding can tip a spike
LOSS_APART = 1e-2  # relative: where rounding tips a spike, a loss moves in its fourth digit
LONG_ENOUGH = 0.01  # of all steps: on fewer than these nothing is shown


class Disagrees(Exception):
    """A contestant that says it computes these equations, and does not."""


@dataclass(frozen=True)
class Expected:
    """What the reference gives. outputs: (T, B, values). until: (B,) steps before rounding can tip a spike."""

    outputs: np.ndarray
    until: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """Outputs against the reference.

    equal: share of equal values over the whole run, of potentials those within `APART` of the largest. apart: relative
    distance before rounding can tip a spike, where `clear` is the share of steps. claimed: whether the contestant is
    held to it; reason: why not, or why it fails. agrees: None where nothing is claimed.
    """

    equal: float
    apart: float
    clear: float
    agrees: bool | None
    reason: str = ""

    def __str__(self) -> str:
        if self.agrees is False:
            return f"disagrees: {self.reason}"
        if self.agrees is None:
            return f"semantics differ: {self.reason}"
        return "equal" if self.equal == 1 else f"{100 * min(self.equal, 0.99999):.3f} % equal"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "words": str(self)}


def expected(workload: Workload, numerics: Numerics, precision: str, late: int = 0) -> Expected:
    """The reference's outputs of the first batch.

    precision: of products, as the contestant takes them. late: steps by which spikes leave each population later;
    everything after it comes so much later then, since all states begin at zero.
    """
    model = build(workload, numerics)
    program, arrays = lower(model), parameters(workload)
    spiking = {name: bound for name, bound in program.neurons.items() if bound.neuron.spiking}
    wanted = {name: needed_for_threshold(bound, arrays) for name, bound in spiking.items()}
    record = [(name, what) for name, needed in wanted.items() for what in needed or ()]
    exact = None if precision == "float32" else precision
    found = api.run(model, arrays, inputs(workload)[0], "reference", record, precision=exact)
    traces = {f"{name}.{what}": trace for name, its in found.records.items() for what, trace in its.items()}
    until = np.full(workload.batch, workload.steps)
    for bound in spiking.values():
        for sample in range(workload.batch):
            known = from_threshold(bound, arrays, traces, sample)
            assert known is not None  # a LIF's threshold is a number
            near = (known.distance <= NEAR * np.abs(known.threshold)).reshape(workload.steps, -1).any(1)
            if near.any():
                until[sample] = min(until[sample], int(near.argmax()))
    outputs = found.outputs.reshape(*found.outputs.shape[:2], -1)
    return Expected(*later(outputs, until, late * len(spiking)))


def later(outputs: np.ndarray, until: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (T, B, values) that come so many steps later, zeros first; and ``until`` (B,) likewise."""
    kept = max(len(outputs) - steps, 0)
    return np.concatenate([np.zeros_like(outputs[kept:]), outputs[:kept]]), np.minimum(until + steps, len(outputs))


def judged(outputs: np.ndarray, against: Expected, spikes: bool, differs: str = "") -> Verdict:
    """outputs: of the first batch, (T, B, values). spikes: zeros and ones, else potentials. differs: no claim, why."""
    if outputs.shape != against.outputs.shape:
        reason = f"the outputs have shape {outputs.shape}, not {against.outputs.shape}"
        return Verdict(0.0, float("inf"), 0.0, None if differs else False, differs or reason)
    found, exact = np.asarray(outputs, np.float64), against.outputs
    within = 0.0 if spikes else APART * float(np.abs(exact).max())
    equal = float((np.abs(found - exact) <= within).mean())
    inside = np.arange(len(exact))[:, None] < against.until  # (T, B)
    clear = float(inside.mean())
    size = float(np.linalg.norm(exact[inside])) or 1.0
    apart = float(np.linalg.norm(found[inside] - exact[inside])) / size
    if differs:
        return Verdict(equal, apart, clear, None, differs)
    if clear < LONG_ENOUGH:
        return Verdict(equal, apart, clear, False, f"only {clear:.1%} of the steps are clear of rounding")
    if not exact[inside].any():
        return Verdict(equal, apart, clear, False, "the reference is silent wherever it is clear of rounding")
    limit = 0.0 if spikes else APART
    if not apart <= limit:  # NaN is far
        return Verdict(equal, apart, clear, False, f"outputs differ by {apart:.1e} of their size before any rounding")
    return Verdict(equal, apart, clear, True)


def cross_entropy(outputs: np.ndarray, classes: np.ndarray, over: str) -> float:
    """Of outputs (T, B, classes), their mean or sum over time, averaged over the batch."""
    scores = outputs.mean(0) if over == "mean" else outputs.sum(0)
    shifted = scores - scores.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(classes)), classes]).mean())


class References:
    """The reference's outputs, each computed once."""

    def __init__(self) -> None:
        self._found: dict[Any, Expected] = {}

    def _expected(self, entry: Entry, workload: Workload) -> Expected:
        assert entry.numerics is not None
        key = (workload, entry.numerics.to_json(), entry.precision, entry.late)
        if key not in self._found:
            self._found[key] = expected(workload, entry.numerics, entry.precision, entry.late)
        return self._found[key]

    def verdict(
        self, entry: Entry, workload: Workload, outputs: np.ndarray, first_loss: float | None = None
    ) -> Verdict | None:
        """Of a contestant's outputs, and of the first loss of the run that is timed; None for one that is no network.

        Raises Disagrees where it claims to agree.
        """
        if entry.numerics is None:
            return None
        against, differs = self._expected(entry, workload), entry.differs.get(workload.kind, "")
        found = judged(outputs.reshape(*outputs.shape[:2], -1), against, not workload.trains, differs)
        if found.agrees is False:
            raise Disagrees(found.reason)
        if workload.trains and first_loss is not None and not differs:
            loss = cross_entropy(against.outputs, targets(workload)[0], entry.loss)
            if not abs(first_loss - loss) <= LOSS_APART * abs(loss):
                raise Disagrees(f"the first loss is {first_loss}, that of the reference's outputs {loss}")
        return found
