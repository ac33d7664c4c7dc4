"""The torch engine's own reverse against autograd through the plain equations, in float64."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from neuroport_reference.engine import ReferenceEngine  # noqa: E402
from neuroport_torch.engine import TorchExecutable  # noqa: E402
from neuroport_torch.layers import LAYERS  # noqa: E402
from neuroport_torch.runner import Runner  # noqa: E402
from neuroport_torch.training import judge  # noqa: E402

from neuroport.dynamics import ops  # noqa: E402
from neuroport.dynamics.spike import LAST_OUTPUT  # noqa: E402
from neuroport.engine.base import Noise, Options  # noqa: E402
from neuroport.model.graph import Model, Recurrent  # noqa: E402
from neuroport.model.layers import AvgPool2d, Conv1d, Conv2d, Delay, Dropout, Flatten, Linear, Scale, SumPool2d  # noqa: E402
from neuroport.model.losses import CrossEntropy  # noqa: E402
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLI, CubaLIF, I, SpikingNeuron, Threshold  # noqa: E402
from neuroport.model.nodes import Input, Output  # noqa: E402
from neuroport.model.numerics import Numerics  # noqa: E402
from neuroport.model.regularizers import RateBounds  # noqa: E402
from neuroport.model.surrogates import (  # noqa: E402
    ATan,
    Boxcar,
    Gaussian,
    Sigmoid,
    StraightThrough,
    SuperSpike,
    Surrogate,
    Triangular,
)
from neuroport.model.training import Training  # noqa: E402
from neuroport.model.values import Parameter, Time, Uniform  # noqa: E402
from neuroport.program.execute import execute  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402
from neuroport.program.stepping import step, take_states  # noqa: E402

CPU = torch.device("cpu")
T, B, N = 14, 3, 6
TRAINING = Training(loss=CrossEntropy(over="mean"), regularizers=[RateBounds(lower=0.2, upper=0.25, strength=0.5)])


class Bump(Surrogate):
    """A user's own derivative."""

    height: float = 0.3

    def derivative(self, u):
        return self.height / (1.0 + ops.exp(u) + ops.exp(-u))


class Resonator(SpikingNeuron):
    """A user's own neuron, whose input is read by its reverse and whose jump changes a second state."""

    state = ("v", "w")

    tau: Time = 10e-3
    pull: Time = 3.0

    def coefficients(self, p, step):
        return {"alpha": step.low_pass(p.tau).decay}

    def integrate(self, c, s, x):
        return s._replace(v=c.alpha * s.v + x * x * c.pull - s.w, w=ops.tanh(s.w * 0.5 + 0.1 * s.v))

    def jump(self, c, s, z):
        return s._replace(w=s.w + 0.2 * z)


class Plain(Runner):
    """Autograd through every step of every segment."""

    def parallel(self, name, parameters, x):
        node = self.program.node(name)
        y = LAYERS[type(node).__name__].apply(node, parameters, x.flatten(0, 1))
        y = y.reshape(*x.shape[:2], *y.shape[1:])
        return y * self.masks[name] if name in self.masks else y

    def stepped(self, segment, arrays, state, given, record):
        def apply(name, own, x):
            node = self.program.node(name)
            y = LAYERS[type(node).__name__].apply(node, own, x)
            return y * self.masks[name] if name in self.masks else y

        carry, outputs = take_states(self.program, segment, state), {name: [] for name in segment.nodes}
        for t in range(len(next(iter(given.values())))):
            now = {name: x.unbind(0)[t] for name, x in given.items()}
            carry, emitted = step(self.program, segment, apply, arrays, carry, now, {})
            for name, y in emitted.outputs.items():
                outputs[name].append(y)
        after = {key: torch.stack(value) if isinstance(value, tuple) else value for key, value in carry.items()}
        return {name: torch.stack(ys) for name, ys in outputs.items()}, after, {}


def chain(*layers, numerics=None, shape=(4,)):
    readout = [Linear(3), LI(tau=5e-3)] if isinstance(layers[-1], SpikingNeuron) else []
    return Model.sequential(input=shape, dt=1e-3, layers=[*layers, *readout], numerics=numerics)


def hidden(neuron, numerics=None):
    return chain(Linear(N), neuron, numerics=numerics)


def spread(low, high, per="neuron"):
    return Parameter(value=Uniform(low=low, high=high), per=per)


