"""The tape: order kept, errors clear, and a reverse that agrees with jax's autodiff and finite differences."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from neuroport.dynamics import ops
from neuroport.dynamics.printer import python_function, python_source
from neuroport.dynamics.tape import Graph, Tape
from neuroport.dynamics.trace import trace
from neuroport.model import surrogates
from neuroport.model.graph import Model
from neuroport.model.neurons import LI, CubaLI, SpikingNeuron
from neuroport.model.numerics import Numerics
from neuroport.model.values import Parameter, Uniform
from neuroport.program.initialize import generator, init
from neuroport.program.lower import lower
from neuroport.testing.cases import NUMERICS, SURROGATES
from neuroport.testing.networks import TRAINABLE
from neuroport.testing.strangers import StrangersNeuron

DT, STEPS, BATCH, SIZE = 1e-3, 4, 2, 5


def _own(low, high):
    return Parameter(value=Uniform(low=low, high=high), per="neuron")


NEURONS = {
    **{name: make(DT, "neuron") for name, make in TRAINABLE.items()},
    "LI": LI(tau=_own(6 * DT, 12 * DT), r=_own(0.8, 1.2), v_leak=_own(0.1, 0.2)),
    "CubaLI": CubaLI(tau_syn=_own(3 * DT, 6 * DT), tau_mem=_own(6 * DT, 12 * DT), w_in=_own(0.8, 1.2)),
    "a stranger's neuron": StrangersNeuron(tau=_own(6 * DT, 12 * DT), couple=_own(0.2, 0.4)),
}
EVERYWHERE = ("hard reset", "no reset", "soft reset delayed", "snntorch rule, hard", "Spyx", "multi-spike")
STEPPED = [
    *((name, rule, None) for name in NEURONS for rule in ("soft", *EVERYWHERE)),
    *(("LIF", rule, None) for rule in NUMERICS if rule not in EVERYWHERE),
    *(("LIF", "soft", surrogate) for surrogate in SURROGATES),
    *(("LIF", "hard reset delayed", surrogate) for surrogate in SURROGATES),
]


def _label(case):
    name, rule, surrogate = case
    return f"{name}, {rule}" + (f", {type(surrogate).__name__}" if surrogate else "")


def bind(name, rule, surrogate=None):
    """One population, bound, and random float64 arrays for it: parameters, state, inputs, cotangents."""
    neuron = NEURONS[name].model_copy(update={"numerics": None})
    if surrogate is not None:
        neuron = neuron.model_copy(update={"surrogate": surrogate})
    numerics = Numerics() if rule == "soft" else NUMERICS[rule]
    model = Model.sequential(SIZE, DT, {"n": neuron}, numerics)
    bound = lower(model).neurons["n"]
    random = generator(5, name)
    parameters = {key: value.astype(np.float64) for key, value in init(model, 1).items()}
    state = {field: random.random((BATCH, SIZE)) * 0.5 for field in bound.state}
    scale = 0.3 if name in ("IF", "LIF by decay") else 4.0
    xs = random.random((STEPS, BATCH, SIZE)) * scale
    g_out = random.normal(size=(STEPS, BATCH, SIZE))
    g_state = {field: random.normal(size=(BATCH, SIZE)) for field in bound.state}
    return bound, parameters, state, xs, g_out, g_state


def split(bound, parameters):
    """Coefficients that are arrays and trained, and all others."""
    c = bound.coefficients(parameters)
    trained = {key: c[key] for key in bound.traced.trained}
    return trained, {key: value for key, value in c.items() if key not in trained}


def forward(bound, table, c, state, xs):
    """The recorded step over all of xs: outputs, last state, and what the reverse reads at each step."""
    before = python_function(bound.traced.before, table)
    after = python_function(bound.traced.after, table)
    inputs = {f"c.{key}": value for key, value in c.items()}
    s, outs, reads = {f"s.{field}": value for field, value in state.items()}, [], []
    for x in xs:
        cut = before({**inputs, **s, "x": x})
        reads.append({**inputs, **s, **cut, "x": x})
        found = after({**inputs, **cut})
        s = {key: value for key, value in found.items() if key != "out"}
        outs.append(found["out"])
    return outs, s, reads


def reverse(bound, table, reads, g_out, g_state):
    """Cotangents of (trained coefficients, first state, xs) by the tape's reverse."""
    back = python_function(bound.traced.reverse, table)
    g_s = {f"s.{field}": value for field, value in g_state.items()}
    g_c = dict.fromkeys(bound.traced.trained, 0.0)
    g_xs = []
    for read, g in zip(reversed(reads), reversed(g_out), strict=True):
        found = back({**read, **{f"g.{key}": value for key, value in g_s.items()}, "g.out": g})
        g_s = {key: found[key] for key in g_s}
        g_c = {key: total + found[f"c.{key}"] for key, total in g_c.items()}
        g_xs.append(found["x"])
    return g_c, {field: g_s[f"s.{field}"] for field in g_state}, np.stack(g_xs[::-1])


