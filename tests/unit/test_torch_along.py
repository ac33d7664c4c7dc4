"""A population that takes the product before it and the marks after it along gives the same bits as one apart, but
for the gradient of the product's bias, which it sums in another order."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba", reason="without it loops run step by step")

from neuroport_torch import products  # noqa: E402
from neuroport_torch.kernels.population_along import PopulationAlong  # noqa: E402
from neuroport_torch.runner import Compiled  # noqa: E402
from unit.test_torch_gradients import CPU, Resonator, spread  # noqa: E402
from unit.test_torch_training import Poisoned  # noqa: E402

from neuroport.model.graph import Edge, Model, Recurrent  # noqa: E402
from neuroport.model.layers import Dropout, Linear  # noqa: E402
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLIF, Threshold  # noqa: E402
from neuroport.model.surrogates import Boxcar  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402

LOW = {"v_threshold": 0.3}
NEURONS = {
    "LIF": LIF(tau=4e-3, **LOW),
    "kept as bits": LIF(tau=4e-3, surrogate=Boxcar(), **LOW),
    "trained per neuron": LIF(tau=spread(3e-3, 9e-3), v_threshold=spread(0.2, 0.4), r=1.5),
    "ALIF": ALIF(tau=spread(3e-3, 9e-3), tau_adapt=8e-3, beta=0.2, **LOW),
    "CubaLIF": CubaLIF(tau_syn=3e-3, tau_mem=6e-3, **LOW),
    "IF": IF(**LOW),
    "Threshold": Threshold(v_threshold=0.2),
    "own, reads its input": Resonator(tau=spread(3e-3, 9e-3)),
}


def network(neuron, terms=9, width=70):
    """Two layers of a neuron, of which the second takes sums over spikes."""
    return Model.sequential(terms, 1e-3, [Linear(width, bias=True), neuron, Linear(width + 3), neuron, Linear(3),
                                          LI(tau=4e-3)])


def ran(model, together, steps, batch, rate, dtype=torch.float64, rounded=False, arena=None):
    """The output, the state after the run, and gradients of both in everything that enters."""
    program = lower(model)
    compiled = Compiled(program, dtype, CPU, rounded=rounded)
    if not together:
        compiled.along = {}
    random = np.random.default_rng(steps + batch)
    leaves = {name: torch.as_tensor(np.asarray(value), dtype=dtype) for name, value in init(model, 1).items()}
    leaves |= {name: torch.as_tensor(random.normal(0, 0.2, shape), dtype=dtype)
               for name, shape in program.state_shapes(batch).items()}
    (shape,) = program.inputs.values()
    leaves["x"] = torch.as_tensor(random.random((steps, batch, *shape)) < rate).to(dtype)
    leaves = {name: value.requires_grad_() for name, value in leaves.items()}
    found = compiled.run(leaves, leaves, {"input": leaves["x"]}, arena or Poisoned(), wanted=["output"])
    results = {"output": found.values["output"], **found.state}
    pulls = [torch.as_tensor(random.normal(0, 1, value.shape), dtype=dtype) for value in results.values()]
    gradients = torch.autograd.grad(list(results.values()), list(leaves.values()), pulls, allow_unused=True)
    return {**results, **{f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True) if g is not None}}


@pytest.fixture
def small_calls(monkeypatch):
    """(takes the product, makes marks) of each call of a population's kernel that takes something along."""
    made, plain = [], PopulationAlong.forward

    def forward(self, *given, product=None, marked=False):
        made.append((product is not None, marked))
        return plain(self, *given, product=product, marked=marked)

    monkeypatch.setattr(PopulationAlong, "forward", forward)
    return made


@pytest.fixture
def calls(small_calls, monkeypatch):
    """The same where no product is too small."""
    monkeypatch.setattr(products, "LARGE", 0)
    return small_calls


def compare(*case, **how):
    got, expected = (ran(*case[:1], together, *case[1:], **how) for together in (True, False))
    assert set(got) == set(expected)
    for name, value in expected.items():
        if name.endswith(".bias"):  # is summed over time first
            torch.testing.assert_close(got[name], value)
        else:
            assert torch.equal(got[name], value), name
    return got


@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_gives_the_same_bits(name, calls):
    got = compare(network(NEURONS[name]), 35, 9, 0.05)
    assert calls[:3] == [(True, True), (True, True), (True, False)]
    assert any(value.any() for name, value in got.items() if name.startswith("gradient of 0_linear"))


@pytest.mark.parametrize(("steps", "batch", "width"), [(1, 1, 1), (1, 9, 64), (33, 1, 65), (64, 8, 61), (7, 17, 128)])
@pytest.mark.parametrize("name", ["LIF", "kept as bits"])
def test_any_size_gives_the_same_bits(name, steps, batch, width, calls):
    compare(network(NEURONS[name], width=width), steps, batch, 0.1)
    assert calls


