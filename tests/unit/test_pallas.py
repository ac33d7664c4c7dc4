"""Populations as Pallas kernels: equal to the scan and to the reference when interpreted, and they lower to CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pallas = pytest.importorskip("neuroport_jax.pallas")

import jax.numpy as jnp  # noqa: E402
from neuroport_jax import devices  # noqa: E402
from neuroport_jax.engine import JaxEngine, JaxExecutable  # noqa: E402
from neuroport_jax.run import forward  # noqa: E402
from neuroport_jax.training import Batches, train_batches  # noqa: E402
from neuroport_jax.ways import SCAN, WAYS, Way, Ways, ways_on  # noqa: E402
from neuroport_reference.engine import ReferenceEngine  # noqa: E402

from neuroport.data.staging import stage  # noqa: E402
from neuroport.engine.base import Options  # noqa: E402
from neuroport.model.graph import Model  # noqa: E402
from neuroport.model.layers import Linear  # noqa: E402
from neuroport.model.neurons import ALIF, LI, LIF, CubaLIF, Neuron  # noqa: E402
from neuroport.model.numerics import Numerics  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.model.values import Normal, Parameter, Uniform  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import Program, lower  # noqa: E402
from neuroport.program.schedule import Loop, Population  # noqa: E402
from neuroport.testing.cases import NUMERICS, SURROGATES  # noqa: E402
from neuroport.testing.clear import every_record, search, watching  # noqa: E402
from neuroport.testing.networks import NEURONS, TRAINABLE, feedback, network, recurrent  # noqa: E402

DT = 2.0**-10
T, B, UNITS = 5, 3, 5  # a block that is not full
MARGIN = 1e-4
INTERPRETED: Ways = {Population: Way(kernel=True, interpret=True), Loop: Way()}
QUICK = {"xla_backend_optimization_level": 0}  # compiling is most of what these tests take


def populations() -> dict[str, tuple[Neuron, Numerics | None]]:
    found: dict[str, tuple[Neuron, Numerics | None]] = {name: (of(DT), None) for name, of in NEURONS.items()}
    found |= {f"LIF, {type(of).__name__}": (LIF(tau=8 * DT, surrogate=of), None) for of in SURROGATES}
    for name, numerics in NUMERICS.items():
        strength = 3.0 if numerics.multi_spike else 1.0
        found[f"LIF, {name}"] = LIF(tau=8 * DT, r=strength, v_leak=0.1, v_reset=-0.2), numerics
    for name in ("soft reset delayed", "snntorch rule, soft", "Spyx"):
        found[f"ALIF, {name}"] = ALIF(tau=8 * DT, tau_adapt=20 * DT, beta=0.2), NUMERICS[name]
    found["LI, output delayed"] = LI(tau=8 * DT), NUMERICS["output delayed"]
    found["bias on the membrane"] = CubaLIF(tau_syn=4 * DT, tau_mem=8 * DT), Numerics(bias_on="membrane")
    found |= {f"trainable {name} per neuron": (of(DT, "neuron"), None) for name, of in TRAINABLE.items()}
    found |= {f"trainable {name} per layer": (TRAINABLE[name](DT, "layer"), None) for name in ("LIF", "ALIF")}
    taus = Parameter(value=Uniform(low=6 * DT, high=12 * DT), trainable=False)
    return {**found, "frozen heterogeneous tau": (LIF(tau=taus), None)}


POPULATIONS = populations()


def built(neuron: Neuron, numerics: Numerics | None = None, shape: tuple[int, ...] = (UNITS,)) -> Program:
    """One population; a layer in front where a bias is wanted."""
    layers: list[Any] = [neuron]
    if numerics is not None and numerics.bias_on == "membrane":
        layers = [Linear(UNITS, weight_init=Normal(std=1.5), bias_init=Uniform(low=-0.2, high=0.6)), neuron]
    return lower(Model.sequential(shape, DT, layers, numerics))


def drawn(program: Program, seed: int, steps: int = T, batch: int = B) -> tuple[Any, Any, Any]:
    """Parameters, a state that is not zero, and an input, float32."""
    random = np.random.default_rng(seed)
    state = {name: 0.5 * random.random(shape) for name, shape in program.state_shapes(batch).items()}
    for name in state:
        if name.endswith("last_output"):
            state[name] = np.round(state[name])
    x = {name: random.normal(0.5, 1.2, (steps, batch, *shape)) for name, shape in program.inputs.items()}
    single = [{name: np.asarray(value, np.float32) for name, value in of.items()} for of in (state, x)]
    return init(program.model, seed), *single


def of_the_reference(program: Program, steps: int = T, batch: int = B) -> tuple[Any, Any]:
    """Arrays on which every decision is clear, and the reference's run of them with every record."""
    executable = ReferenceEngine().compile(program, Options())

    def attempt(seed: int) -> Any:
        parameters, state, x = drawn(program, seed, steps, batch)
        with watching(MARGIN) as close:
            found = executable.run(executable.load(parameters), state, x, every_record(program))
        return None if any(close) else ((parameters, state, x), found)

    return search(attempt, "a population")[0]


