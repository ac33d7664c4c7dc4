"""Checkpoints: the gradient of the whole run, from states at the borders of chunks alone."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from neuroport_torch.checkpoint import chunk_steps  # noqa: E402
from neuroport_torch.engine import TorchExecutable  # noqa: E402
from neuroport_torch.saved import saved_bytes  # noqa: E402
from unit.test_torch_gradients import MODELS, TRAINING, TRUNCATED, task  # noqa: E402

from neuroport import compile as compile_model  # noqa: E402
from neuroport.engine.base import Noise, Options  # noqa: E402
from neuroport.errors import UnsupportedModel  # noqa: E402
from neuroport.model.graph import Model, Recurrent  # noqa: E402
from neuroport.model.layers import Linear  # noqa: E402
from neuroport.model.losses import CrossEntropy, RateMSE  # noqa: E402
from neuroport.model.neurons import LI, LIF  # noqa: E402
from neuroport.model.surrogates import Boxcar  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402

CPU = torch.device("cpu")
SIZES = [1, 14, "sqrt"]  # 14 is the whole run
# with kernels where what they restore, carry over or read again differs: each other one would have to be compiled
CASES = [(name, 5, name in TRUNCATED) for name in MODELS]  # the last chunk is shorter
CASES += [(name, size, True) for name in ("own neuron, trained", "recurrent", "Delay nodes", "delays")
          for size in SIZES]


def executable(model, training, precision="float64", fused=True):
    return TorchExecutable(lower(model), Options(device="cpu", precision=precision, training=training), CPU, fused)


@pytest.mark.parametrize("name,chunk,fused", CASES)
def test_the_gradient_is_that_of_the_whole_run(name, chunk, fused):
    parameters, state, inputs, targets = task(MODELS[name])
    noise, found = Noise(3, 1, np.arange(3)), []
    for steps in (None, chunk):
        one = executable(MODELS[name], TRAINING.model_copy(update={"checkpoint_steps": steps}), fused=fused)
        found.append(one.gradients(one.load(parameters), state, inputs, targets, noise=noise))
    assert found[1].loss == pytest.approx(found[0].loss, rel=1e-13)
    for key, g in found[0].parameters.items():
        close = {"rtol": 1e-10, "atol": 1e-12 * max(1, np.abs(g).max())}
        np.testing.assert_allclose(found[1].parameters[key], g, **close, err_msg=key)


@pytest.mark.parametrize("cycle", [False, True], ids=["forward", "recurrent"])
def test_where_sums_are_exact_the_gradient_is_equal_bit_by_bit(cycle):
    neuron = LIF.from_decay(0.5, surrogate=Boxcar(width=2.0))
    model = Model.sequential(input=4, dt=2**-10, layers=[
        Linear(8), Recurrent(Linear(8), neuron) if cycle else neuron, Linear(4), neuron])
    random = np.random.default_rng(0)
    parameters = {key: random.integers(-2, 5, value.shape) / 4 for key, value in init(model).items()}
    inputs = {"input": (random.random((16, 4, 4)) < 0.4) * 1.0}
    found = []
    for steps in (None, 3, 4, "sqrt"):
        training = Training(loss=RateMSE(correct=0.75, incorrect=0.125), checkpoint_steps=steps)
        one = executable(model, training)
        found.append(one.gradients(one.load(parameters), one.init_state(4), inputs, np.arange(4)))
    assert max(np.abs(g).max() for g in found[0].parameters.values()) > 0
    for other in found[1:]:
        assert other.loss == found[0].loss
        for key, g in found[0].parameters.items():
            np.testing.assert_array_equal(other.parameters[key], g, err_msg=key)


def test_checkpoints_and_truncation_go_together():
    parameters, state, inputs, targets = task(MODELS["recurrent"])
    found = []
    for steps in (None, 2):
        one = executable(MODELS["recurrent"], TRAINING.model_copy(update={"truncate": 5, "checkpoint_steps": steps}))
        found.append(one.gradients(one.load(parameters), state, inputs, targets).parameters)
    for key, g in found[0].items():
        np.testing.assert_allclose(found[1][key], g, rtol=1e-10, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("cycle", [False, True], ids=["forward", "recurrent"])
def test_memory_grows_with_the_square_root_of_time(cycle):
    neuron = LIF(tau=5e-3)
    model = Model.sequential(input=4, dt=1e-3, layers=[
        Linear(32), Recurrent(Linear(32), neuron) if cycle else neuron, Linear(32), neuron, Linear(2), LI(tau=5e-3)])

    def kept(steps, chunk):
        training = Training(loss=CrossEntropy(over="mean"), checkpoint_steps=chunk)
        one, x = executable(model, training, "float32"), np.ones((steps, 3, 4), np.float32)
        found = saved_bytes(one, one.load(init(model)), {"input": x}, np.arange(3) % 2)
        return sum(size for name, size in found.items() if name != "Cat")  # what the objective reads is kept whole

    def at_once(steps):
        """At the borders, and of one chunk while it is reversed."""
        return kept(steps, "sqrt") + kept(chunk_steps(steps, "sqrt"), None)

    assert kept(1024, None) > 3.5 * kept(256, None)
    assert at_once(1024) < 2.2 * at_once(256)
    assert at_once(1024) < kept(1024, None) / 8


@pytest.mark.parametrize("steps,expected", [(0, 1), (1, 1), (2, 2), (100, 10), (101, 11)])
def test_chunks_are_the_square_root_of_time_rounded_up(steps, expected):
    assert chunk_steps(steps, "sqrt") == expected


def test_an_engine_without_checkpoints_refuses_them():
    with pytest.raises(UnsupportedModel, match="training.checkpoint_steps: states kept at checkpoints alone"):
        compile_model(MODELS["LIF"], engine="reference", training=Training(checkpoint_steps=4))