@pytest.mark.parametrize("case", STEPPED, ids=_label)
def test_reverse_agrees_with_jax_autodiff_of_the_same_functions(case):
    jax = pytest.importorskip("jax", reason="jax is not installed")
    pytest.importorskip("neuroport_jax.ops")
    import jax.numpy as jnp

    bound, parameters, state, xs, g_out, g_state = bind(*case)
    trained, fixed = split(bound, parameters)
    _, _, reads = forward(bound, ops.NUMPY, {**trained, **fixed}, state, xs)
    found = reverse(bound, ops.NUMPY, reads, g_out, g_state)

    def total(trained, state, xs):
        c = SimpleNamespace(**trained, **fixed)
        value = 0.0
        for t in range(STEPS):
            state, out = bound.after(c, bound.before(c, state, xs[t]))
            value += (out * g_out[t]).sum()
        return value + sum((state[field] * g_state[field]).sum() for field in state)

    with jax.enable_x64(True):
        # per sample, as the reverse gives a coefficient's cotangents before their sum over the batch
        lifted = {key: jnp.asarray(np.broadcast_to(value, (BATCH, SIZE))) for key, value in trained.items()}
        held = {field: jnp.asarray(value) for field, value in state.items()}
        expected = jax.grad(total, (0, 1, 2))(lifted, held, jnp.asarray(xs))
        expected = jax.tree.map(np.asarray, expected)
    for mine, theirs in zip(found[:2], expected[:2], strict=True):
        assert set(mine) == set(theirs)
        for key, value in mine.items():
            np.testing.assert_allclose(np.broadcast_to(value, (BATCH, SIZE)), theirs[key], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("method", ["exponential", "euler"])
def test_coefficients_agree_with_jax_autodiff_back_to_tau(name, method):
    jax = pytest.importorskip("jax", reason="jax is not installed")
    pytest.importorskip("neuroport_jax.ops")
    bound, parameters, *_ = bind(name, "soft" if method == "exponential" else "euler")
    tape = Tape()
    nodes = {key: tape.input(key) for key in parameters}
    of_arrays = bound.coefficient_graph.outputs
    coefficients = {key: value for key, value in bound.coefficients(nodes).items() if key in of_arrays}
    cotangents = {key: generator(2, key).normal(size=SIZE) for key in coefficients}
    adjoints = tape.backward(
        [(value, tape.input(f"g of {key}")) for key, value in coefficients.items()], list(nodes.values())
    )
    given = {**parameters, **{f"g of {key}": value for key, value in cotangents.items()}}
    found = python_function(Graph.of(dict(zip(nodes, adjoints, strict=True))), ops.NUMPY)(given)

    def total(parameters):
        c = bound.coefficients(parameters)
        return sum((c[key] * cotangents[key]).sum() for key in cotangents)

    with jax.enable_x64(True):
        held = {key: jax.numpy.asarray(value) for key, value in parameters.items()}
        expected = {key: np.asarray(value) for key, value in jax.grad(total)(held).items()}
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-10, atol=1e-12)


# --- finite differences ---------------------------------------------------------------------------

_erf = np.vectorize(math.erf)