TAU, GAIN = 4e-3, 3.0
SURROGATES = [SuperSpike(), ATan(), Sigmoid(), Triangular(), Boxcar(), Gaussian(), StraightThrough(), Bump()]
RULES = {
    "hard": {"reset": "hard"}, "hard detached": {"reset": "hard", "reset_gradient": False},
    "soft detached": {"reset_gradient": False}, "no reset": {"reset": "none"}, "ge": {"comparison": "ge"},
    "reset delay": {"reset_delay": 1}, "hard reset delay": {"reset_delay": 1, "reset": "hard"},
    "output delay": {"output_delay": 1}, "spyx": {"reset_delay": 1, "output_delay": 1},
    "snntorch": {"reset_rule": "snntorch"}, "snntorch hard": {"reset_rule": "snntorch", "reset": "hard"},
    "snntorch detached": {"reset_rule": "snntorch", "reset_gradient": False},
    "many spikes": {"multi_spike": True}, "euler": {"discretization": "euler"},
    "membrane bias": {"bias_on": "membrane"},
}
GRAPH = {"input": Input(shape=(4,)), "a": Linear(N), "lif": LIF(tau=TAU, r=GAIN), "b": Linear(N),
         "alif": ALIF(tau=TAU, r=GAIN), "drop": Dropout(0.3), "read": Linear(3), "li": LI(tau=TAU), "out": Output()}
MODELS = {
    "LIF": hidden(LIF(tau=TAU, r=GAIN)), "IF": hidden(IF()), "ALIF": hidden(ALIF(tau=TAU, r=GAIN, tau_adapt=9e-3)),
    "CubaLIF": hidden(CubaLIF(tau_syn=3e-3, tau_mem=TAU, r=6.0)),
    "LIF from decay": hidden(LIF.from_decay(0.8)), "own neuron": hidden(Resonator(tau=TAU)),
    "CubaLI": chain(Linear(3), CubaLI(tau_syn=3e-3, tau_mem=TAU)),
    "trainable tau": hidden(LIF(tau=spread(3e-3, 9e-3), r=spread(2.0, 4.0, "layer"), v_leak=spread(0.0, 0.1),
                                v_threshold=spread(0.5, 1.0))),
    "trainable decay": hidden(LIF.from_decay(spread(0.5, 0.9))),
    "trainable CubaLIF": hidden(CubaLIF(tau_syn=spread(2e-3, 4e-3), tau_mem=spread(3e-3, 9e-3), r=6.0,
                                        w_in=spread(0.8, 1.2))),
    "trainable ALIF": hidden(ALIF(tau=spread(3e-3, 9e-3), tau_adapt=spread(5e-3, 9e-3), beta=spread(0.1, 0.3), r=GAIN)),
    "trainable snntorch hard": hidden(
        LIF(tau=spread(3e-3, 9e-3), r=GAIN, v_reset=spread(-0.1, 0.1)), Numerics(reset_rule="snntorch", reset="hard")),
    "own neuron, trained": hidden(Resonator(tau=spread(3e-3, 9e-3), pull=spread(1.0, 2.0))),
    **{f"LIF {name}": hidden(LIF(tau=TAU, r=GAIN), Numerics(**rule)) for name, rule in RULES.items()},
    **{f"CubaLIF {name}": hidden(CubaLIF(tau_syn=3e-3, tau_mem=TAU, r=6.0), Numerics(**rule))
       for name, rule in RULES.items()},
    **{type(one).__name__: hidden(LIF(tau=TAU, r=GAIN, surrogate=one)) for one in SURROGATES},
    "Boxcar, hard detached": hidden(
        CubaLIF(tau_syn=3e-3, tau_mem=TAU, r=6.0, surrogate=Boxcar()), Numerics(reset="hard", reset_gradient=False)),
    "Boxcar, trainable threshold": hidden(LIF(tau=TAU, r=GAIN, v_threshold=spread(0.5, 1.0), surrogate=Boxcar())),
    "recurrent Boxcar": chain(Linear(N), Recurrent(Linear(N), LIF(tau=TAU, r=GAIN, surrogate=Boxcar()))),
    "recurrent": chain(Linear(N), Recurrent(Linear(N), LIF(tau=spread(3e-3, 9e-3), r=GAIN))),
    "recurrent without bias at the start": chain(
        Linear(N), Recurrent(Linear(N), CubaLIF(tau_syn=3e-3, tau_mem=TAU, r=6.0), bias_at_start=False)),
    "recurrent own neuron": chain(Linear(N), Recurrent(Linear(N), Resonator(tau=TAU))),
    "recurrent spyx": chain(Linear(N), Recurrent(Linear(N), LIF(tau=TAU, r=GAIN)),
                            numerics=Numerics(reset_delay=1, output_delay=1)),
    "scale and dropout": chain(Linear(N), Scale(scale=spread(0.5, 1.5)), LIF(tau=TAU, r=GAIN), Dropout(0.4)),
    "convolution": chain(
        Conv2d(3, 3, padding="same"), LIF(tau=spread(3e-3, 9e-3, "channel"), r=6.0), SumPool2d(2), LIF(tau=TAU),
        AvgPool2d(2, stride=1, padding=1), Flatten(), Linear(N), LIF(tau=TAU, r=GAIN), shape=(2, 4, 4),
        numerics=Numerics(bias_on="membrane")),
    "recurrent convolution": chain(
        Conv2d(2, 2, padding="same"), Recurrent(Conv2d(2, 3, padding=1, groups=2), LIF(tau=TAU, r=6.0)),
        Flatten(), Linear(N), LIF(tau=TAU, r=GAIN), shape=(2, 4, 4)),
    "Threshold and I": chain(Linear(N), Threshold(spread(0.1, 0.5)), Linear(3), I(r=spread(0.1, 0.3))),
    "recurrent Threshold": chain(Linear(N), Recurrent(Linear(N), Threshold(0.3)), LIF(tau=TAU, r=GAIN)),
    "convolution over one axis": chain(
        Conv1d(3, 3, padding="same", stride=2), LIF(tau=TAU, r=6.0), Conv1d(2, 2, dilation=2), Flatten(0, 1), Linear(3),
        LI(tau=TAU), shape=(2, 9)),
    "Delay nodes": Model(
        nodes={**GRAPH, "even": Delay(2e-3), "late": Delay([k * 1e-3 for k in (0, 40, 2, 1, 0, 3, 1)[:N]])},
        dt=1e-3, edges=[
            ("input", "a"), ("a", "lif"), ("lif", "b"), ("b", "alif", 1), ("b", "late"), ("lif", "late", 1),
            ("late", "alif"), ("alif", "drop"), ("drop", "even"), ("even", "lif"), ("alif", "read"), ("read", "li"),
            ("li", "out")]),
    "delays": Model(
        nodes=GRAPH, dt=1e-3, edges=[
            ("input", "a"), ("a", "lif", 2), ("lif", "b"), ("b", "alif", 1), ("lif", "alif", 3), ("alif", "drop", 2),
            ("drop", "lif", 1), ("alif", "read", 1), ("read", "li"), ("li", "out")]),
}

