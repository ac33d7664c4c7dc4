"""A data set shared out over several devices: each holds a part, and the training ends where one device's does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax", reason="jax is not installed")

import neuroport as npt
from neuroport.choose import Wanted, choose
from neuroport.engine.base import Engine
from neuroport.program.lower import lower
from neuroport.registry import registry


@pytest.fixture(scope="module")
def seen() -> dict:
    """What a process with four devices has seen."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    script = str(Path(__file__).parent / "several_devices.py")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False,
                           env={**os.environ, "XLA_FLAGS": flags})
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_devices_of_a_kind_are_named_one_by_one_and_all_together(seen):
    assert seen["devices"] == ["cpu", "cpu:1", "cpu:2", "cpu:3", "cpu:0-3"] and seen["device"] == "cpu:0-3"


def test_a_training_on_four_devices_ends_where_one_device_does_within_the_norm_tier(seen):
    for name, value in seen["one"].items():
        one, several = np.array(value), np.array(seen["several"][name])
        assert np.linalg.norm(several - one) <= 1e-3 * np.linalg.norm(one), name
    assert seen["accuracies"][0] == seen["accuracies"][1] == seen["judged"]


def test_each_device_holds_its_part_of_the_samples_and_no_more(seen):
    count, *rest = seen["whole"]
    assert seen["held"] == [[-(-count // 4), *rest]] * 4


def test_each_device_computes_its_part_of_a_batch_and_gradients_are_added_up_at_once(seen):
    assert seen["products"] == {"24": True, "96": False} and seen["added_up"] == 1


def test_a_run_gives_the_same_on_several_devices(seen):
    assert seen["outputs_apart"] < 1e-5


def test_a_set_streamed_to_several_devices_gives_the_same_bits_as_one_that_lies_there(seen):
    assert seen["streamed"] == seen["several"]


def test_an_engine_that_shares_out_nothing_refuses_several_devices_by_name(seen):
    for word in ('engine "reference" cannot run this model',
                 "device: several devices at once (cpu:0-3), not implemented"):
        assert word in seen["refused"]
    assert "Installed engines that can: jax" in seen["refused"]


def test_several_devices_that_are_not_there_are_no_device():
    class Four(Engine):
        name = "four"

        def devices(self):
            return ["cpu"]

        def capabilities(self, device=None):
            return registry().engine("jax").capabilities()

        def compile(self, program, options):
            raise AssertionError

    model = npt.Model.sequential(input=(2,), dt=1e-3, layers=[npt.Linear(2), npt.LIF(tau=5e-3)])
    with pytest.raises(npt.UnknownDevice, match="has no device 'cpu:0-3' here"):
        choose(registry(), Wanted(lower(model), "cpu:0-3"), Four())
