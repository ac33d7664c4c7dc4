"""A lesson's arrays, and what the float64 reference learns from them in ten steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from neuroport.data.packing import Packed, unpack
from neuroport.data.staging import stage
from neuroport.engine.base import Metrics, Options, Trainable
from neuroport.model.graph import Model
from neuroport.model.schedules import plateau_of
from neuroport.model.training import Training
from neuroport.program.initialize import generator, init
from neuroport.program.lower import lower
from neuroport.program.objective import step_of
from neuroport.testing.clear import draw_targets, search, watching
from neuroport.testing.lessons import EPOCHS, Lesson
from neuroport.testing.subject import reference

STEPS, BATCH, SAMPLES = 16, 4, 12  # T, B, N
SEGMENT = 5  # steps of the optimizer an epoch
MARGIN = 2e-5  # float32 errs by 1e-6 here; a wider one would pass over nearly every draw


class Plan(NamedTuple):
    """Batches of all epochs: order and mask (epochs, batches, B), factors (epochs, steps of the optimizer).

    identities, partners: (epochs, batches, B), or None where rows are called by their place.
    """

    order: np.ndarray
    mask: np.ndarray
    factors: np.ndarray
    identities: np.ndarray | None = None
    partners: np.ndarray | None = None

    @property
    def valid(self) -> np.ndarray:
        """Which batches are not padding alone, (epochs * batches,)."""
        return np.asarray(self.mask.any(2).reshape(-1))


@dataclass(frozen=True, eq=False)
class Learned:
    """A lesson's arrays, and the reference's ten steps on them."""

    model: Model
    training: Training
    plan: Plan
    parameters: dict[str, np.ndarray]
    data: Packed
    losses: np.ndarray
    after: dict[str, np.ndarray]
    evaluation: Metrics
    passed_over: int = 0


def plan_of(training: Training, seed: int, part: bool = False) -> Plan:
    """Batches drawn by ``seed``. The last of an epoch is half padding; if several make a step, all padding follows."""
    batch, rows = training.batch_size, SEGMENT * training.accumulate
    random = generator(seed, "order")
    order = np.stack([random.permutation(SAMPLES)[:batch] for _ in range(EPOCHS * rows)])
    mask = np.ones((EPOCHS, rows, batch))
    last = -1 if training.accumulate == 1 else -2
    mask[:, last, (batch + 1) // 2 :] = 0.0
    mask[:, rows + last + 1 :] = 0.0
    factors = training.schedule.factors(SEGMENT, EPOCHS).reshape(EPOCHS, SEGMENT)
    plateau = plateau_of(training.schedule)
    if plateau is not None:
        factors[1:] *= plateau.factor  # as a training does that follows its validation
    order = order.reshape(mask.shape)
    if not part:
        return Plan(order, mask, factors)
    # names beyond the number of rows that are staged
    return Plan(order, mask, factors, order * 7 + 3, generator(seed, "partners").permutation(SAMPLES)[order])


def draw_data(lesson: Lesson, shape: tuple[int, ...], targets: np.ndarray, seed: int) -> Packed:
    """Activity (N, T, *shape) in the lesson's layout, with its targets."""
    random = generator(seed, "data")
    if lesson.layout in ("bits", "counts"):
        return stage(random.integers(0, 2 if lesson.layout == "bits" else 3, (SAMPLES, STEPS, *shape)), targets)
    if lesson.layout == "constant":
        return stage(random.random((SAMPLES, 1, *shape)), targets, layout="floats", steps=STEPS)
    return stage(random.random((SAMPLES, STEPS, *shape)), targets, layout="floats")


def one_epoch(executable: Trainable, training: Any, data: Any, plan: Plan, epoch: int) -> tuple[Any, np.ndarray]:
    """A segment of five steps: the training after it, and the loss of each batch."""
    order, mask, factors = (part[epoch] for part in plan[:3])
    identities, partners = (None if part is None else part[epoch] for part in plan[3:])
    training, metrics = executable.train_segment(
        training, data, order, mask, factors, (7, epoch), identities, partners)
    assert np.asarray(metrics.loss).shape == (len(order),)
    np.testing.assert_array_equal(metrics.count, mask.sum(1))
    return training, np.asarray(metrics.loss, np.float64)


def ten_steps(executable: Trainable, training: Any, data: Any, plan: Plan) -> tuple[Any, np.ndarray]:
    """The training after all epochs, and the losses of all batches."""
    losses = []
    for epoch in range(EPOCHS):
        training, found = one_epoch(executable, training, data, plan, epoch)
        losses.append(found)
    return training, np.concatenate(losses)


@cache
def learned(lesson: Lesson, dt: float, batch: int) -> Learned:
    """Arrays on which the reference keeps clear of every threshold through ten steps; made once a process."""
    model, training = lesson.build(dt), lesson.training(dt, batch)
    program = lower(model)
    executable = reference().compile(program, Options(training=training))
    assert isinstance(executable, Trainable)
    ((_, shape),) = program.inputs.items()

    def attempt(seed: int) -> Learned | None:
        parameters, plan = init(model, seed), plan_of(training, seed, lesson.part)
        targets = draw_targets(program, training, STEPS, SAMPLES, seed)
        data = draw_data(lesson, shape, targets if targets.ndim == 1 else np.moveaxis(targets, 1, 0), seed)
        with watching(MARGIN) as close:
            start = executable.init_training(executable.load(parameters))
            after, losses = ten_steps(executable, start, data, plan)
            handle = executable.current(after)
            evaluation = executable.evaluate(handle, data, *(np.concatenate(part) for part in plan[:2]))
        if any(close) or not _decided(executable, handle, data):
            return None
        return Learned(model, training, plan, parameters, data, losses, executable.export(handle), evaluation)

    found, passed_over = search(attempt, lesson.name)
    return replace(found, passed_over=passed_over)  # type: ignore[no-any-return]


def _decided(executable: Trainable, handle: Any, data: Packed) -> bool:
    """Whether the classes of every sample are ranked by clear margins, or tie exactly, as counts do."""
    if not data.has_classes:
        return True
    (source,) = executable.program.inputs
    (output,) = executable.program.outputs
    result = executable.run(handle, executable.init_state(SAMPLES), {source: unpack(data, np.arange(SAMPLES))})
    scores = executable.training.loss.scores(np.asarray(result.outputs[output]), step_of(executable.program))
    gaps = np.diff(np.sort(scores, axis=1))
    return bool(((gaps > 1e-4) | (gaps == 0)).all())
