"""The kit itself: it finds faults, and its list of expected failures is strict."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
from neuroport_reference.engine import ReferenceEngine, ReferenceExecutable

from neuroport.data.staging import stage
from neuroport.engine.base import Noise
from neuroport.model.losses import TET, CrossEntropy, RateMSE, TemporalCrossEntropy
from neuroport.testing import EngineConformance
from neuroport.testing.cases import CASES
from neuroport.testing.lessons import chosen
from neuroport.testing.subject import Subject

BROKEN = '''
import numpy as np
from neuroport_reference.engine import ReferenceEngine, ReferenceExecutable
from neuroport.testing import EngineConformance


class BrokenExecutable(ReferenceExecutable):
    """Float32 weights one part in a thousand too large, a gradient too large, padding that counts."""

    def load(self, parameters):
        held = super().load(parameters)
        return {name: value * (1.001 if name.endswith("weight") else 1) for name, value in held.items()}

    def gradients(self, handle, state, inputs, targets, weights=None, noise=None):
        found = super().gradients(handle, state, inputs, targets, None, noise)
        return found._replace(parameters={name: 1.01 * g for name, g in found.parameters.items()})


class BrokenEngine(ReferenceEngine):
    name = "broken"

    def compile(self, program, options):
        return BrokenExecutable(program, options)


class TestBroken(EngineConformance):
    engine_factory = BrokenEngine
    expected_failures = {FAILURES}
'''


@pytest.fixture
def verdicts(tmp_path):
    """Run the kit on the broken engine; gives the verdict of each test by its name."""

    def run(expected_failures, select):
        file = tmp_path / "test_broken.py"
        file.write_text(BROKEN.replace("{FAILURES}", repr(expected_failures)))
        command = [sys.executable, "-m", "pytest", str(file), "-v", "-p", "no:cacheprovider", "-k", select]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        found = dict(re.findall(r"::TestBroken::(.+?) (PASSED|FAILED|XFAIL|SKIPPED|ERROR)\b", done.stdout))
        assert found, done.stdout + done.stderr
        return done, found

    return run


def test_faults_are_found(verdicts):
    done, found = verdicts({}, "LIF and not LIFs or padding or evaluation or export")
    wrong = {name for name, verdict in found.items() if verdict == "FAILED"}
    for name in ("test_voltages[LIF]", "test_gradients[LIF]", "test_spikes_and_voltages_equal_bit_by_bit[LIF]",
                 "test_padding_does_not_count", "test_parameters_survive_load_and_export[LIF]"):
        assert name in wrong, done.stdout[-3000:]


def test_a_listed_failure_is_expected_and_one_that_passes_fails(verdicts):
    listed = {"test_voltages[LIF]": "weights are off", "test_voltages[LI]": "weights are off",
              "test_engine_has_its_name_devices_and_versions": "passes, in truth"}
    _, found = verdicts(listed, "test_voltages or test_engine_has")
    assert found["test_voltages[LIF]"] == found["test_voltages[LI]"] == "XFAIL"
    assert found["test_voltages[IF]"] == "FAILED"
    assert found["test_engine_has_its_name_devices_and_versions"] == "FAILED"


def test_a_listed_failure_that_names_no_test_fails(verdicts):
    done, found = verdicts({"test_voltages[LIFF]": "a slip", "test_gradients": "all of them"}, "expected_failure")
    assert found == {"test_every_expected_failure_names_a_test": "FAILED"}
    assert "expected_failures lists ['test_voltages[LIFF]']" in done.stdout


class Altered(ReferenceEngine):
    """The reference with some of a training changed, or with another executable."""

    def __init__(self, executable=ReferenceExecutable, **changes):
        self.executable, self.changes = executable, changes

    def compile(self, program, options):
        training = options.training and options.training.model_copy(update=self.changes)
        return self.executable(program, dataclasses.replace(options, training=training))


class Stale(ReferenceExecutable):
    def train_segment(self, training, staged, order, mask, factors, *rest):
        return super().train_segment(training, staged, order, mask, np.full_like(factors, factors[0]), *rest)


class PaddingCounts(ReferenceExecutable):
    """Batches that are padding alone weigh as much as others."""

    def train_segment(self, training, staged, order, mask, factors, *rest):
        full = np.where(mask.any(1, keepdims=True), mask, 1.0)
        training, found = super().train_segment(training, staged, order, full, factors, *rest)
        return training, found._replace(count=mask.sum(1))


class CalledByRow(ReferenceExecutable):
    """Noise is keyed by the row of the staged data, whatever its sample is called."""

    def train_segment(self, training, staged, order, mask, factors, noise, identities=None, partners=None):
        return super().train_segment(training, staged, order, mask, factors, noise, None, partners)


class AugmentedAlways(ReferenceExecutable):
    """Evaluation sees augmented samples, too."""

    def evaluate(self, handle, staged, order, mask):
        samples = np.arange(len(staged))
        x = np.moveaxis(self._augmented(staged, samples, Noise(7, 0, samples), samples), 1, 0)
        return super().evaluate(handle, stage(x, staged.labels), order, mask)


class MomentumOfSteps(ReferenceExecutable):
    """Momentum takes up steps: the rate of the day stands inside the sum."""

    def _moved(self, training, gradients, factor):
        scaled = {name: (m / max(factor, 1e-9) * self.last, v) for name, (m, v) in training.moments.items()}
        self.last = factor
        return super()._moved(dataclasses.replace(training, moments=scaled), gradients, factor)

    last = 1.0


class Decaying(ReferenceExecutable):
    """A rate of zero stops the gradient's steps and lets weights decay."""

    def _moved(self, training, gradients, factor):
        after = super()._moved(training, gradients, factor)
        still = {name: value * 0.999 for name, value in after.parameters.items()
                 if self.training.rate_factor(name) == 0}
        return dataclasses.replace(after, parameters={**after.parameters, **still})