TRUNCATED = ["trainable tau", "trainable CubaLIF", "trainable ALIF", "own neuron, trained", "trainable snntorch hard",
             "LIF spyx", "recurrent", "recurrent without bias at the start", "recurrent own neuron", "recurrent spyx",
             "scale and dropout", "convolution", "recurrent convolution", "Delay nodes", "delays"]


def executable(model, fused, precision="float64"):
    return TorchExecutable(lower(model), Options(device="cpu", precision=precision, training=TRAINING), CPU, fused)


def task(model, seed=1):
    """Parameters under which neurons spike, a state that is not zero, inputs and targets."""
    random = np.random.default_rng(seed)
    parameters = {name: value.astype(np.float64) for name, value in init(model, seed).items()}
    for name, value in parameters.items():
        if name.endswith("bias"):
            parameters[name] = random.normal(0.1, 0.1, value.shape)
    program = lower(model)
    inputs = {name: (random.random((T, B, *shape)) < 0.5) * 1.0 for name, shape in program.inputs.items()}
    state = {name: random.normal(0, 0.3, (shape[0], B, *shape[1:]) if line else (B, *shape))
             for name, (shape, line) in program.state.items()}
    state.update({name: (value > 0.2) * 1.0 for name, value in state.items() if name.endswith(LAST_OUTPUT)})
    return parameters, state, inputs, np.arange(B) % 3


