"""The public functions: what they accept, return, cache and refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from neuroport_reference.engine import ReferenceEngine

import neuroport as npt
from neuroport.engine.base import EngineInfo
from neuroport.engine.capabilities import FULL, Capabilities, Level, Support, stepping_engine
from neuroport.hookspecs import hookimpl
from neuroport.registry import Registry, using


class Small(ReferenceEngine):
    """An engine with a batch of one, no gradients, no hard reset and one neuron; it counts its compilations."""

    name = "small"
    compiled = 0

    def capabilities(self, device: str | None = None) -> Capabilities:
        features = {**stepping_engine(["Linear"], training=False), "neuron.*": Support(Level.NOT_IMPLEMENTED)}
        features |= {"neuron.LIF": FULL, "reset.hard": Support(Level.IMPOSSIBLE, "the circuit subtracts")}
        return Capabilities(features, precisions=("float32",), max_batch=1)

    def compile(self, program: Any, options: Any) -> Any:
        Small.compiled += 1
        return super().compile(program, options)


class Plugin:
    @hookimpl
    def neuroport_engines(self) -> list[EngineInfo]:
        return [
            EngineInfo("full", "neuroport_reference.engine:ReferenceEngine"),
            EngineInfo("small", f"{__name__}:Small", priority=5),
        ]


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Two engines in place of those that are installed."""
    with using(Registry([Plugin()])) as found:
        yield found


def model(*layers: Any, **changed: Any) -> npt.Model:
    return npt.Model.sequential((4,), 1e-3, layers or [npt.Linear(3), npt.LIF(5e-3)], **changed)


def spikes(steps: int = 12, batch: int = 2, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((steps, batch, 4)) < 0.5).astype(np.float32)


def test_a_run_returns_numpy_outputs_records_and_state() -> None:
    its = model()
    found = npt.run(its, npt.init(its), spikes(), "reference", record=["1_lif.v"])
    assert type(found.outputs) is np.ndarray and found.outputs.shape == (12, 2, 3)
    assert found.records["1_lif"]["v"].shape == (12, 2, 3)
    assert found.state["1_lif.v"].shape == (2, 3)
    assert found.info["engine"] == "reference" and found.info["device"] == "cpu"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (["1_lif.v"], {"1_lif": {"v"}}),
        ([("1_lif", "v")], {"1_lif": {"v"}}),
        (["1_lif"], {"1_lif": {"spikes", "v", "v_pre"}}),
        (["v"], {"1_lif": {"v"}, "3_cubali": {"v"}}),
        ("spikes", {"1_lif": {"spikes"}}),
        (["i", "3_cubali.i"], {"3_cubali": {"i"}}),
        ([], {}),
    ],
)
def test_what_is_recorded_can_be_named_in_several_ways(record: Any, expected: dict) -> None:
    its = model(npt.Linear(3), npt.LIF(5e-3), npt.Linear(2), npt.CubaLI(5e-3, 5e-3))
    found = npt.run(its, npt.init(its), spikes(), "reference", record=record)
    assert {node: set(traces) for node, traces in found.records.items()} == expected


def test_several_outputs_come_as_a_dict() -> None:
    its = npt.Model(
        nodes={"input": npt.Input((4,)), "a": npt.Output(), "b": npt.Output()},
        edges=[("input", "a"), ("input", "b", 1)], dt=1e-3)
    found = npt.run(its, {}, {"input": spikes()}, "reference")
    assert set(found.outputs) == {"a", "b"}
    np.testing.assert_array_equal(found.outputs["b"][1:], found.outputs["a"][:-1])


def test_two_chunks_equal_one_run() -> None:
    its, x = model(npt.Recurrent(npt.Linear(4), npt.LIF(5e-3))), spikes()
    held = npt.init(its)
    whole = npt.run(its, held, x, "reference")
    first = npt.run(its, held, x[:5], "reference")
    second = npt.run(its, held, x[5:], "reference", state=first.state)
    np.testing.assert_array_equal(np.concatenate([first.outputs, second.outputs]), whole.outputs)


def test_gradients_cover_every_trainable_parameter() -> None:
    its = model(npt.Linear(3), npt.LIF(npt.Parameter(5e-3)), npt.Linear(2, trainable=False), npt.LI(5e-3))
    found = npt.gradients(its, npt.init(its), spikes(), np.array([0, 1]), engine="reference",
                          regularizers=[npt.RateBounds(upper=0.01)])
    assert set(found.parameters) == {"0_linear.weight", "0_linear.bias", "1_lif.tau"}
    assert found.loss > 0 and all(np.abs(value).sum() > 0 for value in found.parameters.values())


def test_a_penalty_on_parameters_adds_its_own_gradient() -> None:
    its = model()
    held, labels = npt.init(its), np.array([0, 1])
    plain = npt.gradients(its, held, spikes(), labels, engine="reference")
    penalized = npt.gradients(its, held, spikes(), labels, engine="reference", regularizers=[npt.WeightL2(0.25)])
    w = held["0_linear.weight"].astype(np.float64)
    assert penalized.loss == pytest.approx(plain.loss + 0.25 * np.square(w).sum())
    added = {name: penalized.parameters[name] - plain.parameters[name] for name in plain.parameters}
    np.testing.assert_allclose(added["0_linear.weight"], 0.5 * w, atol=1e-12)
    np.testing.assert_array_equal(added["0_linear.bias"], 0.0)


