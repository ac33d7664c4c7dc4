"""Refusal: what an engine does not declare raises before anything runs; what it declares runs."""

from __future__ import annotations

import numpy as np
import pytest

from neuroport import api
from neuroport.data.staging import stage
from neuroport.engine.base import Trainable
from neuroport.engine.capabilities import Level
from neuroport.errors import UnsupportedModel
from neuroport.program.initialize import init
from neuroport.program.lower import lower
from neuroport.program.needs import needs
from neuroport.testing.base import Kit
from neuroport.testing.catalog import CATALOG, Feature
from neuroport.testing.subject import EVALUATION, GRADIENTS, Subject, skip, way_of

STEPS = 3


def _targets(executable: Trainable, steps: int, batch: int) -> np.ndarray:
    """Zeros of the kind that the loss takes."""
    if executable.training.loss.targets == "classes":
        return np.zeros(batch, np.int64)
    (shape,) = executable.program.outputs.values()
    return np.zeros((steps, batch, int(np.prod(shape))), np.float32)


class Refusal(Kit):
    """Each feature alone, in the least model that needs it."""

    @pytest.mark.parametrize("feature", CATALOG, ids=repr)
    def test_undeclared_raises_and_declared_runs(self, subject: Subject, feature: Feature) -> None:
        model = feature.build(subject.dt)
        training = feature.training
        if training is not None:
            training = training.model_copy(update={"batch_size": subject.batch(2), "epochs": 1})
        if subject.able.support(feature.name).level is not Level.FULL:
            self._refused(subject, feature, training)
            return
        if feature.name in subject.shown:
            return  # it ran, and was right, in a test of the norm tier or of learning
        executable = subject.executable(model, training, feature.precision)
        handle, batch = executable.load(init(model)), subject.batch(2)
        shapes = executable.program.inputs
        inputs = {name: np.ones((STEPS, batch, *shape), np.float32) for name, shape in shapes.items()}
        if training is None:
            result = executable.run(handle, executable.init_state(batch), inputs)
            assert all(np.isfinite(np.asarray(value)).all() for value in result.outputs.values())
            return
        assert isinstance(executable, Trainable)
        way = way_of(feature.name)
        if way == GRADIENTS:
            targets = _targets(executable, STEPS, batch)
            found = executable.gradients(handle, executable.init_state(batch), inputs, targets)
            assert set(found.parameters) == set(executable.program.trainable)
            assert all(np.isfinite(value).all() for value in found.parameters.values())
            return
        ((_, shape),) = shapes.items()
        data = executable.stage(stage(np.ones((batch, STEPS, *shape), np.uint8), np.zeros(batch, np.int64)))
        rows = training.accumulate
        order, mask = np.tile(np.arange(batch), (rows, 1)), np.ones((rows, batch))
        if way == EVALUATION:
            judged = executable.evaluate(handle, data, order, mask)
            assert {label: value.shape for label, value in judged.extra.items()} == {
                metric.label: (rows,) for metric in training.metrics}
            return
        factors = training.schedule.factors(1, 1)
        partners = order if any(of.needs_partner for of in training.augmentation) else None
        after, metrics = executable.train_segment(
            executable.init_training(handle), data, order, mask, factors, (0, 0), None, partners)
        assert np.isfinite(np.asarray(metrics.loss)).all()
        assert set(executable.export(executable.current(after))) == set(executable.program.parameters)

    def _refused(self, subject: Subject, feature: Feature, training: object) -> None:
        model = feature.build(subject.dt)
        every = needs(lower(model), feature.training, feature.precision)
        wanted = [need for need in every if need.feature == feature.name]
        assert wanted, f"the model does not need {feature.name}: a fault of the kit's catalog"
        with pytest.raises(UnsupportedModel) as raised:
            api.compile(model, engine=subject.engine, precision=feature.precision, training=training)  # type: ignore[arg-type]
        for need in wanted:
            named = [gap for gap in raised.value.gaps if gap.path == need.path and need.words in gap.wrong]
            assert named, f"{need.path} ({need.words}) is not among the gaps: {raised.value}"

    def test_a_batch_beyond_the_largest_is_refused(self, subject: Subject) -> None:
        largest = subject.able.max_batch
        if largest is None:
            skip("max_batch=None")
        feature = next(feature for feature in CATALOG if feature.name == "neuron.LIF")
        model = feature.build(subject.dt)
        with pytest.raises(UnsupportedModel, match="batch"):
            api.run(model, init(model), np.ones((STEPS, largest + 1, 2), np.float32), engine=subject.engine)
