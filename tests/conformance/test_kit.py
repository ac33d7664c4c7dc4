"""The kit itself: it finds faults, and its list of expected failures is strict."""

import re
import subprocess
import sys

import pytest

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
