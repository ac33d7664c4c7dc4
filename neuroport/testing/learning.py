"""Training: ten steps of every lesson, padding, evaluation, snapshots; against the reference in norm."""

from __future__ import annotations

import numpy as np
import pytest

from neuroport import api
from neuroport.engine.base import Trainable
from neuroport.testing.base import Kit
from neuroport.testing.learned import BATCH, SAMPLES, Learned, learned, one_epoch, ten_steps
from neuroport.testing.lessons import LESSONS, METRICS, Lesson, chosen
from neuroport.testing.norm_tier import Report
from neuroport.testing.subject import EVALUATION, STEPS, Subject, arrays, skip
from neuroport.testing.tiers import LOSSES, PARAMETERS, distance, equal, near

(PLAIN,) = chosen("LIF, recurrent")
EVALUATED = [*chosen("LIF, recurrent", "counts", "floats", "dropout", "augmented"), *METRICS]
INTERRUPTED = chosen(
    "momentum and weight decay", "Adam", "Lion", "RMSprop with momentum, warmed up", "trainable LIF",
    "accumulated by three, dropout",
)


class Learning(Kit):
    """Ten steps of training and what surrounds them.

    An optimizer that goes by the sign of a number jumps where that number is near zero, whatever the
    machine: lessons are drawn so that Lion's keep clear of it, as membranes do of thresholds.
    """

    def _prepare(self, subject: Subject, lesson: Lesson) -> tuple[Trainable, Learned]:
        if subject.able.weight_bits is not None:
            skip(f"weight_bits={subject.able.weight_bits}")
        precision = subject.precision("float32", "float64")
        batch = subject.batch(BATCH)
        executable = subject.trainable(lesson.build(subject.dt), lesson.training(subject.dt, batch), precision)
        return executable, learned(lesson, subject.dt, batch)

    @pytest.mark.parametrize("lesson", LESSONS, ids=repr)
    def test_ten_steps_of_training(self, subject: Subject, lesson: Lesson, record_property: Report) -> None:
        executable, of = self._prepare(subject, lesson)
        record_property("inputs passed over because a membrane came near its threshold", of.passed_over)
        start = executable.init_training(executable.load(of.parameters))
        first = arrays(executable.export(executable.current(start)))
        after, losses = ten_steps(executable, start, executable.stage(of.data), of.plan)
        valid = of.plan.valid
        np.testing.assert_allclose(losses[valid], of.losses[valid], LOSSES, LOSSES, err_msg="losses of the batches")
        reached = arrays(executable.export(executable.current(after)))
        near(reached, of.after, PARAMETERS, f"parameters after ten steps of {lesson.name}")
        still = [name for name in reached
                 if name not in executable.program.trainable or of.training.rate_factor(name) == 0]
        equal({name: reached[name] for name in still}, {name: first[name] for name in still}, "what does not learn")
        moved = [name for name in of.after if distance(of.after[name], of.parameters[name]) > PARAMETERS]
        assert moved, "nothing was trained: a fault of the kit's lesson"
        ways = [{name: at[name] - np.float64(of.parameters[name]) for name in moved} for at in (reached, of.after)]
        near(ways[0], ways[1], PARAMETERS, "the way from the first parameters, which is short against their size")
        subject.show(of.model, of.training, STEPS)

    def test_padding_does_not_count(self, subject: Subject) -> None:
        if subject.batch(BATCH) < 2:
            skip(f"max_batch={subject.able.max_batch}")
        executable, of = self._prepare(subject, PLAIN)
        data = executable.stage(of.data)
        other = np.where(of.plan.mask > 0, of.plan.order, (of.plan.order + 5) % SAMPLES)
        assert (other != of.plan.order).any()
        reached = []
        for order in (of.plan.order, other):
            start = executable.init_training(executable.load(of.parameters))
            after, losses = ten_steps(executable, start, data, of.plan._replace(order=order))
            reached.append({**arrays(executable.export(executable.current(after))), "losses": losses})
        near(reached[1], reached[0], 1e-6, "with other samples as padding")

    @pytest.mark.parametrize("lesson", EVALUATED, ids=repr)
    def test_evaluation_gives_losses_decisions_metrics_and_rates(self, subject: Subject, lesson: Lesson) -> None:
        executable, of = self._prepare(subject, lesson)
        handle, data = executable.load(of.after), executable.stage(of.data)
        order, mask = (np.concatenate(part) for part in of.plan[:2])
        found, expected = executable.evaluate(handle, data, order, mask), of.evaluation
        np.testing.assert_allclose(found.loss, expected.loss, LOSSES, LOSSES)
        np.testing.assert_array_equal(found.correct, expected.correct)
        np.testing.assert_array_equal(found.count, expected.count)
        near(arrays(found.rates), arrays(expected.rates), 1e-6, "rates")
        assert (found.decisions is None) == (expected.decisions is None) == (not of.data.has_classes)
        if expected.decisions is not None:
            np.testing.assert_array_equal(np.asarray(found.decisions)[mask > 0], expected.decisions[mask > 0])
        near(arrays(found.extra), arrays(expected.extra), LOSSES, "metrics")
        subject.show(of.model, of.training, EVALUATION)

    @pytest.mark.parametrize("lesson", INTERRUPTED, ids=repr)
    def test_a_training_goes_on_from_a_snapshot_bit_by_bit(self, subject: Subject, lesson: Lesson) -> None:
        self._interrupted(subject, lesson, anew=False)

    def test_a_snapshot_is_restored_by_another_executable(self, subject: Subject) -> None:
        (adam,) = chosen("Adam")
        self._interrupted(subject, adam, anew=True)

    def _interrupted(self, subject: Subject, lesson: Lesson, anew: bool) -> None:
        if not subject.able.deterministic:
            skip("deterministic=False")
        executable, of = self._prepare(subject, lesson)
        data = executable.stage(of.data)
        start = executable.init_training(executable.load(of.parameters))
        halfway, _ = one_epoch(executable, start, data, of.plan, 0)
        snapshot = executable.snapshot(halfway)
        foreign = [name for name, value in snapshot.items()
                   if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif"]
        assert not foreign, f"a checkpoint holds plain NumPy arrays of numbers; these are none: {foreign}"
        # going on may use up the training, and must leave the snapshot alone
        expected = _concluded(executable, halfway, data, of)
        if anew:
            executable = api.compile(  # type: ignore[assignment]
                of.model, engine=subject.engine, precision=subject.precision("float32", "float64"),
                training=of.training)
            data = executable.stage(of.data)
        restored = executable.restore({name: value.copy() for name, value in snapshot.items()})
        equal(arrays(executable.snapshot(restored)), snapshot, "snapshot of what was restored from it")
        equal(_concluded(executable, restored, data, of), expected, "after the second epoch")


def _concluded(executable: Trainable, halfway: object, data: object, of: Learned) -> dict[str, np.ndarray]:
    """Parameters and losses after the second epoch."""
    after, losses = one_epoch(executable, halfway, data, of.plan, 1)
    return {**arrays(executable.export(executable.current(after))), "losses of the batches": losses}
