"""Training: ten steps on every optimizer and schedule, padding, evaluation; against the reference in norm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from neuroport.data.packing import Packed, stage, unpack
from neuroport.engine.base import Metrics, Options, Trainable
from neuroport.model import training as kinds
from neuroport.model.graph import Model
from neuroport.model.neurons import ALIF, LIF
from neuroport.model.numerics import Numerics
from neuroport.model.training import CrossEntropy, RateBounds, Training
from neuroport.program.initialize import generator, init
from neuroport.program.lower import lower
from neuroport.testing.base import Kit
from neuroport.testing.cases import NEURONS, TRAINABLE, Build, feedback, image, lif, network, silenced
from neuroport.testing.clear import search, watching
from neuroport.testing.norm_tier import Report
from neuroport.testing.subject import Subject, arrays, reference, skip
from neuroport.testing.tiers import LOSSES, PARAMETERS, distance, near

STEPS, BATCH, SAMPLES = 16, 4, 12  # T, B, N
SEGMENT, EPOCHS = 5, 2  # ten steps in two segments
MARGIN = 2e-5  # float32 errs by 1e-6 here; a wider one would pass over nearly every draw


@dataclass(frozen=True, eq=False)
class Lesson:
    """A model, how it is trained, and whether its data are counts rather than bits."""

    name: str
    build: Build
    training: Training
    counts: bool = False

    def __repr__(self) -> str:
        return self.name

    def training_for(self, batch: int) -> Training:
        return self.training.model_copy(update={"batch_size": batch, "epochs": EPOCHS})


def sgd(rate: float = 0.1, **fields: Any) -> Training:
    return Training(optimizer=kinds.SGD(learning_rate=rate), **fields)


def _trained(name: str, per: str) -> Build:
    return lambda dt: network(TRAINABLE[name](dt, per), dt)


def _conv(dt: float) -> Model:
    return image(dt, LIF(tau=6 * dt))


SGD_LESSONS = [
    *(Lesson(name, lambda dt, of=NEURONS[name]: network(of(dt), dt), sgd()) for name in ("IF", "CubaLIF")),
    Lesson("LIF, recurrent", lambda dt: network(LIF(tau=8 * dt), dt, back=feedback()), sgd()),
    Lesson("ALIF, snntorch rule, hard", lambda dt: network(
        ALIF(tau=8 * dt, tau_adapt=20 * dt), dt, Numerics(reset_rule="snntorch", reset="hard")), sgd()),
    Lesson("trainable LIF", _trained("LIF", "neuron"), sgd()),
    Lesson("trainable LIF by decay", _trained("LIF by decay", "layer"), sgd()),
    Lesson("trainable tau under euler", lambda dt: network(
        TRAINABLE["CubaLIF"](dt, "neuron"), dt, Numerics(discretization="euler")), sgd()),
    Lesson("convolution", _conv, sgd()),
    Lesson("rate bounds", lif, sgd(regularizers=(RateBounds(lower=0.15, upper=0.25, strength=2.0),))),
    Lesson("dropout", lambda dt: silenced(dt, False), sgd()),
    Lesson("counts", lif, sgd(0.05), counts=True),
    Lesson("max over time", lif, sgd(loss=CrossEntropy(over="max"))),
]

OPTIMIZERS = [
    Lesson("momentum and weight decay", lif, Training(
        optimizer=kinds.SGD(learning_rate=0.05, momentum=0.9, weight_decay=0.01))),
    Lesson("Adam", lif, Training(optimizer=kinds.Adam(learning_rate=0.01, beta1=0.8, eps=1e-6))),
    Lesson("AdamW", lif, Training(optimizer=kinds.AdamW(learning_rate=0.01, weight_decay=0.1, eps=1e-6))),
    Lesson("clipped", lif, sgd(1.0, clip_norm=0.05)),
    Lesson("cosine", lif, sgd(schedule=kinds.Cosine(final=0.1))),
    Lesson("exponential, Adam, clipped", lif, Training(
        optimizer=kinds.Adam(learning_rate=0.01, eps=1e-6), schedule=kinds.Exponential(gamma=0.3), clip_norm=0.1)),
]
PLAIN = next(lesson for lesson in SGD_LESSONS if lesson.name == "LIF, recurrent")
EVALUATED = [PLAIN, *(lesson for lesson in SGD_LESSONS if lesson.name in ("counts", "dropout"))]


@dataclass(frozen=True, eq=False)
class Learned:
    """A lesson's arrays, and the reference's ten steps on them."""

    model: Model
    training: Training
    factors: np.ndarray
    parameters: dict[str, np.ndarray]
    data: Packed
    order: np.ndarray
    mask: np.ndarray
    losses: np.ndarray
    after: dict[str, np.ndarray]
    evaluation: Metrics
    passed_over: int = 0


def order_of(seed: int, batch: int) -> np.ndarray:
    """Samples of ten batches, (10, B)."""
    random = generator(seed, "order")
    return np.stack([random.permutation(SAMPLES)[:batch] for _ in range(SEGMENT * EPOCHS)])


def padded(batch: int) -> np.ndarray:
    """(10, B), the last batch of each segment half padding where it has room for that."""
    mask = np.ones((SEGMENT * EPOCHS, batch))
    mask[SEGMENT - 1 :: SEGMENT, (batch + 1) // 2 :] = 0.0
    return mask


def ten_steps(
    executable: Trainable, training: Any, data: Any, order: np.ndarray, mask: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Two segments of five steps: the training after them, and the ten losses."""
    losses = []
    for epoch in range(EPOCHS):
        here = slice(epoch * SEGMENT, (epoch + 1) * SEGMENT)
        training, metrics = executable.train_segment(training, data, order[here], mask[here], (7, epoch))
        assert np.asarray(metrics.loss).shape == (SEGMENT,)
        np.testing.assert_array_equal(metrics.count, mask[here].sum(1))
        losses.append(np.asarray(metrics.loss, np.float64))
    return training, np.concatenate(losses)


