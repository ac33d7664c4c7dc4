"""The numerical specification by hand-computed examples, on the reference engine in float64."""

import math

import numpy as np
import pytest

import neuroport as npt
from neuroport.program.bounds import to_free, to_valid
from neuroport.program.lower import lower


def run(neuron, x, record=("v", "v_pre", "spikes"), **numerics):
    """One neuron on x (T,): its records as plain lists, and its output."""
    model = npt.Model.sequential(1, 1e-3, {"n": neuron}, npt.Numerics(**numerics))
    x = np.asarray(x, float).reshape(-1, 1, 1)
    found = npt.run(model, npt.init(model), x, engine="reference", record=[f"n.{what}" for what in record])
    traces = {what: found.records["n"][what] for what in record}
    return {what: trace.ravel().tolist() for what, trace in {**traces, "out": found.outputs}.items()}


HALF = npt.LIF.from_decay(0.5)


def test_soft_reset_takes_the_threshold_away():
    found = run(HALF, [1.5, 0, 0])
    assert found == {"v_pre": [1.5, 0.25, 0.125], "v": [0.5, 0.25, 0.125], "spikes": [1, 0, 0], "out": [1, 0, 0]}


def test_hard_reset_goes_to_v_reset():
    found = run(npt.LIF.from_decay(0.5, v_reset=-0.5), [1.5, 1, 0], reset="hard")
    assert found["v"] == [-0.5, 0.75, 0.375]


def test_value_and_subtract_are_names_of_hard_and_soft():
    assert npt.Numerics(reset="value").reset == "hard"
    assert npt.Numerics(reset="subtract").reset == "soft"


def test_no_reset_lets_the_membrane_be():
    found = run(HALF, [1.5, 1.5, 0], reset="none")
    assert found["v"] == found["v_pre"] == [1.5, 2.25, 1.125]
    assert found["spikes"] == [1, 1, 1]


def test_ge_spikes_exactly_on_the_threshold_and_gt_does_not():
    assert run(HALF, [1.0, 0.0], comparison="ge")["spikes"] == [1, 0]
    assert run(HALF, [1.0, 0.0], comparison="gt")["spikes"] == [0, 0]


def test_delayed_reset_applies_to_the_decayed_potential_of_the_next_step():
    # v: 1.5 | 0.5*1.5 + 1 - 1 = 0.75 | 0.375 + 2 = 2.375 | 1.1875 - 1
    found = run(HALF, [1.5, 1, 2, 0], reset_delay=1)
    assert found["v"] == found["v_pre"] == [1.5, 0.75, 2.375, 0.1875]
    assert found["spikes"] == [1, 0, 1, 0]


def test_delayed_hard_reset_forgets_the_next_input_too():
    found = run(npt.LIF.from_decay(0.5, v_reset=0.25), [1.5, 1, 1], reset="hard", reset_delay=1)
    assert found["v"] == [1.5, 0.25, 1.125]


def snntorch_leaky(x, beta, mechanism):
    """snnTorch's Leaky, reset_delay=False, written out: reset by the old potential, spike, correct."""
    mem, spikes, mems = 0.0, [], []
    for value in x:
        reset = float(mem > 1)
        base = beta * mem + value
        mem = base - reset if mechanism == "subtract" else base - reset * base
        spike = float(mem > 1)
        correction = spike - reset
        mem = mem - correction if mechanism == "subtract" else mem - correction * mem
        spikes.append(spike)
        mems.append(mem)
    return spikes, mems


@pytest.mark.parametrize("mechanism", ["subtract", "value"])
def test_snntorch_rule_is_snntorchs_leaky_without_delay(mechanism):
    x = [1.5, 0.75, 2.5, 3.0, 0.0, 0.25, 1.25, 4.0, 0.5]
    found = run(HALF, x, reset_rule="snntorch", reset=mechanism)
    spikes, mems = snntorch_leaky(x, 0.5, mechanism)
    assert found["spikes"] == spikes
    assert found["v"] == mems


def test_snntorch_rule_by_hand():
    # 2.5: no reset owed, spike, correction 1: 1.5. Next 0.75 - 1 = -0.25: reset owed, no spike, correction -1: 0.75
    found = run(HALF, [2.5, 0.0, 0.0], reset_rule="snntorch")
    assert found["v_pre"] == [2.5, -0.25, 0.375]
    assert found["v"] == [1.5, 0.75, 0.375]
    assert found["spikes"] == [1, 0, 0]


def test_spyx_emits_a_spike_and_applies_its_reset_one_step_later():
    found = run(HALF, [1.5, 1, 2, 0], output_delay=1, reset_delay=1)
    assert found["v"] == [1.5, 0.75, 2.375, 0.1875]
    assert found["out"] == found["spikes"] == [0, 1, 0, 1]


def test_output_delay_alone_shifts_the_spikes_and_nothing_else():
    x = [1.5, 0, 0.75, 2, 0, 0]
    plain, later = run(HALF, x), run(HALF, x, output_delay=1)
    assert later["v"] == plain["v"]
    assert later["spikes"] == [0, *plain["spikes"][:-1]]