def test_traces_are_compared_in_the_shape_of_the_output() -> None:
    its = npt.Model.sequential((1, 4, 4), 1e-3, [npt.Conv2d(2, 3), npt.LI(5e-3)])
    held, x = npt.init(its), np.random.default_rng(0).random((6, 3, 1, 4, 4))
    outputs = npt.run(its, held, x, "reference").outputs
    at_rest = npt.gradients(its, held, x, outputs, "TraceMSE", "reference")
    assert at_rest.loss == pytest.approx(0, abs=1e-12) and not any(of.any() for of in at_rest.parameters.values())
    off = npt.gradients(its, held, x, outputs + 0.5, "TraceMSE", "reference")
    assert off.loss == pytest.approx(0.25) and np.abs(off.parameters["0_conv2d.weight"]).min() > 0


class Loudness(npt.Loss):
    """A user's loss: how far the mean activity is from a wanted one."""

    wanted: float = 0.2

    def per_sample(self, outputs: Any, targets: Any, step: Any) -> Any:
        apart = npt.ops.mean(npt.ops.mean(outputs, 0), 1) - self.wanted
        return apart * apart


@pytest.mark.parametrize("engine", ["reference", "jax", "torch"])
def test_a_loss_of_ones_own_needs_nothing_but_its_formula(engine: str) -> None:
    if engine != "reference":
        pytest.importorskip(engine, reason=f"{engine} is not installed")
    its = model(npt.Linear(3), npt.LI(5e-3))
    held, x = npt.init(its), spikes()
    found = npt.gradients(its, held, x, np.array([0, 0]), Loudness(wanted=0.3), engine)
    outputs = npt.run(its, held, x, engine).outputs
    assert found.loss == pytest.approx(np.square(outputs.mean((0, 2)) - 0.3).mean(), rel=1e-5)
    assert npt.gradients(its, held, x, np.array([0, 0]), "Loudness", engine).loss != found.loss
    moved = {name: held[name] - 0.5 * found.parameters[name] for name in found.parameters}
    assert npt.gradients(its, moved, x, np.array([0, 0]), Loudness(wanted=0.3), engine).loss < found.loss


def test_equal_calls_compile_once_and_a_changed_model_anew(registry: Registry) -> None:
    its, before = model(), Small.compiled
    for seed in range(3):
        npt.run(model(), npt.init(its), spikes(batch=1, seed=seed), "small")
    assert Small.compiled == before + 1
    npt.run(npt.Model.parse({**its.to_data(), "dt": 2e-3}), npt.init(its), spikes(batch=1), "small")
    assert Small.compiled == before + 2


def test_every_gap_is_reported_with_the_engines_that_can(registry: Registry) -> None:
    its = model(npt.Linear(3), npt.ALIF(tau=5e-3), npt.Scale(2), numerics={"reset": "hard"})
    with pytest.raises(npt.UnsupportedModel) as raised:
        npt.compile(its, "small", precision="float64", training=npt.Training())
    said = str(raised.value)
    for word in (
        "1_alif: the neuron ALIF", "reset='hard', impossible (the circuit subtracts)", "2_scale: the node Scale",
        "precision: float64, impossible", "training: gradients", "batch: 32 samples", "engines that can: full",
    ):
        assert word in said, said
    assert raised.value.able == ("full",)


def test_a_batch_that_is_too_large_is_refused(registry: Registry) -> None:
    with pytest.raises(npt.UnsupportedModel, match=r"2 samples at once, impossible \(at most 1"):
        npt.run(model(), npt.init(model()), spikes(batch=2), "small")


def test_without_a_name_the_first_engine_that_can_is_taken_and_announced(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroport.registry._announced", set())
    held = npt.init(model())
    assert npt.run(model(), held, spikes(batch=1)).info["engine"] == "small"
    assert npt.run(model(), held, spikes(batch=2)).info["engine"] == "full"
    npt.run(model(), held, spikes(batch=2))
    said = capsys.readouterr()
    assert said.err.count('taking "small"') == 1 and said.err.count('taking "full"') == 1 and not said.out


def test_an_engine_can_be_given_as_an_object() -> None:
    found = npt.run(model(), npt.init(model()), spikes(), ReferenceEngine())
    assert found.outputs.shape == (12, 2, 3)


def test_parameters_depend_on_seed_and_name_alone() -> None:
    one, other = npt.init(model(), 1), npt.init(model(npt.Linear(3), npt.LIF(5e-3), npt.Linear(9)), 1)
    np.testing.assert_array_equal(one["0_linear.weight"], other["0_linear.weight"])
    assert not np.array_equal(one["0_linear.weight"], npt.init(model(), 2)["0_linear.weight"])


def neuroport(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "neuroport", *arguments], capture_output=True, text=True)


def test_the_command_engines_prints_one_json_document() -> None:
    done = neuroport("engines", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and {"name", "version", "devices", "state", "reason"} <= set(found[0])
    assert [one["name"] for one in found if one["default"]] == [found[0]["name"]]


def test_a_wrong_request_ends_with_code_two_and_nothing_on_standard_output() -> None:
    for arguments in (["train", "no/such/file.yaml"], ["engines", "--jsn"], ["no-such-command"]):
        done = neuroport(*arguments)
        assert done.returncode == 2 and not done.stdout and done.stderr, arguments
        assert "Traceback" not in done.stderr
