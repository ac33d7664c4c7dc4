"""Membrane pictures: potential, the threshold it was compared with, spikes; from the neuron's own equations."""

import numpy as np
import pytest

import neuroport as npt
from neuroport.errors import InvalidData
from neuroport.pictures import membranes
from neuroport.pictures.membranes import POTENTIAL, THRESHOLD

pytest.importorskip("matplotlib")

STEPS, BATCH, NEURONS = 40, 2, 5


class InputThreshold(npt.SpikingNeuron):
    """A LIF whose threshold follows the input of the very step, which no record holds."""

    state = ("v", "m")
    tau: npt.Time = 10e-3

    def coefficients(self, p, step):
        return {"decay": step.low_pass(p.tau).decay}

    def integrate(self, c, s, x):
        return s._replace(v=c.decay * s.v + x, m=0.5 * s.m + x)

    def threshold(self, c, s):
        return c.v_threshold + s.m


def run(neuron, record, numerics=None, state=None):
    model = npt.Model.sequential(input=(NEURONS,), dt=1e-3, layers=[("hidden", neuron)], numerics=numerics)
    parameters = npt.init(model)
    inputs = np.random.default_rng(1).random((STEPS, BATCH, NEURONS)) * 4
    return model, parameters, npt.run(model, parameters, inputs, engine="reference", record=record, state=state)


def line(axis, label):
    (found,) = [one for one in axis.lines if one.get_label() == label]
    return found


def test_the_curve_visits_the_potential_before_and_after_the_reset():
    model, parameters, found = run(npt.LIF(tau=10e-3), ["hidden"])
    (axis,) = membranes(model, parameters, found.records, "hidden", neurons=[3], sample=1).axes
    its = {name: values[:, 1, 3] for name, values in found.records["hidden"].items()}
    drawn = line(axis, POTENTIAL)
    assert np.array_equal(drawn.get_ydata()[0::2], its["v_pre"])
    assert np.array_equal(drawn.get_ydata()[1::2], its["v"])
    assert drawn.get_xdata()[-1] == pytest.approx(STEPS - 1)  # ms


def test_there_is_a_mark_for_every_spike_at_its_time():
    model, parameters, found = run(npt.LIF(tau=10e-3), ["hidden"])
    (axis,) = membranes(model, parameters, found.records, "hidden", neurons=[2]).axes
    spikes = np.nonzero(found.records["hidden"]["spikes"][:, 0, 2])[0]
    assert len(spikes) > 3
    assert axis.collections[0].get_offsets()[:, 0].tolist() == pytest.approx(spikes.tolist())
    assert f"{len(spikes)} spikes" in axis.get_title("left")


def test_the_threshold_line_is_v_threshold_of_each_neuron():
    thresholds = [0.5, 1.0, 1.5, 2.0, 2.5]
    neuron = npt.LIF(tau=10e-3, v_threshold=npt.Parameter(thresholds, trainable=False))
    model, parameters, found = run(neuron, ["hidden"])
    figure = membranes(model, parameters, found.records, "hidden", neurons=[1, 4])
    drawn = [line(axis, THRESHOLD).get_ydata() for axis in figure.axes]
    assert np.array_equal(drawn, np.broadcast_to([[1.0], [2.5]], (2, STEPS)))


def test_an_adaptive_threshold_line_is_the_one_that_each_step_compared_with():
    """ALIF: v_threshold + beta a, with the adaptation that earlier spikes left."""
    model, parameters, found = run(npt.ALIF(tau=10e-3, beta=0.3, tau_adapt=20e-3), ["hidden"])
    (axis,) = membranes(model, parameters, found.records, "hidden", neurons=[0]).axes
    its = {name: values[:, 0, 0] for name, values in found.records["hidden"].items()}
    theta = line(axis, THRESHOLD).get_ydata()
    assert np.allclose(theta, 1.0 + 0.3 * np.concatenate([[0.0], its["a"][:-1]]), rtol=1e-12)
    assert np.ptp(theta) > 0.1
    assert np.array_equal(its["v_pre"] > theta, its["spikes"] > 0)