def test_output_delay_shifts_a_readouts_potential():
    assert run(npt.LI.from_decay(0.5), [1, 0, 0], ("v",), output_delay=1)["out"] == [0, 1, 0.5]


@pytest.mark.parametrize(("comparison", "counts"), [("gt", [0, 2, 3, 0]), ("ge", [1, 2, 3, 0])])
def test_multi_spike_counts_how_many_thresholds_fit(comparison, counts):
    # v_pre: 1.0 exactly, then what is left decays by half
    inputs = {"gt": [1.0, 2.0, 3.25, -1.0], "ge": [1.0, 2.5, 3.25, -1.0]}[comparison]
    found = run(HALF, inputs, multi_spike=True, comparison=comparison)
    assert found["spikes"] == counts
    left = [pre - count for pre, count in zip(found["v_pre"], counts, strict=True)]
    assert found["v"] == left


def test_bias_on_the_membrane_passes_the_synapse_by():
    neuron = npt.CubaLIF.from_decay(0.5, 0.5)
    model = npt.Model.sequential(1, 1e-3, {"w": npt.Linear(1), "n": neuron}, npt.Numerics(bias_on="membrane"))
    given = {"w.weight": np.ones((1, 1)), "w.bias": np.array([0.25])}
    found = npt.run(model, given, np.zeros((3, 1, 1)), engine="reference", record=["n"])
    assert found.records["n"]["i"].ravel().tolist() == [0, 0, 0]
    assert found.records["n"]["v"].ravel().tolist() == [0.25, 0.375, 0.4375]


def test_alif_raises_its_threshold_and_resets_by_the_one_that_was_crossed():
    tau_adapt = -1e-3 / math.log(0.5)  # its decay per step is a half
    neuron = npt.ALIF.from_decay(0.5, beta=0.5, tau_adapt=tau_adapt)
    found = run(neuron, [1.5, 1.0, 1.25, 0.0], ("v", "v_pre", "a", "spikes"))
    # theta: 1, then 1 + 0.5 a. a: 1 | 0.5 | 0.25 + 1
    assert found["v_pre"] == pytest.approx([1.5, 1.25, 1.875, 0.3125])
    assert found["spikes"] == [1, 0, 1, 0]
    assert found["v"] == pytest.approx([0.5, 1.25, 0.625, 0.3125])
    assert found["a"] == pytest.approx([1.0, 0.5, 1.25, 0.625])


def test_from_decay_is_the_plain_recursion():
    beta, x = 0.9, np.random.default_rng(0).random(30)
    v, expected = 0.0, []
    for value in x:
        v = beta * v + value
        expected.append(v)
        v -= v > 1
    assert run(npt.LIF.from_decay(beta), x, ("v_pre",))["v_pre"] == pytest.approx(expected, rel=1e-14)


def test_exponential_lif_follows_the_exact_solution_for_constant_input():
    tau, r, rest, current = 20e-3, 2.0, 0.1, 0.3
    found = run(npt.LIF(tau=tau, r=r, v_leak=rest), [current] * 50, ("v_pre",))["v_pre"]
    t = 1e-3 * np.arange(1, 51)
    assert found == pytest.approx((rest + r * current) * (1 - np.exp(-t / tau)), rel=1e-12)


def test_euler_lif_is_the_forward_difference():
    tau, v, expected = 10e-3, 0.0, []
    for _ in range(20):
        v += 1e-3 / tau * (0.05 - v + 0.5)
        expected.append(v)
    found = run(npt.LI(tau=tau, v_leak=0.05), [0.5] * 20, ("v",), discretization="euler")
    assert found["v"] == pytest.approx(expected, rel=1e-12)


def test_if_integrates_charge_whatever_the_time_step():
    assert run(npt.IF(r=0.5), [1, 1, 1, 0], ("v_pre",))["v_pre"] == [0.5, 1.0, 1.5, 0.5]


def test_cuba_membrane_sees_the_new_current():
    found = run(npt.CubaLIF.from_decay(0.5, 0.5, w_in=0.5), [1, 0, 0], ("i", "v"))
    assert found["i"] == [0.5, 0.25, 0.125]
    assert found["v"] == [0.5, 0.5, 0.375]


@pytest.mark.parametrize("delay", [1, 3, 9])
def test_a_delay_shifts_by_that_many_steps(delay):
    nodes = {"input": npt.Input(shape=(1,)), "n": npt.LI.from_decay(0.0), "output": npt.Output()}
    model = npt.Model(nodes=nodes, edges=[("input", "n", delay), ("n", "output")], dt=1e-3)
    x = np.arange(1.0, 7).reshape(-1, 1, 1)
    found = npt.run(model, {}, x, engine="reference").outputs.ravel().tolist()
    assert found == [*[0.0] * delay, 1, 2, 3, 4, 5, 6][:6]


def _recurrent(bias_at_start):
    layer = npt.Recurrent(npt.Linear(1), npt.LI.from_decay(0.0), bias_at_start=bias_at_start)
    model = npt.Model.sequential(1, 1e-3, {"n": layer})
    given = {"n_recurrent.weight": np.full((1, 1), 2.0), "n_recurrent.bias": np.full(1, 0.5)}
    return npt.run(model, given, np.ones((3, 1, 1)), engine="reference").outputs.ravel().tolist()