# what each surrogate is the derivative of
PRIMITIVES = {
    surrogates.SuperSpike: lambda g, u: 0.5 + u / (1 + g.slope * np.abs(u)),
    surrogates.ATan: lambda g, u: 0.5 + np.arctan(math.pi / 2 * g.alpha * u) / math.pi,
    surrogates.Sigmoid: lambda g, u: 1 / (1 + np.exp(-g.slope * u)),
    surrogates.Triangular: lambda g, u: np.where(
        np.abs(u) < g.width, 0.5 + (u - u * np.abs(u) / (2 * g.width)) / g.width, (u > 0) * 1.0),
    surrogates.Boxcar: lambda g, u: np.clip(u / g.width + 0.5, 0, 1),
    surrogates.Gaussian: lambda g, u: 0.5 * (1 + _erf(u / (g.sigma * math.sqrt(2)))),
    surrogates.StraightThrough: lambda g, u: u,
}


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda of: type(of).__name__)
def test_surrogates_are_the_derivatives_of_their_primitives(surrogate):
    u = np.linspace(-3, 3, 202)  # no point of it is an edge
    h = 1e-6
    primitive = PRIMITIVES[type(surrogate)]
    slope = (primitive(surrogate, u + h) - primitive(surrogate, u - h)) / (2 * h)
    np.testing.assert_allclose(surrogate.derivative(u), slope, rtol=1e-6, atol=1e-8)


def test_sigmoid_survives_any_distance_from_the_threshold():
    far = surrogates.Sigmoid(slope=40.0).derivative(np.array([-1e4, -800.0, 800.0, 1e4]))
    assert np.isfinite(far).all() and (far >= 0).all()


def smoothed():
    """NumPy with the spike replaced by its surrogate's integral, and ``detach`` fixed at its first values."""
    held, position = [], [None]

    def detach(x):
        if position[0] is None:
            held.append(x)
            return x
        position[0] += 1
        return held[position[0] - 1]

    def rewind():
        position[0] = 0

    table = {**ops.NUMPY, "detach": detach,
             "spike": lambda u, surrogate, inclusive: PRIMITIVES[type(surrogate)](surrogate, u),
             "select": lambda z, a, b: z * a + (1 - z) * b}
    return table, rewind


@pytest.mark.parametrize("case", STEPPED, ids=_label)
def test_reverse_agrees_with_finite_differences_of_a_smoothed_spike(case):
    bound, parameters, state, xs, g_out, g_state = bind(*case)
    trained, fixed = split(bound, parameters)
    table, rewind = smoothed()

    def total(trained, state, xs):
        outs, last, reads = forward(bound, table, {**trained, **fixed}, state, xs)
        value = sum((out * g).sum() for out, g in zip(outs, g_out, strict=True))
        return value + sum((last[f"s.{field}"] * g).sum() for field, g in g_state.items()), reads

    _, reads = total(trained, state, xs)
    # the reverse recomputes detached values from what was saved: they are what they were
    g_c, g_s, g_x = reverse(bound, {**table, "detach": lambda x: x}, reads, g_out, g_state)
    random, h = generator(8, _label(case)), 1e-6
    ways = [{key: random.normal(size=np.shape(value)) for key, value in of.items()} for of in (trained, state)]
    way = random.normal(size=xs.shape)

    def moved(by):
        rewind()
        at = [{key: value + by * along[key] for key, value in of.items()}
              for of, along in zip((trained, state), ways, strict=True)]
        return total(*at, xs + by * way)[0]

    slope = (moved(h) - moved(-h)) / (2 * h)
    mine = (g_x * way).sum()
    for g, along in zip((g_c, g_s), ways, strict=True):
        mine += sum((np.broadcast_to(g[key], (BATCH, SIZE)) * along[key]).sum() for key in along)
    assert mine == pytest.approx(slope, rel=1e-6, abs=1e-6)


# --- operations along time -------------------------------------------------------------------------