@pytest.mark.parametrize("numerics", [
    npt.Numerics(reset="hard"), npt.Numerics(reset_delay=1), npt.Numerics(reset_rule="snntorch"),
    npt.Numerics(reset="none"), npt.Numerics(discretization="euler"),
])
def test_spikes_stand_where_the_curve_crosses_the_line_under_other_numerics(numerics):
    model, parameters, found = run(npt.ALIF(tau=10e-3, beta=0.3), ["hidden"], numerics=numerics)
    (axis,) = membranes(model, parameters, found.records, "hidden", neurons=[0]).axes
    crossed = line(axis, POTENTIAL).get_ydata()[0::2] > line(axis, THRESHOLD).get_ydata()
    assert np.array_equal(crossed, found.records["hidden"]["spikes"][:, 0, 0] > 0)


def test_a_continued_run_starts_from_its_state():
    model, parameters, first = run(npt.ALIF(tau=10e-3, beta=0.3), ["hidden"])
    *_, second = run(npt.ALIF(tau=10e-3, beta=0.3), ["hidden"], state=first.state)
    (axis,) = membranes(model, parameters, second.records, "hidden", neurons=[2], sample=1, state=first.state).axes
    assert line(axis, THRESHOLD).get_ydata()[0] == pytest.approx(1 + 0.3 * first.records["hidden"]["a"][-1, 1, 2])


def test_a_threshold_that_follows_the_input_is_drawn_after_the_step_and_says_so():
    model, parameters, found = run(InputThreshold(), ["hidden"])
    (axis,) = membranes(model, parameters, found.records, "hidden", neurons=[1]).axes
    drawn = line(axis, f"{THRESHOLD} after the step").get_ydata()
    assert np.allclose(drawn, 1 + found.records["hidden"]["m"][:, 0, 1])


def test_the_most_active_neurons_are_drawn_where_none_are_named():
    model, parameters, found = run(npt.LIF(tau=10e-3, r=npt.Parameter([0.0, 9.0, 0.0, 3.0, 6.0])), ["hidden"])
    figure = membranes(model, parameters, found.records, "hidden")
    drawn = [axis.get_title("left").split(":")[0] for axis in figure.axes]
    assert len(drawn) == 4 and {"neuron 1", "neuron 3", "neuron 4"} < set(drawn)


def test_an_integrator_has_a_curve_and_nothing_else():
    model, parameters, found = run(npt.LI(tau=10e-3), ["hidden.v"])
    (axis,) = membranes(model, parameters, found.records, "hidden", neurons=[0]).axes
    assert [one.get_label() for one in axis.lines] == [POTENTIAL] and not axis.collections


def test_a_neuron_of_an_image_is_named_by_its_place():
    model = npt.Model.sequential(input=(2, 3, 4), dt=1e-3, layers=[("hidden", npt.LIF(tau=10e-3))])
    found = npt.run(model, {}, np.ones((9, 1, 2, 3, 4)), engine="reference", record=["hidden"])
    flat = membranes(model, {}, found.records, "hidden", neurons=[23]).axes[0]
    placed = membranes(model, {}, found.records, "hidden", neurons=[(1, 2, 3)]).axes[0]
    assert flat.get_title("left") == placed.get_title("left") and "(1, 2, 3)" in flat.get_title("left")


@pytest.mark.parametrize("record, lacking", [(["hidden.v"], "v_pre and no spikes"), (["spikes"], "no v and no v_pre"),
                                             (["hidden.v", "hidden.v_pre", "hidden.spikes"], "no a")])
def test_records_that_lack_something_are_refused_with_what_to_record(record, lacking):
    model, parameters, found = run(npt.ALIF(tau=10e-3), record)
    with pytest.raises(InvalidData, match=r'record=\["hidden"\]') as error:
        membranes(model, parameters, found.records, "hidden")
    assert lacking in str(error.value)


def test_a_constant_threshold_needs_no_further_state():
    record = ["hidden.v", "hidden.v_pre", "hidden.spikes"]
    model, parameters, found = run(npt.CubaLIF(tau_syn=5e-3, tau_mem=10e-3), record)
    assert membranes(model, parameters, found.records, "hidden", neurons=[0]).axes


@pytest.mark.parametrize("asked, said", [
    ({"node": "input"}, "no population"), ({"neurons": [NEURONS]}, "no neuron 5"), ({"neurons": [(0, 1)]}, "shape 5"),
    ({"neurons": []}, "no neuron"), ({"sample": 7}, "no sample 7"),
])
def test_what_is_not_there_is_refused(asked, said):
    model, parameters, found = run(npt.LIF(tau=10e-3), ["hidden"])
    with pytest.raises(InvalidData, match=said):
        membranes(model, parameters, found.records, asked.pop("node", "hidden"), **asked)