def everything(program: Program, ways: Ways) -> Any:
    """(parameters, state, inputs, seeds of cotangents) -> outputs, state after, and what all of them pull back."""

    def run(parameters: Any, state: Any, x: Any) -> Any:
        activity = forward(program, parameters, state, x, ways=ways)
        return {name: activity.values[name] for name in program.outputs}, activity.state

    def pulled(*arrays: Any) -> Any:
        found, back = jax.vjp(run, *arrays)
        return found, back(jax.tree.map(lambda value: jnp.cos(jnp.arange(value.size, dtype=value.dtype) ** 2).reshape(
            value.shape), found))

    return pulled


def computed(function: Any, *arrays: Any) -> Any:
    return jax.jit(function).lower(*arrays).compile(QUICK)(*arrays)


def agree(found: Any, expected: Any, tolerance: float) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for path, value in jax.tree_util.tree_leaves_with_path(expected):
        other = dict(jax.tree_util.tree_leaves_with_path(found))[path]
        size = max(float(np.abs(value).max()), 1e-3)
        np.testing.assert_allclose(other, value, rtol=0, atol=tolerance * size, err_msg=jax.tree_util.keystr(path))


# 0.11 lowers for the GPU that is there
lowers = pytest.mark.skipif(
    jax.__version_info__ >= (0, 11) and jax.default_backend() != "gpu", reason="this jax lowers to CUDA only on a GPU")


def lowered(function: Any, *arrays: Any) -> str:
    """The text of a function lowered to CUDA, which takes no GPU."""
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=("cuda",)).as_text()


def kernels(text: str) -> int:
    return text.count("__gpu$xla.gpu.triton")


# --- values ----------------------------------------------------------------------------------------


@pytest.fixture
def two_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two turns of the kernel's loop and a rest in few steps: half of the code to compile."""
    monkeypatch.setattr(pallas, "TOGETHER", 2)


@pytest.mark.usefixtures("two_together")
@pytest.mark.parametrize("name", POPULATIONS)
def test_the_kernel_and_its_reverse_equal_the_scan_and_the_reference(name: str) -> None:
    program = built(*POPULATIONS[name])
    arrays, expected = of_the_reference(program)
    (outputs, state), cotangents = computed(everything(program, INTERPRETED), *arrays)
    agree(outputs, expected.outputs, 1e-5)
    agree(state, expected.state, 1e-5)
    agree(((outputs, state), cotangents), computed(everything(program, SCAN), *arrays), 2e-5)


@pytest.mark.usefixtures("two_together")
@pytest.mark.parametrize("name", ["LIF", "LI", "CubaLIF", "ALIF, Spyx", "a stranger's neuron"])
def test_the_kernel_records_what_the_reference_records(name: str) -> None:
    program = built(*POPULATIONS[name])
    arrays, expected = of_the_reference(program)
    record = every_record(program)
    found = computed(lambda *given: forward(program, *given, record, ways=INTERPRETED).records, *arrays)
    assert set(found) == set(record)
    for (node, what), value in found.items():
        agree(value, expected.records[node][what], 1e-5)