LENGTHS = (1, 2, 5)
ALONG_TIME = {
    **{f"recurrence, T = {t}{', in reverse' * reverse}": (
        t, lambda decay, x, reverse=reverse: ops.recurrence(decay, x, reverse))
       for t in LENGTHS for reverse in (False, True)},
    **{f"a running sum, T = {t}{', in reverse' * reverse}": (
        t, lambda decay, x, reverse=reverse: ops.recurrence(1.0, x * decay, reverse))
       for t in LENGTHS for reverse in (False, True)},
    **{f"shift by {steps}, T = {t}": (t, lambda decay, x, steps=steps: ops.shift(x * decay, steps))
       for t in LENGTHS for steps in sorted({-t, -1, 0, 1, t})},
    "recurrence of its own delayed square": (5, lambda decay, x: ops.recurrence(
        decay * ops.shift(decay, 1), ops.recurrence(0.5, x * x, True))),
    "mean": (4, lambda decay, x: ops.mean(x * decay, 0)),
}


def along_time(name):
    """Random decays, values (T, 2, 3) and cotangents of an operation, float64."""
    steps, function = ALONG_TIME[name]
    random = generator(4, name)
    decay, x = random.random((steps, 2, 3)), random.normal(size=(steps, 2, 3))
    return function, decay, x, random.normal(size=np.shape(function(decay, x)))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", LENGTHS)
def test_a_recurrence_is_its_written_out_loop(steps, reverse):
    random = generator(1, "loop")
    decay, x = random.random((steps, 2, 3)), random.normal(size=(steps, 2, 3))
    kept = x.copy()
    found, y = ops.recurrence(decay, x, reverse), np.zeros((2, 3))
    for t in reversed(range(steps)) if reverse else range(steps):
        y = decay[t] * y + x[t]
        np.testing.assert_allclose(found[t], y, rtol=1e-14)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(ops.recurrence(1.0, x), np.cumsum(x, 0), rtol=1e-12, atol=1e-14)


def test_a_shift_brings_zeros_in_and_loses_what_leaves():
    x = np.arange(1.0, 5.0)[:, None]
    assert [ops.shift(x, steps)[:, 0].tolist() for steps in (1, -1, 0, 4, -4)] == [
        [0, 1, 2, 3], [2, 3, 4, 0], [1, 2, 3, 4], [0] * 4, [0] * 4]


@pytest.mark.parametrize("name", ALONG_TIME)
def test_operations_along_time_are_equal_on_numpy_jax_torch_and_the_tape(name):
    function, decay, x, g = along_time(name)
    expected = function(decay, x)
    tape = Tape()
    nodes = [tape.input("decay"), tape.input("x")]
    out = function(*nodes)
    adjoints = tape.backward([(out, tape.input("g"))], nodes)
    of_decay, of_x = (f"derivative by {key}" for key in ("decay", "x"))
    graph = Graph.of({"y": out, **dict(zip((of_decay, of_x), adjoints, strict=True))})
    taped = python_function(graph, ops.NUMPY)({"decay": decay, "x": x, "g": g})
    np.testing.assert_allclose(taped["y"], expected, rtol=1e-14)
    mine = [np.broadcast_to(taped[key], x.shape) for key in (of_decay, of_x)]

    jax = pytest.importorskip("jax", reason="jax is not installed")
    pytest.importorskip("neuroport_jax.ops")
    with jax.enable_x64(True):
        value, back = jax.vjp(function, jax.numpy.asarray(decay), jax.numpy.asarray(x))
        theirs = [np.asarray(of) for of in back(jax.numpy.asarray(g))]
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    for found, wanted in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)

    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("neuroport_torch.ops")
    leaves = [torch.tensor(of, requires_grad=True) for of in (decay, x)]
    value = function(*leaves)
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-12, atol=1e-14)
    found = torch.autograd.grad(value, leaves, torch.tensor(g), allow_unused=True)
    for tensor, wanted in zip(found, theirs, strict=True):
        np.testing.assert_allclose(0.0 * wanted if tensor is None else tensor, wanted, rtol=1e-12, atol=1e-14)


# --- the tape itself ------------------------------------------------------------------------------