def test_what_is_given_is_no_sum_over_events_where_the_input_is_dense(calls):
    compare(network(NEURONS["LIF"]), 12, 5, 0.9)
    assert calls[0] == (False, True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_spikes_that_are_no_longer_few_are_multiplied_as_a_dense_matrix(dtype, calls):
    compare(network(LIF(tau=4e-3, v_threshold=0.01)), 30, 6, 0.1, dtype=dtype)
    assert calls[:2] == [(True, True), (False, True)]


@pytest.mark.parametrize("rounded", [False, True])
def test_float32_and_rounded_operands_too(rounded, calls):
    compare(network(NEURONS["LIF"]), 20, 9, 0.1, dtype=torch.float32, rounded=rounded)
    assert calls


def test_a_small_product_is_left_to_torch(small_calls):
    ran(network(NEURONS["LIF"]), True, 3, 2, 0.1)
    assert not any(map(any, small_calls))


def test_numbers_are_written_where_somebody_reads_them(calls):
    model = network(NEURONS["LIF"])
    compiled = Compiled(lower(model), torch.float64, CPU)
    x, hidden = (torch.rand(9, 3, 9) < 0.1).double(), "1_lif"
    arrays = {name: torch.as_tensor(np.asarray(value), dtype=torch.float64) for name, value in init(model).items()}
    for wanted, record in [(["output", hidden, "2_linear"], ()), (["output"], [(hidden, "spikes"), (hidden, "v_pre")]),
                           (None, ())]:
        calls.clear()
        found = compiled.run(arrays, compiled.zero_state(3), {"input": x}, Poisoned(), record, wanted=wanted)
        told = [value for name, value in found.values.items() if wanted is None or name in wanted]
        assert all(value.isfinite().all() for value in [*told, *found.records.values()]), wanted
    assert not any(map(any, calls))  # of the last one: all outputs are asked for


def plan(layers, edges=(), shape=9):
    model = Model.sequential(shape, 1e-3, layers)
    return Compiled(lower(model.model_copy(update={"edges": (*model.edges, *edges)})), torch.float32, CPU).along


def test_what_others_read_too_or_later_is_not_taken_along():
    lif = LIF(tau=4e-3)
    taken = plan([Linear(5), lif, Linear(5), LI(tau=4e-3)])
    assert taken["1_lif"] == ("0_linear", ("2_linear",)) and taken["3_li"] == ("2_linear", ())
    assert plan([Linear(5), lif, Dropout(0.5), Linear(5), LI(tau=4e-3)])["1_lif"].readers == ()
    assert "1_lif" not in plan([Linear(5), Recurrent(Linear(5), lif), Linear(5), LI(tau=4e-3)])
    later = plan([Linear(5), lif, Linear(5), LI(tau=4e-3)], [Edge(source="1_lif", target="3_li", delay=2)])
    assert later["1_lif"].readers == () and later["3_li"].product is None
    twice = plan([Linear(5), lif, Linear(5), LI(tau=4e-3)], [Edge(source="0_linear", target="3_li")])
    assert twice["1_lif"].product is None


@pytest.mark.parametrize("changed", ["0_linear.weight", "0_linear.bias"])
def test_operands_that_change_before_the_reverse_are_refused_or_make_no_difference(changed, calls):
    model = network(NEURONS["LIF"])
    compiled = Compiled(lower(model), torch.float64, CPU)
    arrays = {name: torch.as_tensor(np.asarray(value), dtype=torch.float64) for name, value in init(model, 1).items()}
    frozen = {"0_linear.weight", "0_linear.bias"}  # of these autograd itself keeps no watch
    x, found = (torch.rand(20, 3, 9) < 0.1).double(), []
    for change in (False, True):
        leaves = {name: value.clone().requires_grad_(name not in frozen) for name, value in arrays.items()}
        state = {name: value.requires_grad_() for name, value in compiled.zero_state(3).items()}
        output = compiled.run(leaves, state, {"input": x}, Poisoned(), wanted=["output"]).values["output"]
        if change:
            with torch.no_grad():
                leaves[changed].add_(1.0)
            if changed.endswith("weight"):
                with pytest.raises(RuntimeError, match="changed in place"):
                    torch.autograd.grad(output.sum(), state["1_lif.v"])
                return
        found.append(torch.autograd.grad(output.sum(), state["1_lif.v"])[0])
    assert calls and found[0].any() and torch.equal(*found)


def test_a_second_backward_pass_gives_the_same(calls):
    model = network(NEURONS["LIF"])
    compiled = Compiled(lower(model), torch.float64, CPU)
    leaves = {name: torch.as_tensor(np.asarray(value), dtype=torch.float64).requires_grad_()
              for name, value in init(model, 1).items()}
    x = (torch.rand(20, 3, 9) < 0.1).double()
    output = compiled.run(leaves, compiled.zero_state(3), {"input": x}, Poisoned(), wanted=["output"]).values["output"]
    first, second = (torch.autograd.grad(output.sum(), list(leaves.values()), retain_graph=again)
                     for again in (True, False))
    assert calls and all(map(torch.equal, first, second)) and any(g.any() for g in first)
