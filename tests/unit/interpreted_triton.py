"""Triton's kernels under its interpreter, on the CPU, beside the plain loop. Run by test_triton.py in a process of
its own: TRITON_INTERPRET=1 must be set before triton is imported."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import triton.language as tl
from neuroport_torch import runner, training
from neuroport_torch.arena import Fresh
from neuroport_torch.bits_product import StagedBits
from neuroport_torch.kernels.triton_loop import WIDEST
from neuroport_torch.marked import input_way
from neuroport_torch.precision import bfloat16
from neuroport_torch.stepped import Past
from triton.language.extra import libdevice
from triton.runtime.interpreter import TensorHandle
from unit import test_torch_gradients as plain
from unit.test_torch_gradients import MODELS

from neuroport.data.staging import stage
from neuroport.engine.base import Noise
from neuroport.model.graph import Recurrent
from neuroport.model.layers import Conv2d, Linear
from neuroport.model.neurons import ALIF, LIF
from neuroport.program.execute import segment_arrays
from neuroport.program.schedule import Population, Stepped

assert os.environ.get("TRITON_INTERPRET") == "1"
T = 4


def lifted(function):
    """What libdevice is to CUDA: the interpreter has none."""
    return lambda x: tl.core.tensor(TensorHandle(function(x.handle.data), x.handle.dtype.scalar), x.type)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """Kernels as on CUDA; and every buffer that torch does not fill holds NaN."""
    monkeypatch.setattr(runner, "language", lambda device: "triton")
    monkeypatch.setattr(plain, "T", T)
    for name in ("exp", "expm1", "log", "tanh"):
        monkeypatch.setattr(libdevice, name, lifted(getattr(np, name)))
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def both(model, precision="float64"):
    """The executable with kernels, the plain one, and a task for them."""
    parameters, state, inputs, targets = plain.task(model)
    return plain.executable(model, True, precision), plain.executable(model, False, precision), (
        parameters, state, inputs, targets)


def everything(found, parameters, state, inputs):
    """Outputs, records and states of a run by name."""
    program = found.program
    record = [(name, what) for name, bound in program.neurons.items() for what in bound.records]
    ran = found.run(found.load(parameters), state, inputs, record)
    got = {f"output {name}": value for name, value in ran.outputs.items()}
    got |= {f"{what} of {name}": value for name, of in ran.records.items() for what, value in of.items()}
    return got | {f"state {name}": value for name, value in ran.state.items()}


def compare(got, expected, rtol=1e-12):
    assert set(got) == set(expected)
    for name, value in expected.items():
        value = np.asarray(value)
        np.testing.assert_allclose(got[name], value, rtol, rtol * max(1, np.abs(value).max(initial=0)), err_msg=name)


def stepped(model):
    return [segment for segment in plain.lower(model).segments if isinstance(segment, Stepped)]


def loop_of(model, segment):
    """What should run a segment: a convolution within a cycle has no kernel."""
    if isinstance(segment, Population):
        return "TritonPopulation"
    return "EagerLoop" if any(isinstance(model.nodes[name], Conv2d) for name in segment.nodes) else "TritonLoop"


def agree(model):
    """Outputs, records, states, loss and gradients of the kernels are the plain loop's."""
    fused, eager, (parameters, state, inputs, targets) = both(model)
    assert fused.compiled.describe() == {
        ", ".join(segment.nodes): loop_of(model, segment) for segment in stepped(model)}
    compare(everything(fused, parameters, state, inputs), everything(eager, parameters, state, inputs))
    noise = Noise(3, 1, np.arange(plain.B))
    got, expected = (one.gradients(one.load(parameters), state, inputs, targets, noise=noise) for one in (fused, eager))
    assert got.loss == pytest.approx(expected.loss, rel=1e-12)
    assert max(np.abs(g).max() for g in expected.parameters.values()) > 1e-7
    compare(got.parameters, expected.parameters)


@pytest.mark.parametrize("name", MODELS)
def test_kernels_give_what_the_plain_loop_gives(name):
    agree(MODELS[name])


