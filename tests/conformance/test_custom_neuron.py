"""The neuron of examples/custom_neuron.py, held to the kit like a built-in one."""

import ast
import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest

import neuroport as npt
from neuroport.testing import NeuronConformance

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_neuron.py"
_spec = importlib.util.spec_from_file_location("custom_neuron", EXAMPLE)
assert _spec is not None and _spec.loader is not None
custom_neuron = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(custom_neuron)


def resonator(dt: float) -> npt.Neuron:
    return custom_neuron.Resonator(tau=12 * dt, omega=0.4 / dt, v_threshold=0.8)


class TestResonatorOnJax(NeuronConformance):
    engine_name = "jax"
    neuron = staticmethod(resonator)


class TestResonatorOnTorch(NeuronConformance):
    engine_name = "torch"
    neuron = staticmethod(resonator)


def test_the_neuron_takes_at_most_fifteen_lines() -> None:
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    (neuron,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    written = inspect.getsource(custom_neuron).splitlines()[neuron.lineno - 1 : neuron.end_lineno]
    assert len([line for line in written if line.strip()]) <= 15


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_training_moves_its_frequencies_and_lowers_the_loss(engine: str) -> None:
    random = np.random.default_rng(0)
    classes = np.arange(70) % 7
    # each class its own rate per channel, so that there is something to learn
    x = (random.random((70, 40, 12)) < random.random((7, 12))[classes][:, None] * 0.6).astype(np.uint8)
    packed = npt.data.stage(x, classes)
    splits = npt.data.Splits(train=packed, validation=packed, test=packed)
    training = npt.Training(optimizer=npt.Adam(learning_rate=2e-2), epochs=4, batch_size=35)
    run = npt.fit(npt.Experiment(model=custom_neuron.model(), training=training), engine=engine, data=splits)
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    moved = run.parameters["1_resonator.omega"] - npt.init(run.model)["1_resonator.omega"]
    assert np.abs(moved).max() > 0.1
