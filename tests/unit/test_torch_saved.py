"""What the torch engine keeps between the forward and the backward pass of a step."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba", reason="without it loops run step by step")

from neuroport_torch.arena import Arena  # noqa: E402
from neuroport_torch.engine import TorchExecutable  # noqa: E402
from neuroport_torch.saved import graph_bytes, saved_bytes  # noqa: E402
from neuroport_torch.training import judge  # noqa: E402

from neuroport.engine.base import Options  # noqa: E402
from neuroport.model.graph import Model, Recurrent  # noqa: E402
from neuroport.model.layers import Linear  # noqa: E402
from neuroport.model.losses import CrossEntropy  # noqa: E402
from neuroport.model.neurons import LI, LIF, CubaLIF  # noqa: E402
from neuroport.model.surrogates import Boxcar, StraightThrough  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402

T, B, N = 64, 8, 128
ONE = T * B * N * 4  # bytes of a float32 for each neuron, sample and step


def network(*hidden):
    layers = [layer for neuron in hidden for layer in (Linear(N), neuron)]
    return Model.sequential(input=N, dt=1e-3, layers=[*layers, Linear(64), LI(tau=20e-3)])


def compiled(model):
    options = Options(device="cpu", training=Training(loss=CrossEntropy(over="mean")))
    return TorchExecutable(lower(model), options, torch.device("cpu"))


def task(model, rate=0.05, seed=0):
    random = np.random.default_rng(seed)
    return init(model), {"input": (random.random((T, B, N)) < rate).astype(np.float32)}, np.arange(B) % 4


def kept(model):
    found = compiled(model)
    parameters, inputs, targets = task(model)
    return sum(saved_bytes(found, found.load(parameters), inputs, targets).values())


# neurons, and how many numbers they keep in each step: after a product over events each state at every eighth alone
CASES = {
    "LIF": ([LIF(tau=9e-3), LIF(tau=9e-3)], 2 / 8), "CubaLIF": ([CubaLIF(tau_syn=4e-3, tau_mem=9e-3)], 2 / 8),
    "Boxcar": ([LIF(tau=9e-3, surrogate=Boxcar()), LIF(tau=9e-3, surrogate=Boxcar())], 2 / 32),
    "StraightThrough": ([LIF(tau=9e-3, surrogate=StraightThrough())], 0),
    "recurrent": ([Recurrent(Linear(N), LIF(tau=9e-3))], 1),
}


def test_of_a_dense_input_one_value_a_step_is_kept_of_each_neuron(monkeypatch):
    monkeypatch.setattr("neuroport_torch.marks.DENSE", -1.0)  # no product is one over events
    assert 2 * ONE <= kept(network(LIF(tau=9e-3), LIF(tau=9e-3))) < 3.4 * ONE  # and the input, which is one more


@pytest.mark.parametrize("name", CASES)
def test_one_value_a_step_at_most_is_kept_of_each_neuron_and_of_spikes_next_to_nothing(name):
    neurons, numbers = CASES[name]
    assert numbers * ONE <= kept(network(*neurons)) < (numbers + 0.2 * len(neurons)) * ONE


def test_what_is_counted_is_all_that_the_step_holds():
    model = network(LIF(tau=9e-3), LIF(tau=9e-3))
    found, (parameters, inputs, targets), arena = compiled(model), task(model), Arena()
    leaves = {name: value.requires_grad_() for name, value in found.load(parameters).items()}
    with torch.enable_grad():
        loss, read = judge(
            found.compiled, found.training, leaves, found.init_state(B), found._puts(inputs),
            torch.as_tensor(targets), torch.full((B,), 1 / B), None, arena)
    del read
    held, counted = sum(arena.storages().values()), sum(graph_bytes(loss, leaves.values()).values())
    assert 2 / 8 * ONE <= held <= counted
    del loss
    assert not arena.storages()