@pytest.mark.parametrize("name", ["Boxcar, hard detached", "recurrent Boxcar"])
def test_decisions_of_more_steps_than_a_word_holds(monkeypatch, name):
    monkeypatch.setattr(plain, "T", 34)
    agree(MODELS[name])


@pytest.mark.parametrize("name", ["recurrent", "Delay nodes"])
def test_a_loops_products_in_bfloat16_are_the_plain_loops(name):
    fused, eager, (parameters, state, inputs, targets) = both(MODELS[name], "bfloat16")
    assert "TritonLoop" in fused.compiled.describe().values()
    compare(everything(fused, parameters, state, inputs), everything(eager, parameters, state, inputs), 1e-5)
    got, expected = (one.gradients(one.load(parameters), state, inputs, targets).parameters for one in (fused, eager))
    for key, value in expected.items():  # a cotangent next to a boundary may round apart, by 2**-8 of it
        assert np.linalg.norm(got[key] - value) <= 2.0**-10 * np.linalg.norm(value) + 1e-9, key


@pytest.mark.parametrize("steps,samples,width,columns,batch", [(21, 5, 70, 130, 3), (8, 3, 64, 20, 4), (1, 4, 1, 1, 1)])
@pytest.mark.parametrize("rounded", [False, True])
def test_a_product_of_packed_bits_is_that_of_the_unpacked(steps, samples, width, columns, batch, rounded):
    random = np.random.default_rng(0)
    x = (random.random((samples, steps, width)) < 0.5).astype(np.uint8)
    taken = torch.tensor(random.integers(0, samples, batch))
    dense = torch.tensor(x)[taken].movedim(1, 0).reshape(steps * batch, width).double()
    weight, bias = torch.randn(columns, width).requires_grad_(), torch.randn(columns).requires_grad_()
    dy = torch.randn(steps * batch, columns)
    bits = StagedBits(torch.tensor(np.packbits(x, axis=1, bitorder="little")), taken, steps)
    y = bits.linear(weight, bias, rounded)
    y.backward(dy)
    w, d = ((bfloat16(value.detach()) if rounded else value.detach()).double() for value in (weight, dy))
    for got, expected in ((y.detach(), dense @ w.t() + bias.detach()), (weight.grad, d.t() @ dense),
                          (bias.grad, dy.double().sum(0))):
        assert (got - expected).norm() <= 3e-7 * expected.norm()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_reads_packed_bits_and_reaches_what_it_reaches_unpacked(monkeypatch, precision):
    model = plain.chain(Linear(5), LIF(tau=4e-3))
    random = np.random.default_rng(0)
    packed = stage((random.random((6, 11, *model.nodes["input"].shape)) < 0.4).astype(np.uint8), np.arange(6) % 3)

    def trained():
        executable = plain.executable(model, True, precision)
        staged, state = executable.stage(packed), executable.init_training(executable.load(plain.task(model)[0]))
        state, metrics = executable.train_segment(
            state, staged, np.arange(6).reshape(2, 3), np.ones((2, 3)), np.ones(2), (0, 0))
        return {**executable.snapshot(state), "loss": metrics.loss}

    got = trained()
    assert input_way(plain.executable(model, True, precision).compiled, plain.TRAINING) == "bits"
    monkeypatch.setattr(training, "input_way", lambda *of: "unpacked: for comparison")
    for name, value in trained().items():
        assert np.linalg.norm(got[name] - value) <= 1e-5 * np.linalg.norm(value) + 1e-9, name


@pytest.mark.parametrize("steps,batch,width", [(1, 1, 1), (1, 11, 3), (4, 9, 37)])
def test_loops_of_any_size(monkeypatch, steps, batch, width):
    monkeypatch.setattr(plain, "T", steps)
    monkeypatch.setattr(plain, "B", batch)
    agree(plain.chain(Linear(width), Recurrent(Linear(width), ALIF(tau=plain.spread(3e-3, 9e-3), r=3.0, beta=0.1))))


def test_a_loop_wider_than_a_program_holds_runs_step_by_step():
    assert WIDEST < 600
    found = plain.executable(plain.chain(Linear(600), Recurrent(Linear(600), LIF(tau=4e-3))), True)
    assert found.compiled.describe() == {"1_lif_recurrent, 1_lif": "EagerLoop"}