@pytest.mark.parametrize(("steps", "batch", "shape"), [
    (1, 1, (1,)), (3, 2, (7,)), (4, 1, (128,)), (9, 3, (2, 5, 13)),
])
def test_any_number_of_steps_and_neurons_will_do(steps: int, batch: int, shape: tuple[int, ...]) -> None:
    program = built(TRAINABLE["LIF"](DT, "channel"), None, shape)  # reads states, and coefficients per channel
    arrays, expected = of_the_reference(program, steps, batch)
    found = computed(everything(program, INTERPRETED), *arrays)
    agree(found[0][0], expected.outputs, 1e-5)
    agree(found, computed(everything(program, SCAN), *arrays), 2e-5)


def test_two_chunks_equal_the_whole_to_the_bit() -> None:
    program = built(CubaLIF.from_decay(0.5, 0.75, r=0.25, w_in=0.5))  # exact in float32, however it is compiled
    parameters, state, x = drawn(program, 0, steps=8)
    state, x = jax.tree.map(lambda value: np.round(value * 64) / 64, (state, x))

    def run(state: Any, x: Any) -> Any:
        activity = forward(program, parameters, state, x, every_record(program), ways=INTERPRETED)
        return activity.records, activity.state

    halves = [{name: value[part] for name, value in x.items()} for part in (slice(0, 4), slice(4, 8))]
    whole, end = computed(run, state, x)
    first, middle = computed(run, state, halves[0])
    second, last = computed(run, middle, halves[1])
    for key, value in whole.items():
        assert np.concatenate([first[key], second[key]]).tobytes() == np.asarray(value).tobytes()
    assert all(np.asarray(end[name]).tobytes() == np.asarray(last[name]).tobytes() for name in end)


def test_what_is_recorded_can_be_differentiated() -> None:
    program = built(*POPULATIONS["trainable ALIF per neuron"])
    arrays, _ = of_the_reference(program)

    def loss(ways: Ways) -> Any:
        def of(*given: Any) -> Any:
            records = forward(program, *given, every_record(program), ways=ways).records
            return sum((value * (1.0 + value)).sum() for value in records.values())

        return jax.grad(of, (0, 1, 2))

    agree(computed(loss(INTERPRETED), *arrays), computed(loss(SCAN), *arrays), 2e-5)


def test_an_ensemble_is_one_kernel_over_its_members() -> None:
    program = built(*POPULATIONS["trainable LIF per neuron"])
    together = jax.tree.map(lambda *values: np.stack(values), *(drawn(program, seed) for seed in range(2)))
    found, expected = (computed(jax.vmap(everything(program, ways)), *together) for ways in (INTERPRETED, SCAN))
    agree(found, expected, 2e-5)


# --- whole programs --------------------------------------------------------------------------------