class Forgetful(ReferenceExecutable):
    """Checkpoints without the second moments."""

    def snapshot(self, training):
        found = super().snapshot(training)
        return {name: value * 0 if name.startswith("second/") else value for name, value in found.items()}


class Counting(ReferenceExecutable):
    """Checkpoints without the step that biases are corrected by."""

    def restore(self, arrays):
        return super().restore({**arrays, "step": np.zeros((), int)})


class LastOfTies(ReferenceExecutable):
    def decide(self, outputs):
        (found,) = self._activity(outputs).values()
        return found.shape[2] - 1 - np.argmax(found.sum(0)[:, ::-1], 1)


def learns(lesson):
    return lambda kit, subject: kit.test_ten_steps_of_training(subject, *chosen(lesson), lambda name, value: None)


def evaluates(lesson):
    return lambda kit, subject: kit.test_evaluation_gives_losses_decisions_metrics_and_rates(subject, *chosen(lesson))


def resumes(lesson):
    return lambda kit, subject: kit.test_a_training_goes_on_from_a_snapshot_bit_by_bit(subject, *chosen(lesson))


def derives(name):
    (case,) = [case for case in CASES if case.name == name]
    return lambda kit, subject: kit.test_gradients(subject, case, lambda name, value: None)


# what an engine may do wrong in training, and a test that must find it
FAULTS = {
    "no label smoothing": (Altered(loss=CrossEntropy()), learns("loss: mean, smoothed")),
    "TET without its second part": (Altered(loss=TET(weight=0.0)), learns("loss: TET")),
    "another rate wanted": (Altered(loss=RateMSE(correct=0.6, incorrect=0.12)), learns("loss: RateMSE")),
    "no reward for being early": (
        Altered(loss=TemporalCrossEntropy(tau=4 * 2.0**-10)), derives("loss: TemporalCrossEntropy")),
    "no regularizer of rates": (Altered(regularizers=()), learns("rates of layers and neurons")),
    "no regularizer of weights": (Altered(regularizers=()), derives("WeightL1")),
    "no clipping": (Altered(clip_norm=None), learns("clipped")),
    "one learning rate for all": (Altered(learning_rates={}), learns("learning rates by parameter")),
    "decay where the rate is zero": (Altered(Decaying), learns("a learning rate of zero for a time constant")),
    "the gradient is not cut": (Altered(truncate=None), derives("truncated, recurrent")),
    "the gradient is cut elsewhere": (Altered(truncate=6), learns("truncated, recurrent")),
    "the first factor throughout": (Altered(Stale), learns("schedule: Cosine")),
    "padding makes a step smaller": (Altered(PaddingCounts), learns("accumulated")),
    "no augmentation": (Altered(augmentation=()), learns("augmented")),
    "augmentation of what is judged": (Altered(AugmentedAlways), evaluates("augmented")),
    "noise keyed by rows": (Altered(CalledByRow), learns("mixed, dropout")),
    "momentum of steps": (Altered(MomentumOfSteps), learns("RMSprop with momentum, warmed up")),
    "no metrics": (Altered(metrics=()), evaluates("metrics")),
    "the last of tied classes": (Altered(LastOfTies), evaluates("metrics of spikes")),
    "checkpoints without moments": (Altered(Forgetful), resumes("Adam")),
    "checkpoints without the step": (Altered(Counting), resumes("Adam")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_training_is_found(fault):
    engine, test = FAULTS[fault]
    with pytest.raises(AssertionError):
        test(EngineConformance(), Subject(engine))


@pytest.mark.parametrize("test", [learns("accumulated"), evaluates("metrics of spikes"), resumes("Adam")])
def test_an_engine_without_fault_passes(test):
    test(EngineConformance(), Subject(Altered()))