def test_float32_spikes_and_membranes_are_the_plain_loops_bit_by_bit():
    for name in ("trainable tau", "trainable ALIF", "trainable CubaLIF"):
        fused, eager, (parameters, state, inputs, _) = both(MODELS[name], "float32")
        got, expected = (everything(one, parameters, state, inputs) for one in (fused, eager))
        for key, value in expected.items():
            np.testing.assert_array_equal(got[key], value, err_msg=f"{name}: {key}")


@pytest.mark.parametrize(
    "name", ["trainable CubaLIF", "LIF spyx", "own neuron, trained", "recurrent", "Delay nodes", "recurrent spyx"])
def test_two_chunks_equal_one_run(name):
    fused, _, (parameters, state, inputs, _) = both(MODELS[name])
    whole = everything(fused, parameters, state, inputs)
    first = everything(fused, parameters, state, {key: x[:2] for key, x in inputs.items()})
    between = {key.removeprefix("state "): value for key, value in first.items() if key.startswith("state ")}
    second = everything(fused, parameters, between, {key: x[2:] for key, x in inputs.items()})
    for key, value in whole.items():
        chunked = second[key] if key.startswith("state ") else np.concatenate((first[key], second[key]))
        np.testing.assert_array_equal(chunked, value, err_msg=key)


def lying(kind, steps, batch, shape, random):
    """Numbers (T, B, *shape) that lie in memory in one of several ways."""
    def draw(*size):
        return torch.as_tensor(random.normal(0.5, 0.5, size))

    if kind == "dense":
        return draw(steps, batch, *shape)
    if kind == "batch first":
        return draw(batch, steps, *shape).transpose(0, 1)
    if kind == "neuron first":
        return draw(*shape, steps, batch).movedim((-2, -1), (0, 1))
    if kind == "every second":
        return draw(2 * steps, batch, 2 * shape[0], *shape[1:])[::2, :, ::2]
    return draw(1, batch, *shape).expand(steps, batch, *shape)  # one for all steps, as a mean over time gives


@pytest.mark.parametrize("kind", ["dense", "batch first", "neuron first", "every second", "one for all steps"])
@pytest.mark.parametrize("steps,batch", [(1, 1), (1, 7), (0, 2), (4, 1), (3, 11)])
def test_any_size_and_any_strides(kind, steps, batch):
    model = MODELS["own neuron, trained"]
    parameters, *_ = plain.task(model)
    compiled, eager = (plain.executable(model, fused).compiled for fused in (True, False))
    program, segment = compiled.program, stepped(model)[0]
    (name,) = segment.nodes
    bound, random = program.neurons[name], np.random.default_rng(steps * 100 + batch)
    arrays = segment_arrays(program, segment, {key: torch.as_tensor(value) for key, value in parameters.items()})
    state = {f"{name}.{key}": torch.as_tensor(random.normal(0, 0.5, (batch, *bound.shape))) for key in bound.state}
    x, g = (lying(kind, steps, batch, bound.shape, random) for _ in range(2))
    of_after = {key: torch.flip(value, (0,)) for key, value in state.items()}
    found = []
    for loop in (compiled.loops[segment], eager.loops[segment]):
        keep, record = {name: bound.traced.saved}, ((name, "v"), (name, "w"), (name, "v_pre"))
        ran = loop.forward(arrays, state, {name: x}, keep, record, {}, Fresh())
        kept = ran.cuts[name]
        past = {"x": x, **{f"cut.{key}": value for key, value in kept.items()}}
        if not loop.restores:
            before = {key: torch.cat((state[f"{name}.{key}"][None], ran.records[name, key]))[:steps]
                      for key in bound.traced.reads_state}
            past |= {f"s.{key}": value for key, value in before.items()}
        seen = Past({name: past}, ran.cuts, state, of_after)
        back = loop.reverse(arrays, seen, {name: g}, {}, Fresh()) if steps else None
        found.append({"out": ran.outputs[name], **ran.state, **{f"cut {key}": value for key, value in kept.items()}})
        found[-1] |= {} if back is None else {
            "x": back.given[name], **back.coefficients[name],
            **{f"cotangent {key}": value for key, value in back.state.items()}}
    compare(*found)