def test_written_order_is_kept():
    tape = Tape()
    a, b = tape.input("a"), tape.input("b")
    graph = Graph.of({"y": (a + b) - a + 0.1 * (0.3 * a)})
    assert [node.op for node in graph.nodes if node.args] == ["add", "sub", "mul", "mul", "add"]
    text, _ = python_source(graph, "f")
    assert text.index("i_a + i_b") < text.index("- i_a") < text.index("0.3 * i_a") < text.index("0.1 * t")
    x = np.float32(1e8), np.float32(1.0)
    found = python_function(Graph.of({"y": (a + b) - a}), ops.NUMPY)({"a": x[0], "b": x[1]})["y"]
    assert found == (x[0] + x[1]) - x[0] != x[1]  # a computer algebra system would say b


def test_equal_operations_are_one_node():
    tape = Tape()
    a, b = tape.input("a"), tape.input("b")
    assert a * b is a * b
    assert a * b is not b * a
    assert ops.exp(a) is ops.exp(a)
    assert a * 1.0 is a and a + 0.0 is a and a - 0.0 is a and 1.0 * a is a and 0.0 + a is a
    assert 0.0 - a is not a


def test_constants_of_one_value_and_another_type_do_not_meet():
    tape = Tape()
    assert tape.constant(1) is tape.constant(1.0)
    first, second = surrogates.SuperSpike(slope=1.0), surrogates.SuperSpike(slope=2.0)
    u = tape.input("u")
    assert ops.spike(u, first) is not ops.spike(u, second)
    assert ops.spike(u, first, True) is not ops.spike(u, first, False)


def test_a_branch_on_a_node_fails_clearly():
    node = Tape().input("v")
    with pytest.raises(TypeError, match="ops.where"):
        if node > 0:
            pass
    with pytest.raises(TypeError, match="truth value"):
        max(node, node + 1.0)


def test_a_numpy_function_on_a_node_fails_clearly():
    node = Tape().input("v")
    with pytest.raises(TypeError):
        np.exp(node)
    with pytest.raises(TypeError):
        np.float32(2.0) * node
    with pytest.raises(TypeError, match="Python numbers"):
        node + np.ones(3)


def test_what_no_output_depends_on_has_the_cotangent_zero():
    tape = Tape()
    a, b, g = tape.input("a"), tape.input("b"), tape.input("g")
    (found,) = tape.backward([(a * a, g)], [b])
    assert found.op == "constant" and found.attrs == (0.0,)


class Awkward(SpikingNeuron):
    """States with the names that generated code uses for its own."""

    state = ("v", "t1", "x", "out", "i_x", "inputs", "g")

    def integrate(self, c, s, x):
        s = s._replace(t1=s.t1 * 0.5 + x, x=s.x + s.t1, out=s.out * 0.25 - x, i_x=s.i_x + 1.0)
        s = s._replace(inputs=s.g, g=s.inputs + x)
        return s._replace(v=0.5 * s.v + s.t1 - 0.1 * s.out + 0.01 * s.i_x + 0.1 * s.inputs)


def test_names_never_collide():
    numerics = Numerics(reset="hard")
    neuron = Awkward()
    traced = trace(neuron, numerics, {"v_threshold": 1.0, "v_reset": 0.1})
    bound = lower(Model.sequential(3, DT, {"n": neuron}, numerics)).neurons["n"]
    random = np.random.default_rng(3)
    s, x = {field: random.random((1, 3)) for field in neuron.state}, random.random((1, 3))
    cut = python_function(traced.before, ops.NUMPY)({**{f"s.{field}": value for field, value in s.items()}, "x": x})
    found = python_function(traced.after, ops.NUMPY)(cut)
    c = SimpleNamespace(v_threshold=1.0, v_reset=0.1)
    state, out = bound.after(c, bound.before(c, s, x))
    np.testing.assert_array_equal(found["out"], out)
    for field, value in state.items():
        np.testing.assert_array_equal(found[f"s.{field}"], value)


def test_node_names_that_are_no_identifiers_can_be_printed():
    tape = Tape()
    names = ("a-b.tau", "a b.tau", "a_b.tau", "größe.tau", "1.tau")
    total = sum((tape.input(name) * float(k) for k, name in enumerate(names, 1)), tape.input("x"))
    found = python_function(Graph.of({"y": total}), ops.NUMPY)({**dict.fromkeys(names, 1.0), "x": 0.0})
    assert found["y"] == 15.0
