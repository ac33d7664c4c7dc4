"""Trained parameters, judged on a part of the data: by any engine, not only the one that trained them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from neuroport import registry
from neuroport.choose import Choice, Wanted, choose, fits
from neuroport.data.order import batches
from neuroport.data.packing import Packed
from neuroport.data.splits import Splits
from neuroport.engine.base import (
    Engine,
    Metrics,
    Options,
)
from neuroport.errors import InvalidData, InvalidExperiment, Problem, listed
from neuroport.model.training import Experiment, Training
from neuroport.program.arrays import check_parameters
from neuroport.program.lower import Program, lower
from neuroport.program.objective import judged_output
from neuroport.runtime.activity import saturated, silent
from neuroport.runtime.placement import place
from neuroport.runtime.prepare import check_fit, load_data
from neuroport.runtime.run import Run
from neuroport.runtime.totals import accuracy, mean_loss, means


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What parameters do on one part of the data.

    accuracy, confusion, per_class: None where the loss knows no classes. confusion: (classes, classes)
    counts, row the true class, column the decision. per_class: (classes,) shares decided rightly, NaN for a class
    without samples. metrics: of the training, by label. rates: mean spikes per step of each neuron, by
    population; silent and saturated: how many of its neurons are.
    """

    part: str
    engine: str
    device: str
    samples: int
    loss: float
    accuracy: float | None
    confusion: np.ndarray | None
    per_class: np.ndarray | None
    metrics: dict[str, float | None]
    rates: dict[str, np.ndarray]
    silent: dict[str, int]
    saturated: dict[str, int]

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON: arrays as lists, None for what is no number."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def report(self) -> str:
        """A few lines for people."""
        head = f"{self.part}: {self.samples} samples on {self.engine} ({self.device})"
        shown = {"accuracy": self.accuracy, "loss": self.loss, **self.metrics}
        lines = [head, "  " + "  ".join(f"{name} {_number(name, value)}" for name, value in shown.items()
                                        if name != "accuracy" or value is not None)]
        if self.per_class is not None:
            shares = [f"{label}: {'no sample' if np.isnan(share) else f'{share:.1%}'}"
                      for label, share in enumerate(self.per_class)]
            lines.append(f"  by class  {listed(shares, 20)}")
        for name, rate in self.rates.items():
            lines.append(f"  {name}: {rate.mean():.3g} spikes a step, of {rate.size} neurons "
                         f"{self.silent[name]} silent, {self.saturated[name]} saturated")
        return "\n".join(lines)


def evaluate(
    run: Run | Experiment | str | Path, part: str = "test", engine: str | Engine | None = None,
    device: str | None = None, data: Splits | None = None, parameters: Mapping[str, Any] | None = None,
    precision: str | None = None,
) -> Evaluation:
    """Judge parameters on a part of the data, without training and without penalties.

    run: a Run or its folder; or an Experiment, with ``parameters``. part: "train", "validation" or "test".
    engine: None: the one that trained, where it is at hand, else the first that can. data: in place of the
    experiment's. parameters: in place of the run's best, such as its ``last``. precision: None: the engine's own,
    also where another one trained. Raises NeuroportError.
    """
    experiment, held, trained_by = _given(run, parameters)
    data = load_data(experiment) if data is None else data
    check_fit(experiment, data)
    if part not in data.parts:
        mend = f"the parts are: {listed(data.parts)}"
        raise InvalidData([Problem("part", f"there is no {part!r} in the data {data.name!r}", mend)])
    program, packed = lower(experiment.model), data.parts[part]
    held = check_parameters(program, held)
    choice = _choose(program, engine, device, precision, trained_by)
    judged, order, mask = _judged(program, experiment.training, choice, held, packed)
    confusion = _confusion(program, experiment.training, judged, packed, order, mask)
    return Evaluation(
        part, choice.name, choice.device, len(packed), mean_loss(judged), accuracy(judged, experiment.training.loss),
        confusion, None if confusion is None else _per_class(confusion), means(judged), dict(judged.rates),
        silent(judged.rates), saturated(program, judged.rates),
    )


def _given(run: Any, parameters: Mapping[str, Any] | None) -> tuple[Experiment, Any, str | None]:
    """The experiment, the parameters, and who trained them, if it is known."""
    if isinstance(run, Experiment):
        if parameters is None:
            mend = "give parameters=run.parameters, or a Run in place of the Experiment"
            raise InvalidExperiment([Problem("parameters", "are missing", mend)])
        return run, parameters, None
    if isinstance(run, (str, Path)):
        run = Run.load(run)
    if not isinstance(run, Run):
        wrong = f"is no Run and no folder of one (got {type(run).__name__})"
        raise InvalidExperiment([Problem("run", wrong, "give what fit() returned, or its folder")])
    trained_by = run.trained_by
    return run.experiment, run.parameters if parameters is None else parameters, trained_by


def _choose(
    program: Program, engine: str | Engine | None, device: str | None, precision: str | None, trained_by: str | None
) -> Choice:
    wanted, known = Wanted(program, device, precision), registry.registry()
    if engine is None and any(name == trained_by and fits(found, wanted) for name, found in known.usable()):
        engine = trained_by
    return choose(known, wanted, engine)


def _judged(
    program: Program, training: Training, choice: Choice, parameters: Mapping[str, np.ndarray], packed: Packed
) -> tuple[Metrics, np.ndarray, np.ndarray]:
    """The metrics, and the batches that they are of: order and mask (batches, B)."""
    executable = choice.engine.compile(program, Options(choice.device, choice.precision, training))
    most = choice.engine.capabilities(choice.device).max_batch
    size = training.batch_size if most is None else min(training.batch_size, most)
    order, mask = batches(np.arange(len(packed)), size)
    return place(executable, packed, size).evaluate(executable.load(parameters)), order, mask


def _confusion(
    program: Program, training: Training, judged: Metrics, packed: Packed, order: np.ndarray, mask: np.ndarray
) -> np.ndarray | None:
    if judged.decisions is None:
        return None
    classes = int(np.prod(program.outputs[judged_output(program, training)]))
    valid = mask > 0
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (packed.labels[order[valid]], np.asarray(judged.decisions)[valid].astype(np.int64)), 1)
    return found


def _per_class(confusion: np.ndarray) -> np.ndarray:
    counts = confusion.sum(1)
    return np.where(counts > 0, np.diag(confusion) / np.maximum(counts, 1), np.nan)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "no number"
    return f"{value:.2%}" if name == "accuracy" else f"{value:.4g}"
