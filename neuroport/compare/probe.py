"""What every engine is asked alike: one batch through the untrained network, the first steps of a training."""

from __future__ import annotations

import time

import numpy as np

from neuroport import api
from neuroport.data.order import batches, epoch_order, epoch_partners
from neuroport.data.packing import unpack
from neuroport.data.splits import Splits
from neuroport.engine.base import Trainable
from neuroport.errors import Problem, UnsupportedModel
from neuroport.model.training import Experiment
from neuroport.program.augment import needs_partner
from neuroport.program.lower import Program, lower
from neuroport.runtime.course import FIRST_LOSSES

SAMPLES = 16
LARGEST = 2**25  # recorded values of a probe: 256 MB in the reference's float64


def probe_samples(program: Program, data: Splits) -> np.ndarray:
    """Which samples of the validation set make the batch, (B,): the first 16, or fewer where their traces are large."""
    values = sum(len(bound.records) * int(np.prod(bound.shape)) for bound in program.neurons.values())
    fitting = max(1, LARGEST // max(1, values * data.steps))
    return np.arange(min(SAMPLES, fitting, len(data.validation)))


def probe(
    experiment: Experiment, data: Splits, engine: str, device: str | None = None, precision: str | None = None
) -> dict[str, np.ndarray]:
    """Everything that can be recorded of the batch, from initial parameters: (T, B, *shape) by "node.variable"."""
    program = lower(experiment.model)
    record = [(name, what) for name, bound in program.neurons.items() for what in bound.records]
    inputs = unpack(data.validation, probe_samples(program, data))
    parameters = api.init(experiment.model, experiment.seed)
    found = api.run(experiment.model, parameters, inputs, engine, record, device=device, precision=precision)
    return {f"{node}.{what}": trace for node, its in found.records.items() for what, trace in its.items()}


class Steps:
    """The first batches of a training, compiled for one engine: each ``run`` trains on them once more.

    most: batches at most, in whole steps of the optimizer. Raises UnsupportedModel with every gap.
    """

    def __init__(
        self, experiment: Experiment, data: Splits, engine: str, device: str | None = None,
        precision: str | None = None, most: int = FIRST_LOSSES,
    ):
        training = experiment.training
        samples = epoch_order(len(data.train), experiment.seed, 0)
        order, mask = batches(samples, training.batch_size, training.accumulate)
        factors = training.schedule.factors(len(order) // training.accumulate, training.epochs)
        rows = min(len(order), max(most // training.accumulate, 1) * training.accumulate)
        self.order, self.mask, self.factors = order[:rows], mask[:rows], factors[: rows // training.accumulate]
        self.seed = experiment.seed
        self.partners = epoch_partners(data.train.labels, self.seed, 0)[self.order] if needs_partner(training) else None
        executable = api.compile(experiment.model, engine, device, precision, training)
        if not isinstance(executable, Trainable):
            raise UnsupportedModel(engine, [Problem("training", "gradients, declared by the engine but not there")])
        self.executable = executable
        self.state = executable.init_training(executable.load(api.init(experiment.model, experiment.seed)))
        self.staged = executable.stage(data.train)

    def run(self) -> list[float]:
        """The losses of the batches, once all is done."""
        self.state, found = self.executable.train_segment(
            self.state, self.staged, self.order, self.mask, self.factors, (self.seed, 0),
            partners=self.partners,
        )
        self.executable.wait()
        losses: list[float] = np.asarray(found.loss, np.float64)[self.mask.any(1)].tolist()
        return losses


def first_steps(
    experiment: Experiment, data: Splits, engine: str, device: str | None = None
) -> tuple[list[float], float]:
    """The losses of the first batches of a training, and the seconds that took, compiling included."""
    started = time.perf_counter()
    losses = Steps(experiment, data, engine, device).run()
    return losses, time.perf_counter() - started
