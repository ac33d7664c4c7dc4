"""The torch engine: bits, states, products; and that it leaves torch as it found it."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from neuroport_reference.engine import ReferenceEngine  # noqa: E402
from neuroport_torch import products  # noqa: E402
from neuroport_torch.arena import Arena  # noqa: E402
from neuroport_torch.engine import TorchEngine, TorchExecutable  # noqa: E402

from neuroport.data.staging import stage  # noqa: E402
from neuroport.engine.base import Options  # noqa: E402
from neuroport.model.graph import Model, Recurrent  # noqa: E402
from neuroport.model.layers import Linear  # noqa: E402
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLIF  # noqa: E402
from neuroport.model.numerics import Numerics  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.model.values import Parameter  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402

CPU = torch.device("cpu")
T, B = 300, 5
HALF = Parameter(value=[0.5, 0.75, 0.25, 0.5, 0.5, 0.5, 0.75], trainable=False)
NEURONS = {
    "IF": IF(), "LIF": LIF.from_decay(0.5), "LIF of general decay": LIF.from_decay(0.9),
    "LIF of decays": LIF(decay=HALF),
    "CubaLIF": CubaLIF.from_decay(0.5, 0.75, r=0.5), "ALIF": ALIF(decay=0.75, tau_adapt=0.02, beta=0.25),
    "hard": LIF.from_decay(0.75, numerics=Numerics(reset="hard"), v_reset=-0.25),
    "spyx": LIF.from_decay(0.75, numerics=Numerics(reset_delay=1, output_delay=1)),
    "snntorch": LIF.from_decay(0.75, numerics=Numerics(reset_rule="snntorch", reset="hard")),
    "many spikes": LIF.from_decay(0.5, numerics=Numerics(multi_spike=True, comparison="ge")), "LI": LI.from_decay(0.75),
}


def dyadic(model, seed=0):
    """Weights k / 64 under which neurons spike."""
    random = np.random.default_rng(seed)
    return {name: value if name.endswith("decay") else random.integers(-40, 64, value.shape).astype(np.float32) / 64
            for name, value in init(model, seed).items()}


def spikes(shape, rate=0.2, seed=0):
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.float32)


def torch_executable(model, fused=True, training=None):
    options = Options(device="cpu", training=training)
    return TorchExecutable(lower(model), options, CPU, fused)


def everything(program):
    return [(name, what) for name, bound in program.neurons.items() for what in bound.records]


def run(found, parameters, inputs, state=None):
    state = found.init_state(inputs.shape[1]) if state is None else state
    return found.run(found.load(parameters), state, {"input": inputs}, everything(found.program))


def assert_same(a, b):
    for name, value in a.outputs.items():
        np.testing.assert_array_equal(value, b.outputs[name], err_msg=name)
    for name, of in a.records.items():
        for what, value in of.items():
            np.testing.assert_array_equal(value, b.records[name][what], err_msg=f"{name}.{what}")
    for name, value in a.state.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(b.state[name]), err_msg=name)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
@pytest.mark.parametrize("cycle", [False, True], ids=["forward", "recurrent"])
@pytest.mark.parametrize("name", NEURONS)
def test_every_value_equals_numpys_bit_by_bit(name, cycle, fused):
    neuron = NEURONS[name]
    layers = [Linear(7), Recurrent(Linear(7, bias=False), neuron) if cycle else neuron]
    layers += [Linear(3)] if neuron.spiking else []  # a voltage has too many bits for an exact product
    if cycle and name in ("LI", "many spikes"):
        pytest.skip("grows without end")
    model = Model.sequential(input=4, dt=2**-10, layers=layers)
    parameters = dyadic(model)
    if cycle:
        parameters["1_" + type(neuron).__name__.lower() + "_recurrent.weight"] /= 4
    inputs = spikes((T, B, 4))
    reference = ReferenceEngine().compile(lower(model), Options(precision="float32"))
    expected = run(reference, parameters, inputs)
    got = run(torch_executable(model, fused), parameters, inputs)
    if neuron.spiking:
        (spiking,) = (of["spikes"] for of in got.records.values() if "spikes" in of)
        assert 0.01 < spiking.mean() < 3
    assert all(value.dtype == np.float32 for value in got.outputs.values())
    assert_same(got, expected)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
@pytest.mark.parametrize("cut", [0, 1, 123])
def test_two_chunks_equal_one_run(cut, fused):
    model = Model.sequential(
        input=4, dt=1e-3, layers=[Linear(7), Recurrent(Linear(7), LIF.from_decay(0.5)), CubaLIF.from_decay(0.5, 0.75),
                                  Linear(3), LI.from_decay(0.5)], numerics=Numerics(reset_delay=1, output_delay=1))
    parameters, inputs = dyadic(model), spikes((T, B, 4))
    found = torch_executable(model, fused)
    whole = run(found, parameters, inputs)
    first = run(found, parameters, inputs[:cut])
    second = run(found, parameters, inputs[cut:], first.state)
    np.testing.assert_array_equal(np.concatenate([first.outputs["output"], second.outputs["output"]]),
                                  whole.outputs["output"])
    for name, value in whole.state.items():
        np.testing.assert_array_equal(second.state[name], value, err_msg=name)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
def test_it_does_not_matter_how_a_state_lies_in_memory(fused):
    model = Model.sequential(input=4, dt=1e-3, layers=[
        Linear(7), LIF.from_decay(0.5), Recurrent(Linear(7), LIF.from_decay(0.75))])
    parameters, inputs, found = dyadic(model), spikes((20, B, 4)), torch_executable(model, fused)
    start = {name: torch.tensor(value) for name, value in run(found, parameters, inputs).state.items()}
    turned = {name: value.transpose(0, -1).contiguous().transpose(0, -1) for name, value in start.items()}
    assert any(not value.is_contiguous() for value in turned.values())
    assert_same(run(found, parameters, inputs, turned), run(found, parameters, inputs, start))


def test_a_result_outlives_the_next_run():
    model = Model.sequential(input=4, dt=1e-3, layers=[Linear(7), LIF.from_decay(0.5)])
    found = torch_executable(model)
    first = run(found, dyadic(model), spikes((T, B, 4)))
    kept = first.outputs["output"].copy()
    run(found, dyadic(model, 1), spikes((T, B, 4), 0.9))
    np.testing.assert_array_equal(first.outputs["output"], kept)


# --- products ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("amount", [1.0, 1.5], ids=["spikes", "other numbers"])
def test_products_agree_whatever_way_they_take(rate, dtype, biased, amount):
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(1003, 90, generator=generator) < rate).to(dtype) * amount
    weight = torch.randn(70, 90, generator=generator, dtype=dtype)
    bias = torch.randn(70, generator=generator, dtype=dtype) if biased else None
    dy = torch.randn(1003, 70, generator=generator, dtype=dtype)
    leaves = [value.requires_grad_() for value in (x, weight, bias) if value is not None]
    assert len(x) * weight.numel() >= products.LARGE
    got, way = products.linear(x, weight, bias, Arena())
    assert (way == "events") == (rate < 0.5 and products.HAS_NUMBA)
    expected = torch.nn.functional.linear(x, weight, bias)
    close = {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(got, expected, **close)
    mine = torch.autograd.grad(got, leaves, dy)
    for one, other in zip(mine, torch.autograd.grad(expected, leaves, dy), strict=True):
        torch.testing.assert_close(one, other, **close)


@pytest.mark.parametrize("rate", [0.03, 0.5])
def test_a_product_with_spikes_lets_go_of_them(rate):
    x = (torch.rand(2003, 100) < rate).float()
    expected = x.clone()
    weight = torch.randn(70, 100, requires_grad=True)
    dy = torch.randn(2003, 70)
    held = weakref.ref(x)
    got, _ = products.linear(x, weight, None, Arena())
    x.fill_(torch.nan)  # who made the spikes writes over them
    del x
    assert held() is None
    torch.testing.assert_close(torch.autograd.grad(got, weight, dy)[0], dy.t() @ expected, rtol=1e-4, atol=1e-4)


def test_a_buffer_is_handed_out_again_when_nothing_refers_to_it():
    arena, place = Arena(), (torch.float32, torch.device("cpu"))
    first, second = arena.empty((3, 4), *place), arena.empty((12,), *place)
    address, row = first.data_ptr(), first[1].numpy()
    del first
    assert {arena.empty((2, 6), *place).data_ptr()}.isdisjoint({address, second.data_ptr()})
    assert len(arena.storages()) == 2
    del row
    assert arena.empty((12,), *place).data_ptr() == address
    arena.reset()  # the next step: all of them, in the same order
    assert [arena.empty((4, 3), *place).data_ptr() for _ in range(2)] == [address, address]


@pytest.mark.parametrize("cycle", [False, True], ids=["forward", "recurrent"])
@pytest.mark.parametrize("name", ["LIF of general decay", "CubaLIF", "ALIF", "hard", "spyx", "snntorch"])
def test_generated_loops_give_the_plain_loops_gradients(name, cycle):
    neuron = NEURONS[name]
    model = Model.sequential(input=4, dt=2**-10, layers=[
        Linear(7), Recurrent(Linear(7, bias=False), neuron) if cycle else neuron, Linear(3), LI.from_decay(0.9)])
    parameters, inputs = dyadic(model), {"input": spikes((50, B, 4))}
    one, other = (torch_executable(model, fused, Training()) for fused in (True, False))
    got, plain = (found.gradients(found.load(parameters), found.init_state(B), inputs, np.arange(B) % 3).parameters
                  for found in (one, other))
    for key, g in plain.items():
        if cycle:  # sums run in another order there
            np.testing.assert_allclose(got[key], g, rtol=1e-4, atol=1e-5 * np.abs(g).max(), err_msg=key)
        else:
            np.testing.assert_array_equal(got[key], g, err_msg=key)


# --- manners -------------------------------------------------------------------------------------


def test_nothing_global_changes():
    def globals_of_torch():
        return (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), torch.initial_seed(),
                torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled, torch.get_rng_state().tolist())

    before = globals_of_torch()
    model = Model.sequential(input=4, dt=1e-3, layers=[Linear(7), LIF.from_decay(0.5), Linear(3), LI(tau=5e-3)])
    found = torch_executable(model, True, Training())
    state, data = found.init_training(found.load(init(model))), stage(spikes((6, T, 4)), np.arange(6) % 3)
    found.train_segment(state, found.stage(data), np.arange(6).reshape(2, 3), np.ones((2, 3)), np.ones(2), (0, 0))
    assert globals_of_torch() == before


def test_the_engine_says_what_it_uses():
    model = Model.sequential(input=4, dt=1e-3, layers=[Linear(7), LIF.from_decay(0.5)])
    info = run(torch_executable(model), dyadic(model), spikes((3, B, 4))).info
    assert info["device"] == "cpu" and info["precision"] == "float32"
    assert info["loops"] == {"1_lif": "PopulationAlong"} and info["products"] == {"0_linear": "torch"}
    assert "cpu" in TorchEngine().devices() and "torch" in TorchEngine().versions()
    features = TorchEngine().capabilities("cpu").features
    assert {"node.Linear", "node.Conv2d", "optimizer.Adam", "gradients"} <= set(features)


def test_two_threads_may_run_at_once():
    model = Model.sequential(input=4, dt=1e-3, layers=[Linear(7), Recurrent(Linear(7), LIF.from_decay(0.5)), Linear(3)])
    found = torch_executable(model, True, Training())
    parameters, inputs = dyadic(model), spikes((T, B, 4))

    def work(_):
        found.gradients(found.load(parameters), found.init_state(B), {"input": inputs}, np.arange(B) % 3)
        return run(found, parameters, inputs)

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(work, range(8))
    for other in others:
        assert_same(first, other)


def test_without_numba_the_plain_loop_runs():
    code = """
import sys
import weakref
sys.modules["numba"] = None
import numpy as np
from neuroport.engine.base import Options
from neuroport.model.graph import Model
from neuroport.model.layers import Linear
from neuroport.model.neurons import LIF
from neuroport.program.initialize import init
from neuroport.program.lower import lower
from neuroport_torch.engine import TorchEngine
model = Model.sequential(input=4, dt=1e-3, layers=[Linear(7), LIF.from_decay(0.5)])
found = TorchEngine().compile(lower(model), Options(device="cpu"))
done = found.run(found.load(init(model)), found.init_state(2), {"input": np.ones((3, 2, 4), np.float32)})
print(done.info["loops"]["1_lif"], sorted(TorchEngine().versions()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.strip() == "EagerLoop ['torch']"


def test_importing_the_plugin_imports_no_framework():
    code = "import sys, neuroport_torch.plugin; print({'torch', 'numba', 'jax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.strip() == "set()"