def test_nothing_comes_back_at_the_first_step_but_a_bias_where_it_is_wanted():
    assert _recurrent(True) == [1.5, 1 + 2 * 1.5 + 0.5, 1 + 2 * 4.5 + 0.5]
    assert _recurrent(False) == [1.0, 1 + 2 * 1.0 + 0.5, 1 + 2 * 3.5 + 0.5]


@pytest.mark.parametrize("bias_at_start", [True, False])
def test_a_plain_graph_says_by_the_place_of_its_delay_whether_the_bias_acts_at_the_first_step(bias_at_start):
    nodes = {"input": npt.Input(shape=(1,)), "n": npt.LI.from_decay(0.0), "n_recurrent": npt.Linear(1),
             "output": npt.Output()}
    into, out_of = (1, 0) if bias_at_start else (0, 1)
    edges = [("input", "n"), ("n", "n_recurrent", into), ("n_recurrent", "n", out_of), ("n", "output")]
    given = {"n_recurrent.weight": np.full((1, 1), 2.0), "n_recurrent.bias": np.full(1, 0.5)}
    found = npt.run(npt.Model(nodes=nodes, edges=edges, dt=1e-3), given, np.ones((3, 1, 1)), engine="reference")
    assert found.outputs.ravel().tolist() == _recurrent(bias_at_start)


def test_a_bias_on_the_membrane_acts_from_the_first_step_on_whatever_delay_lies_between():
    nodes = {"input": npt.Input(shape=(1,)), "w": npt.Linear(1), "n": npt.LI.from_decay(0.0), "output": npt.Output()}
    model = npt.Model(nodes=nodes, edges=[("input", "w"), ("w", "n", 2), ("n", "output")], dt=1e-3,
                      numerics=npt.Numerics(bias_on="membrane"))
    given = {"w.weight": np.ones((1, 1)), "w.bias": np.array([0.25])}
    found = npt.run(model, given, np.ones((3, 1, 1)), engine="reference")
    assert found.outputs.ravel().tolist() == [0.25, 0.25, 1.25]


def test_edges_into_one_node_add_up():
    nodes = {"input": npt.Input(shape=(1,)), "double": npt.Scale(2.0), "n": npt.LI.from_decay(0.0),
             "output": npt.Output()}
    edges = [("input", "n"), ("input", "double"), ("double", "n", 1), ("n", "output")]
    model = npt.Model(nodes=nodes, edges=edges, dt=1e-3)
    x = np.array([1.0, 10, 100]).reshape(-1, 1, 1)
    assert npt.run(model, {}, x, engine="reference").outputs.ravel().tolist() == [1, 12, 120]


@pytest.mark.parametrize("discretization", ["exponential", "euler"])
def test_a_trained_time_constant_stays_valid_whatever_the_optimizer_does(discretization):
    neuron = npt.LIF(tau=npt.Parameter(value=5e-3, per="layer"))
    model = npt.Model.sequential(1, 1e-3, {"n": neuron}, npt.Numerics(discretization=discretization))
    program = lower(model)
    free = to_free(program, npt.init(model))["n.tau"]
    assert float(to_valid(program, "n.tau", free)) == pytest.approx(5e-3, rel=1e-6)
    shortest = 1e-3 if discretization == "euler" else 0.0
    for push in (-30.0, -3.0, 3.0, 30.0):
        assert float(to_valid(program, "n.tau", free + push)) > shortest


def test_a_trained_decay_stays_between_zero_and_one():
    model = npt.Model.sequential(1, 1e-3, {"n": npt.LIF(decay=npt.Parameter(value=0.9, per="layer"))})
    program = lower(model)
    free = to_free(program, npt.init(model))["n.decay"]
    assert float(to_valid(program, "n.decay", free)) == pytest.approx(0.9, rel=1e-6)
    for push in (-20.0, 20.0):
        assert 0 <= float(to_valid(program, "n.decay", free + push)) <= 1


def test_a_trainable_constant_at_the_end_of_its_range_is_refused():
    layers, numerics = {"n": npt.LIF(tau=npt.Parameter(value=1e-3))}, npt.Numerics(discretization="euler")
    model = npt.Model.sequential(1, 1e-3, layers, numerics)
    with pytest.raises(npt.InvalidData, match="n.tau"):
        to_free(lower(model), npt.init(model))


def test_a_bias_that_cannot_reach_the_membrane_is_refused():
    layers = {"w": npt.Linear(2), "wait": npt.Delay(2e-3), "n": npt.CubaLIF(tau_syn=5e-3, tau_mem=9e-3)}
    model = npt.Model.sequential(2, 1e-3, layers, npt.Numerics(bias_on="membrane"))
    with pytest.raises(npt.InvalidModel, match="nodes.w.bias.*'wait' lies between"):
        npt.init(model)
    silent = npt.Model.sequential(2, 1e-3, layers | {"w": npt.Linear(2, bias=False)}, model.numerics)
    assert "w.weight" in npt.init(silent)
