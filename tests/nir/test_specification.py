"""An imported graph does what NIR's equations say: held against a plain loop over nodes and steps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroport as npt
from neuroport.nir import NirFile, NirGraph, NirNode
from neuroport.nir.importing import imported

DT, STEPS, BATCH = 1e-3, 25, 2


class Plain:
    """One node, step by step, forward Euler, reset in the same step (soft or hard)."""

    def __init__(self, node, reset):
        self.node, self.f, self.reset, self.i, self.v, self.line = node, node.fields, reset, 0.0, 0.0, []

    def step(self, x):
        return getattr(self, f"_{self.node.type.lower()}")(x)

    def _input(self, x):
        return x

    _output = _input

    def _linear(self, x):
        return x @ self.f["weight"].T

    def _affine(self, x):
        return x @ self.f["weight"].T + self.f["bias"]

    def _scale(self, x):
        return x * self.f["scale"]

    def _threshold(self, x):
        return (x > self.f["threshold"]).astype(float)

    def _delay(self, x):
        self.line.append(x)
        found = np.zeros_like(x)
        for neuron, lag in enumerate(np.rint(self.f["delay"] / DT).astype(int)):
            if lag < len(self.line):
                found[:, neuron] = self.line[-1 - lag][:, neuron]
        return found

    def _membrane(self, current, tau):
        self.v = self.v + DT / self.f[tau] * (self.f["v_leak"] - self.v + self.f["r"] * current)
        return self.v

    def _synapse(self, x):
        self.i = self.i + DT / self.f["tau_syn"] * (self.f["w_in"] * x - self.i)
        return self.i

    def _fire(self):
        spikes = (self.v > self.f["v_threshold"]).astype(float)
        after = self.v - self.f["v_threshold"] if self.reset == "soft" else self.f["v_reset"]
        self.v = np.where(spikes > 0, after, self.v)
        return spikes

    def _i(self, x):
        self.v = self.v + self.f["r"] * x
        return self.v

    def _if(self, x):
        self._i(x)
        return self._fire()

    def _li(self, x):
        return self._membrane(x, "tau")

    def _lif(self, x):
        self._membrane(x, "tau")
        return self._fire()

    def _cubali(self, x):
        return self._membrane(self._synapse(x), "tau_mem")

    def _cubalif(self, x):
        self._membrane(self._synapse(x), "tau_mem")
        return self._fire()


def run_plainly(chain, back, x, reset):
    """Nodes one after the other. back: (connection, into, from): a feedback by node numbers, a step later; or None."""
    nodes = [Plain(node, reset) for node in chain]
    connection = None if back is None else Plain(back[0], reset)
    last, found = None, []
    for now in x:
        for index, node in enumerate(nodes):
            if connection is not None and index == back[1]:
                source = np.zeros((BATCH, back[0].fields["weight"].shape[1])) if last is None else last
                now = now + connection.step(source)
            now = node.step(now)
            if connection is not None and index == back[2]:
                leaving = now
        last = leaving if connection is not None else None
        found.append(now)
    return np.stack(found)


SIZES = st.integers(1, 4)


@st.composite
def nodes(draw, size, random):
    kind = draw(st.sampled_from(["Linear", "Affine", "Scale", "Threshold", "Delay", "I", "IF", "LI", "LIF", "CubaLI",
                                 "CubaLIF"]))
    out = draw(SIZES) if kind in ("Linear", "Affine") else size

    def between(low, high, *shape):
        return random.uniform(low, high, shape or (size,))

    fields = {
        "Linear": lambda: {"weight": between(-1, 2, out, size)},
        "Affine": lambda: {"weight": between(-1, 2, out, size), "bias": between(-0.5, 0.5, out)},
        "Scale": lambda: {"scale": between(-1, 2)}, "Threshold": lambda: {"threshold": between(0.1, 1)},
        "Delay": lambda: {"delay": DT * random.integers(0, 5, size).astype(float)},
        "I": lambda: {"r": between(0.1, 1)},
        "IF": lambda: {"r": between(0.1, 1), "v_threshold": between(0.5, 1), "v_reset": between(-0.2, 0.2)},
        "LI": lambda: {"tau": between(DT, 10 * DT), "r": between(0.5, 3), "v_leak": between(-0.2, 0.2)},
        "CubaLI": lambda: {"tau_syn": between(DT, 5 * DT), "tau_mem": between(DT, 10 * DT), "r": between(0.5, 3),
                           "v_leak": between(-0.2, 0.2), "w_in": between(0.5, 2)},
    }
    spiking = {"v_threshold": between(0.3, 1), "v_reset": between(-0.2, 0.2)}
    base = kind.removesuffix("F") if kind in ("LIF", "CubaLIF") else kind
    return NirNode(kind, {**fields[base](), **(spiking if base != kind else {})}), out


@st.composite
def networks(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(SIZES)
    chain = [NirNode("Input", {"shape": np.array([size])})]
    for _ in range(draw(st.integers(1, 6))):
        node, size = draw(nodes(size, random))
        chain.append(node)
    chain.append(NirNode("Output", {"shape": np.array([size])}))
    return chain, random


def file_of(chain, extra=(), edges=()):
    names = [f"{index}.{node.type}" for index, node in enumerate(chain)]
    found = dict(zip(names, chain, strict=True)) | dict(extra)
    links = (*zip(names, names[1:], strict=False), *((names[a] if isinstance(a, int) else a,
                                                     names[b] if isinstance(b, int) else b) for a, b in edges))
    return NirFile(NirGraph(nodes=found, edges=tuple(links)), "1.0.8")


def activity(size, random):
    return (random.random((STEPS, BATCH, size)) < 0.6).astype(float)


@settings(max_examples=60, deadline=None)
@given(networks(), st.sampled_from(["soft", "hard"]))
def test_a_chain_of_any_nodes_follows_the_equations(drawn, reset):
    chain, random = drawn
    x = activity(chain[0].fields["shape"][0], random)
    numerics = npt.Numerics(discretization="euler")
    found = imported(file_of(chain), numerics, DT, reset)
    outputs = npt.run(found.model, found.parameters, x, engine="reference").outputs
    assert np.allclose(outputs, run_plainly(chain, None, x, reset), rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["IF", "LIF", "CubaLIF"]), st.sampled_from(["soft", "hard"]),
       st.booleans())
def test_a_cycle_arrives_one_step_later_and_its_bias_from_the_first_step_on(seed, kind, reset, biased):
    random = np.random.default_rng(seed)
    cell = {"r": random.uniform(0.5, 3, 3), "v_threshold": random.uniform(0.3, 1, 3), "v_reset": np.zeros(3)}
    if kind != "IF":
        cell |= {"v_leak": np.zeros(3), "tau" if kind == "LIF" else "tau_mem": random.uniform(DT, 10 * DT, 3)}
    if kind == "CubaLIF":
        cell |= {"tau_syn": random.uniform(DT, 5 * DT, 3), "w_in": np.ones(3)}
    chain = [NirNode("Input", {"shape": np.array([4])}), NirNode("Linear", {"weight": random.uniform(-1, 2, (3, 4))}),
             NirNode(kind, cell), NirNode("Output", {"shape": np.array([3])})]
    bias = {"bias": random.uniform(-0.5, 0.5, 3)} if biased else {}
    back = NirNode("Affine" if biased else "Linear", {"weight": random.uniform(-2, 2, (3, 3)), **bias})
    x = activity(4, random)
    found = imported(file_of(chain, {"back": back}, [(2, "back"), ("back", 2)]),
                     npt.Numerics(discretization="euler"), DT, reset)
    outputs = npt.run(found.model, found.parameters, x, engine="reference").outputs
    assert np.array_equal(outputs, run_plainly(chain, (back, 2, 2), x, reset))