def training(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> tuple[JaxExecutable, Any, Any]:
    """An executable whose device runs segments in these ways, the state a training starts from, staged data."""
    monkeypatch.setattr(devices, "ways_on", lambda devices: ways)
    executable = JaxEngine().compile(lower(recurrent_and_ahead()), Options(device="cpu", training=Training()))
    random = np.random.default_rng(0)
    data = executable.stage(stage(random.integers(0, 2, (8, T, 6)), random.integers(0, 3, 8)))
    return executable, executable.init_training(executable.load(init(executable.program.model, 0))), data


def recurrent_and_ahead() -> Model:
    return network(LIF(tau=8 * DT), DT, back=feedback(), readout=CubaLIF(tau_syn=4 * DT, tau_mem=8 * DT, r=3.0))


def test_a_training_with_kernels_learns_what_one_with_scans_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    order, found = np.arange(8).reshape(2, 4), []
    for ways in (INTERPRETED, SCAN):
        executable, state, data = training(ways, monkeypatch)
        state, metrics = executable.train_segment(state, data, order, np.ones((2, 4)), np.ones(2), (7, 0))
        judged = executable.evaluate(executable.current(state), data, order, np.ones((2, 4)))
        found.append((executable.export(executable.current(state)), metrics.loss, judged.loss, judged.rates))
    agree(*found, 1e-4)


@lowers
def test_an_epoch_lowers_to_cuda_with_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    executable, state, (data, steps, binary) = training(WAYS["gpu"], monkeypatch)
    order = jnp.arange(8).reshape(2, 4)
    batches = Batches(order, jnp.ones((2, 4)), order, None)
    text = lowered(lambda state: train_batches(
        executable.program, executable.training, executable._optimizer, steps, binary, state, data, batches,
        jnp.ones(2), 7, jnp.zeros(1, jnp.uint32)), state)
    assert kernels(text) == 2  # the population ahead; the cycle is a loop


# --- code for GPUs ---------------------------------------------------------------------------------


@lowers
@pytest.mark.parametrize("name", POPULATIONS)
def test_the_kernel_and_its_reverse_lower_to_cuda(name: str) -> None:
    program = built(*POPULATIONS[name])
    text = lowered(everything(program, WAYS["gpu"]), *drawn(program, 0))
    assert kernels(text) == 2 and "stablehlo.while" not in text


@lowers
def test_a_vmapped_kernel_lowers_to_cuda() -> None:
    program = built(*POPULATIONS["trainable LIF per neuron"])
    together = jax.tree.map(lambda *values: np.stack(values), *(drawn(program, seed) for seed in range(2)))
    assert kernels(lowered(jax.vmap(everything(program, WAYS["gpu"])), *together)) == 2


@lowers
def test_a_long_run_of_many_neurons_is_no_larger_a_program() -> None:
    program = {size: built(LIF(tau=8 * DT), None, (size,)) for size in (8, 40_000)}
    short, long = (
        len(lowered(everything(program[size], WAYS["gpu"]), *jax.tree.map(
            lambda value: jax.ShapeDtypeStruct(value.shape, value.dtype), drawn(program[size], 0, steps, 2))))
        for size, steps in ((8, 8), (40_000, 400))
    )
    assert long < 1.1 * short


@pytest.mark.skipif(jax.default_backend() != "gpu" or ways_on(jax.devices()) != WAYS["gpu"], reason="no GPU here")
def test_on_a_gpu_every_kernel_and_its_reverse_equal_the_scan() -> None:
    for name in POPULATIONS:
        program = built(*POPULATIONS[name])
        arrays, _ = of_the_reference(program)
        found, expected = (jax.jit(everything(program, ways))(*arrays) for ways in (WAYS["gpu"], SCAN))
        agree(found, expected, 1e-4)


# --- which way is taken ----------------------------------------------------------------------------


class Device:
    def __init__(self, platform: str, capability: str | None = None):
        self.platform, self.compute_capability = platform, capability


@pytest.mark.parametrize(("device", "line"), [
    (Device("cpu"), "cpu"), (Device("tpu"), "tpu"), (Device("gpu", "9.0"), "gpu"),
    (Device("gpu", "gfx942"), "gpu without Pallas"), (Device("gpu", "7.5"), "gpu without Pallas"),
])
def test_a_device_runs_segments_as_the_table_says(device: Device, line: str) -> None:
    assert ways_on([device]) == WAYS[line]


def test_the_table_is_what_was_agreed() -> None:
    words = {line: (str(ways[Population]), str(ways[Loop])) for line, ways in WAYS.items()}
    assert words == {
        "gpu": ("Pallas kernel", "scan, 8 steps a turn"),
        "gpu without Pallas": ("scan, 8 steps a turn", "scan, 8 steps a turn"),
        "cpu": ("generated loop", "generated loop"), "cpu without numba": ("scan", "scan"), "tpu": ("scan", "scan"),
    }


def test_unrolled_loops_give_what_plain_ones_give() -> None:
    program = lower(recurrent(DT))
    arrays = drawn(program, 0, steps=11)
    unrolled = {Population: Way(unroll=8), Loop: Way(unroll=8)}
    agree(computed(everything(program, unrolled), *arrays), computed(everything(program, SCAN), *arrays), 2e-5)
