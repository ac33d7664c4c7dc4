"""Delay nodes, by hand-computed values on the reference."""

import numpy as np
import pytest

import neuroport as npt

DT = 1e-3


def late(delay, x):
    """One Delay on x (T, *shape)."""
    x = np.asarray(x, float)[:, None]
    model = npt.Model.sequential(x.shape[2:], DT, {"wait": npt.Delay(delay)})
    return npt.run(model, npt.init(model), x, engine="reference").outputs[:, 0]


def ring(delay):
    """One IF neuron that hears itself through a weight of 1 and a Delay."""
    return npt.Model(
        nodes={"input": npt.Input((2,)), "n": npt.IF(), "back": npt.Scale(1.0), "wait": npt.Delay(delay),
               "output": npt.Output()},
        edges=[("input", "n"), ("n", "back"), ("back", "wait"), ("wait", "n"), ("n", "output")], dt=DT)


def test_a_delay_waits_that_many_steps_and_sends_zeros_before():
    assert late(2e-3, [[1], [2], [3], [4]]).ravel().tolist() == [0, 0, 1, 2]


def test_each_neuron_has_a_delay_of_its_own():
    found = late([0, 1e-3, 9e-3], [[1, 10, 5], [2, 20, 5], [3, 30, 5]])
    assert found.tolist() == [[1, 0, 0], [2, 10, 0], [3, 20, 0]]


def test_each_channel_has_a_delay_of_its_own():
    x = np.arange(12.0).reshape(3, 2, 2)
    found = late([0, 2e-3], x)
    assert np.array_equal(found[:, 0], x[:, 0])
    assert found[:, 1].tolist() == [[0, 0], [0, 0], x[0, 1].tolist()]


def test_a_uniform_delay_is_a_longer_edge():
    layers = {"first": npt.Linear(3), "n": npt.LIF(5e-3, r=20.0)}
    there = npt.Model.sequential(4, DT, {"first": npt.Linear(3), "wait": npt.Delay(3e-3), "n": npt.LIF(5e-3, r=20.0)})
    nodes = {"input": npt.Input((4,)), **layers, "output": npt.Output()}
    edge = npt.Model(nodes=nodes, edges=[("input", "first"), ("first", "n", 3), ("n", "output")], dt=DT)
    x = np.random.default_rng(0).random((20, 2, 4))
    a, b = (npt.run(model, npt.init(there), x, engine="reference") for model in (there, edge))
    assert np.array_equal(a.outputs, b.outputs) and a.outputs.any()
    assert np.array_equal(a.state["first->wait"], b.state["first->n"])


def test_the_delay_of_an_edge_into_it_adds_up():
    nodes = {"input": npt.Input((2,)), "wait": npt.Delay([0, 2e-3]), "output": npt.Output()}
    model = npt.Model(nodes=nodes, edges=[("input", "wait", 1), ("wait", "output")], dt=DT)
    x = np.array([[1.0, 1], [2, 2], [3, 3], [4, 4]])[:, None]
    found = npt.run(model, npt.init(model), x, engine="reference")
    assert found.outputs[:, 0].tolist() == [[0, 0], [1, 0], [2, 0], [3, 1]]
    assert found.state["input->wait"].shape == (3, 1, 2)


def test_a_delay_satisfies_the_need_of_a_cycle_and_a_spike_goes_round():
    x = np.zeros((7, 1, 2))
    x[0] = 1.5
    found = npt.run(ring([1e-3, 3e-3]), {}, x, engine="reference").outputs[:, 0]
    # 1.5 leaves 0.5 after the spike; each spike comes back as 1 and makes the next one
    assert found.T.tolist() == [[1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 0, 0, 1]]


@pytest.mark.parametrize("delay", [0.0, [0.0, 1e-3]], ids=str)
def test_a_delay_of_no_steps_leaves_a_cycle_without_delay(delay):
    with pytest.raises(npt.InvalidModel, match="the cycle n -> back -> wait -> n has no delay"):
        ring(delay)


def test_a_neuron_whose_own_delay_is_zero_may_stand_in_a_cycle_delayed_elsewhere():
    nodes = ring([1e-3, 1e-3]).nodes
    edges = [("input", "n"), ("n", "back", 1), ("back", "wait"), ("wait", "n"), ("n", "output")]
    model = npt.Model(nodes={**nodes, "wait": npt.Delay([0.0, 2e-3])}, edges=edges, dt=DT)
    x = np.zeros((7, 1, 2))
    x[0] = 1.5
    assert npt.run(model, {}, x, engine="reference").outputs[:, 0].T.tolist() == [[1] * 7, [1, 0, 0, 1, 0, 0, 1]]


def test_seconds_that_were_float32_are_whole_steps_still():
    assert late([float(np.float32(3e-3)), 0.1 + 0.2], np.eye(2)).tolist() == [[0, 0], [0, 0]]
    assert npt.Delay(float(np.float32(0.7))).output_shape((2,)) == (2,)


def test_gradients_reach_back_to_when_things_left():
    model = npt.Model.sequential(1, DT, {"w": npt.Linear(2, bias=False), "wait": npt.Delay([0.0, 2e-3])})
    x = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    last = np.zeros((3, 1, 2))
    held = {"w.weight": np.ones((2, 1))}
    # targets meet the outputs but in the last step, where they are off by one: d(mean square)/dw = 2 x / 6
    last[:, 0, 0], last[2, 0, 1] = [1, 10, 99], 0
    found = npt.gradients(model, held, x, last, loss=npt.TraceMSE(), engine="reference").parameters["w.weight"]
    assert found.ravel().tolist() == pytest.approx([2 * 100 / 6, 2 * 1 / 6])


def test_hundreds_of_delays_in_two_chunks_are_what_a_loop_over_neurons_gives():
    random = np.random.default_rng(0)
    lags = random.permutation(400)
    x = random.normal(size=(500, 3, 400))
    model = npt.Model.sequential(400, DT, {"wait": npt.Delay(lags * DT)})
    expected = np.zeros_like(x)
    for n, lag in enumerate(lags):
        expected[lag:, :, n] = x[: 500 - lag, :, n]
    first = npt.run(model, {}, x[:150], engine="reference")
    second = npt.run(model, {}, x[150:], engine="reference", state=first.state)
    assert np.array_equal(np.concatenate([first.outputs, second.outputs]), expected)


def test_a_delay_survives_json_and_yaml():
    model = npt.Model.sequential((2, 2), DT, [npt.Delay([0, 2e-3]), npt.Delay(np.full((2, 2), 1e-3)), npt.Delay(0.004)])
    assert npt.Model.from_json(model.to_json()) == model == npt.Model.from_yaml(model.to_yaml())