def plain_gradients(found, parameters, state, inputs, targets, noise=None, weights=None):
    """Of autograd through every operation."""
    compiled = found.compiled
    leaves = {name: value.requires_grad_() for name, value in found.load(parameters).items()}
    weights = found._put(np.full(B, 1 / B) if weights is None else weights)

    class Everything:
        program = compiled.program

        masks = staticmethod(compiled.masks)

        def run(self, parameters, state, inputs, arena, masks, wanted):
            return execute(self.program, Plain(compiled, arena, masks, {}), parameters, state, inputs, wanted=wanted)

    loss, _ = judge(Everything(), TRAINING, leaves, found._puts(state), found._puts(inputs), torch.as_tensor(targets),
                    weights, found._noise(noise), None)
    trained = compiled.program.trainable
    grads = torch.autograd.grad(loss, [leaves[name] for name in trained], allow_unused=True)
    return float(loss.detach()), {name: np.zeros(leaves[name].shape) if g is None else g.numpy()
                                  for name, g in zip(trained, grads, strict=True)}


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_the_plain_equations(name, fused):
    parameters, state, inputs, targets = task(MODELS[name])
    found = executable(MODELS[name], fused)
    noise = Noise(3, 1, np.arange(B))
    loss, expected = plain_gradients(found, parameters, state, inputs, targets, noise)
    got = found.gradients(found.load(parameters), state, inputs, targets, noise=noise)
    assert got.loss == pytest.approx(loss, rel=1e-12)
    assert set(got.parameters) == set(expected)
    assert max(np.abs(g).max() for g in expected.values()) > 1e-6
    for key, g in expected.items():
        close = {"rtol": 1e-10, "atol": 1e-10 * max(1, np.abs(g).max())}
        np.testing.assert_allclose(got.parameters[key], g, **close, err_msg=key)


@pytest.mark.parametrize("steps", [1, 32, 70])
@pytest.mark.parametrize("name", ["Boxcar", "Boxcar, hard detached", "recurrent Boxcar"])
def test_decisions_are_kept_for_any_number_of_steps(monkeypatch, name, steps):
    monkeypatch.setattr(sys.modules[__name__], "T", steps)
    test_gradients_are_those_of_the_plain_equations(name, True)


@pytest.mark.parametrize("length", [2, 5])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_gradients_are_the_references(name, fused, length):
    model, training = MODELS[name], TRAINING.model_copy(update={"truncate": length})
    parameters, state, inputs, targets = task(model)
    noise, options = Noise(3, 1, np.arange(B)), Options(device="cpu", precision="float64", training=training)
    reference = ReferenceEngine().compile(lower(model), options)
    expected = reference.gradients(reference.load(parameters), state, inputs, targets, noise=noise)
    found = TorchExecutable(lower(model), options, CPU, fused)
    got = found.gradients(found.load(parameters), state, inputs, targets, noise=noise)
    whole = executable(model, fused).gradients(found.load(parameters), state, inputs, targets, noise=noise)
    assert got.loss == pytest.approx(expected.loss, rel=1e-12) == whole.loss
    far = [np.abs(g - whole.parameters[key]).max() for key, g in got.parameters.items()]
    assert max(far) > 1e-6 and set(got.parameters) == set(expected.parameters)
    for key, g in expected.parameters.items():
        close = {"rtol": 1e-9, "atol": 1e-9 * max(1, np.abs(g).max())}
        np.testing.assert_allclose(got.parameters[key], g, **close, err_msg=key)


def test_padding_has_no_influence():
    parameters, state, inputs, targets = task(MODELS["recurrent"])
    found = executable(MODELS["recurrent"], True)
    weights = np.array([0.5, 0.5, 0.0])
    first = found.gradients(found.load(parameters), state, inputs, targets, weights)
    inputs["input"][:, 2] = 1.0
    second = found.gradients(found.load(parameters), state, inputs, np.array([0, 1, 0]), weights)
    assert first.loss == second.loss
    for name, g in first.parameters.items():
        np.testing.assert_array_equal(g, second.parameters[name], err_msg=name)


def test_gradient_agrees_with_finite_differences_where_nothing_spikes():
    model = chain(Linear(N), CubaLI(tau_syn=spread(2e-3, 4e-3), tau_mem=spread(3e-3, 9e-3)), Linear(3))
    parameters, state, inputs, targets = task(model)
    found = executable(model, True)
    got = found.gradients(found.load(parameters), state, inputs, targets).parameters

    def loss(name, index, change):
        moved = {**parameters, name: parameters[name].copy()}
        moved[name][index] += change
        return found.gradients(found.load(moved), state, inputs, targets).loss

    for name in got:
        index = tuple(0 for _ in got[name].shape)
        h = 1e-5 * abs(parameters[name][index])
        slope = (loss(name, index, h) - loss(name, index, -h)) / (2 * h)
        assert got[name][index] == pytest.approx(slope, rel=1e-5, abs=1e-9), name