@cache
def learned(lesson: Lesson, dt: float, batch: int) -> Learned:
    """Arrays on which the reference keeps clear of every threshold through ten steps; made once."""
    model, training = lesson.build(dt), lesson.training_for(batch)
    program = lower(model)
    factors = training.schedule.factors(SEGMENT, EPOCHS)
    executable = reference().compile(program, Options(training=training, factors=factors))
    assert isinstance(executable, Trainable)
    ((_, shape),) = program.inputs.items()
    mask = padded(batch)

    def attempt(seed: int) -> Learned | None:
        parameters = init(model, seed)
        random = generator(seed, "data")
        high = 3 if lesson.counts else 2
        x = random.integers(0, high, (SAMPLES, STEPS, *shape))
        data = stage(x, random.integers(0, 3, SAMPLES))
        order = order_of(seed, batch)
        with watching(MARGIN) as close:
            start = executable.init_training(executable.load(parameters))
            after, losses = ten_steps(executable, start, data, order, mask)
            handle = executable.current(after)
            evaluation = executable.evaluate(handle, data, order, mask)
        if any(close) or not _decided(executable, handle, data):
            return None
        reached = executable.export(handle)
        return Learned(model, training, factors, parameters, data, order, mask, losses, reached, evaluation)

    found, passed_over = search(attempt, lesson.name)
    return Learned(**{**found.__dict__, "passed_over": passed_over})


def _decided(executable: Trainable, handle: Any, data: Packed) -> bool:
    """Whether the class of every sample is chosen by a clear margin."""
    (source,) = executable.program.inputs
    (output,) = executable.program.outputs
    result = executable.run(handle, executable.init_state(SAMPLES), {source: unpack(data, np.arange(SAMPLES))})
    two = np.sort(np.asarray(executable.training.loss.scores(np.asarray(result.outputs[output]))), axis=1)[:, -2:]
    return bool((two[:, 1] - two[:, 0] > 1e-4).all())


class Learning(Kit):
    """Ten steps of training and what surrounds them."""

    def _prepare(self, subject: Subject, lesson: Lesson) -> tuple[Trainable, Learned]:
        if subject.able.weight_bits is not None:
            skip(f"weight_bits={subject.able.weight_bits}")
        precision = subject.precision("float32", "float64")
        batch = subject.batch(BATCH)
        training = lesson.training_for(batch)
        factors = training.schedule.factors(SEGMENT, EPOCHS)
        executable = subject.trainable(lesson.build(subject.dt), training, precision, factors)
        return executable, learned(lesson, subject.dt, batch)

    @pytest.mark.parametrize("lesson", [*SGD_LESSONS, *OPTIMIZERS], ids=repr)
    def test_ten_steps_of_training(self, subject: Subject, lesson: Lesson, record_property: Report) -> None:
        executable, of = self._prepare(subject, lesson)
        record_property("inputs passed over because a membrane came near its threshold", of.passed_over)
        start = executable.init_training(executable.load(of.parameters))
        after, losses = ten_steps(executable, start, executable.stage(of.data), of.order, of.mask)
        np.testing.assert_allclose(losses, of.losses, rtol=0, atol=LOSSES, err_msg="losses of ten steps")
        reached = arrays(executable.export(executable.current(after)))
        near(reached, of.after, PARAMETERS, f"parameters after ten steps of {lesson.name}")
        moved = [name for name in executable.program.trainable if distance(of.after[name], of.parameters[name]) > 0]
        assert moved, "nothing was trained: a fault of the kit's lesson"

    def test_padding_does_not_count(self, subject: Subject) -> None:
        if subject.batch(BATCH) < 2:
            skip(f"max_batch={subject.able.max_batch}")
        executable, of = self._prepare(subject, PLAIN)
        data = executable.stage(of.data)
        other = np.where(of.mask > 0, of.order, (of.order + 5) % SAMPLES)
        assert (other != of.order).any()
        reached = []
        for order in (of.order, other):
            start = executable.init_training(executable.load(of.parameters))
            after, losses = ten_steps(executable, start, data, order, of.mask)
            reached.append({**arrays(executable.export(executable.current(after))), "losses": losses})
        near(reached[1], reached[0], 1e-6, "with other samples as padding")

    @pytest.mark.parametrize("lesson", EVALUATED, ids=repr)
    def test_evaluation_gives_losses_decisions_and_rates(self, subject: Subject, lesson: Lesson) -> None:
        executable, of = self._prepare(subject, lesson)
        handle, data = executable.load(of.after), executable.stage(of.data)
        found = executable.evaluate(handle, data, of.order, of.mask)
        np.testing.assert_allclose(found.loss, of.evaluation.loss, rtol=0, atol=LOSSES)
        np.testing.assert_array_equal(found.correct, of.evaluation.correct)
        np.testing.assert_array_equal(found.count, of.evaluation.count)
        near(arrays(found.rates), arrays(of.evaluation.rates), 1e-6, "rates")
