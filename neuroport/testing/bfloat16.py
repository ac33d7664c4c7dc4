"""Products in bfloat16: an engine that declares this precision is held to what the reference makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from neuroport.engine.base import Options, Trainable
from neuroport.testing.base import Kit
from neuroport.testing.cases import CASES, Case
from neuroport.testing.clear import Clear, clear
from neuroport.testing.norm_tier import same_activity
from neuroport.testing.subject import Subject, arrays, reference, skip
from neuroport.testing.tiers import LOSSES, ROUNDED_GRADIENTS, distance, near

PRECISION = "bfloat16"
# every place that a product has: ahead, in a cycle, in its reverse, over images, behind delays and dropout
NAMES = (
    "LIF", "LIF, recurrent", "ALIF, recurrent", "Spyx", "trainable CubaLIF, euler, recurrent",
    "convolution and pooling", "convolution over one axis", "delays", "dropout in a cycle", "truncated, recurrent",
    "two inputs, two outputs",
)
PLACES = [case for case in CASES if case.name in NAMES]


class RoundedProducts(Kit):
    """Voltages as close as ever, since both sides round the same numbers: spikes, which are exact, and weights.

    A cotangent is no such number: it is the outcome of sums, whose last bit decides about its rounding
    where it lies next to a boundary. So gradients have a bound that allows some of those, and must be
    nearer to the definition than to the same network without rounding.
    """

    def _clear(self, subject: Subject, case: Case) -> Clear:
        if PRECISION not in subject.able.precisions:
            skip(f"precisions={', '.join(subject.able.precisions)}")
        if subject.able.weight_bits is not None:
            skip(f"weight_bits={subject.able.weight_bits}")
        return clear(case, subject.dt, subject.batch(case.batch), False, PRECISION)

    @pytest.mark.parametrize("case", PLACES, ids=repr)
    def test_activity_in_bfloat16_is_that_of_rounded_operands(self, subject: Subject, case: Case) -> None:
        of = self._clear(subject, case)
        executable = subject.executable(case.build(subject.dt), case.taught(subject.dt), PRECISION)
        state = executable.init_state(subject.batch(case.batch))
        found = executable.run(executable.load(of.parameters), state, of.inputs, of.record)
        same_activity(found, of.result, case.name)
        narrow = [name for name, value in arrays(found.outputs).items() if value.dtype.itemsize < 4]
        assert not narrow, f"results are float32 or more, not {narrow}"

    @pytest.mark.parametrize("case", PLACES, ids=repr)
    def test_gradients_in_bfloat16_are_those_of_rounded_operands(self, subject: Subject, case: Case) -> None:
        of = self._clear(subject, case)
        executable = subject.trainable(case.build(subject.dt), case.taught(subject.dt), PRECISION)
        state = executable.init_state(subject.batch(case.batch))
        found = executable.gradients(executable.load(of.parameters), state, of.inputs, of.targets, None, of.noise)
        assert abs(float(found.loss) - of.gradients.loss) <= LOSSES * max(1.0, abs(of.gradients.loss))
        near(arrays(found.parameters), of.gradients.parameters, ROUNDED_GRADIENTS, f"gradients of {case.name}")

    def test_gradients_in_bfloat16_are_not_those_of_plain_products(self, subject: Subject) -> None:
        (case,) = (case for case in PLACES if case.name == "LIF, recurrent")
        of = self._clear(subject, case)
        executable = subject.trainable(case.build(subject.dt), case.taught(subject.dt), PRECISION)
        judge = reference().compile(of.program, Options(training=executable.training))
        assert isinstance(judge, Trainable)
        batch = subject.batch(case.batch)
        found, plain = (
            one.gradients(one.load(of.parameters), one.init_state(batch), of.inputs, of.targets).parameters
            for one in (executable, judge))

        def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
            return distance(*(np.concatenate([np.ravel(its[name]) for name in sorted(of.gradients.parameters)])
                              for its in (one, other)))

        defined = of.gradients.parameters
        assert apart(found, defined) < 0.25 * apart(plain, defined), "operands of products are not rounded"
