"""Norm tier: voltages within 1e-5 and gradients within 1e-4 of the float64 reference, per tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from neuroport.engine.base import Options, RunResult, Trainable
from neuroport.testing.base import Kit
from neuroport.testing.cases import CASES, Case
from neuroport.testing.clear import MARGIN, Clear, clear, watching
from neuroport.testing.subject import Subject, arrays, reference
from neuroport.testing.tiers import GRADIENTS, LOSSES, VOLTAGES, equal, flat, near

Report = Callable[[str, object], None]
# cases that differ in their gradients alone need not run twice
RUN = [case for case in CASES if case.forward]
CONTINUED = [case for case in CASES if case.name in ("ALIF, recurrent", "delays", "Delay nodes", "Spyx")]


def same_activity(found: RunResult, reference: RunResult, name: str) -> None:
    """Records and outputs of two runs: spikes exactly, everything else in norm."""
    traces, expected = flat(found.records), flat(reference.records)
    spikes = [name for name in expected if name.endswith(".spikes")]
    equal({name: traces[name] for name in spikes}, {name: expected[name] for name in spikes}, name)
    near(traces, expected, VOLTAGES, name)
    near(arrays(found.outputs), arrays(reference.outputs), VOLTAGES, "outputs")


def compare_activity(subject: Subject, case: Case, report: Report) -> None:
    """A run of a case against the reference: spikes exactly, everything else in norm."""
    precision = subject.precision("float32", "float64")
    snapped = subject.snapped
    model = case.build(subject.dt)
    training = case.taught(subject.dt)
    covered = subject.able.has_gradients and not subject.covers(model, training)
    executable = subject.executable(model, training if covered else None, precision)
    of = _clear(subject, case, snapped, report)
    state = executable.init_state(subject.batch(case.batch))
    found = executable.run(executable.load(of.parameters), state, of.inputs, of.record)
    same_activity(found, of.result, case.name)
    near(arrays(found.state), arrays(of.result.state), VOLTAGES, "state after the run")
    subject.show(model)


def compare_gradients(subject: Subject, case: Case, report: Report) -> None:
    """The gradients of a case against the reference's, tensor by tensor."""
    precision = subject.precision("float32", "float64")
    executable = subject.trainable(case.build(subject.dt), case.taught(subject.dt), precision)
    of = _clear(subject, case, subject.snapped, report)
    state = executable.init_state(subject.batch(case.batch))
    found = executable.gradients(executable.load(of.parameters), state, of.inputs, of.targets, None, of.noise)
    assert abs(float(found.loss) - of.gradients.loss) <= LOSSES * max(1.0, abs(of.gradients.loss))
    near(arrays(found.parameters), of.gradients.parameters, GRADIENTS, f"gradients of {case.name}")
    subject.show(of.model, executable.training)


def _clear(subject: Subject, case: Case, snapped: bool, report: Report) -> Clear:
    of = clear(case, subject.dt, subject.batch(case.batch), snapped)
    report("inputs passed over because a membrane came near its threshold", of.passed_over)
    return of


class NormTier(Kit):
    """General coefficients, on inputs whose membranes keep clear of the threshold at all steps.

    How many inputs were passed over stands in each test's properties (``--junit-xml``).
    """

    @pytest.mark.parametrize("case", RUN, ids=repr)
    def test_voltages(self, subject: Subject, case: Case, record_property: Report) -> None:
        compare_activity(subject, case, record_property)

    @pytest.mark.parametrize("case", CASES, ids=repr)
    def test_gradients(self, subject: Subject, case: Case, record_property: Report) -> None:
        compare_gradients(subject, case, record_property)

    @pytest.mark.parametrize("case", CONTINUED, ids=repr)
    def test_gradients_from_a_state_and_with_weighted_samples(self, subject: Subject, case: Case) -> None:
        precision = subject.precision("float32", "float64")
        executable = subject.trainable(case.build(subject.dt), case.taught(subject.dt), precision)
        batch = subject.batch(case.batch)
        of = clear(case, subject.dt, batch, subject.snapped)
        judge = reference().compile(of.program, Options(training=executable.training))
        assert isinstance(judge, Trainable)
        weights = np.arange(batch, dtype=np.float64) + (batch == 1)
        weights = weights / weights.sum()
        # from where the first run ended, once more the same input
        start = arrays(of.result.state)
        with watching(MARGIN / 10) as close:
            expected = judge.gradients(judge.load(of.parameters), start, of.inputs, of.targets, weights)
        assert not any(close), "a membrane comes near its threshold: a fault of the kit's inputs"
        # weights come in float64 and are used in the engine's own precision
        found = executable.gradients(executable.load(of.parameters), start, of.inputs, of.targets, weights)
        assert abs(float(found.loss) - expected.loss) <= LOSSES * max(1.0, abs(expected.loss))
        near(arrays(found.parameters), expected.parameters, GRADIENTS, f"gradients of {case.name}")

    def test_few_inputs_are_passed_over(self, subject: Subject, record_property: Report) -> None:
        covered = [case for case in CASES if not subject.covers(case.build(subject.dt))]
        passed = {case.name: clear(case, subject.dt, subject.batch(case.batch), subject.snapped).passed_over
                  for case in covered}
        total = sum(passed.values())
        record_property("inputs passed over", f"{total} of {total + len(passed)}")
        print(f"\npassed over {total} of {total + len(passed)} draws that came near a threshold")
        assert total <= len(passed) + 1, f"the search passes over too much: {passed}"
