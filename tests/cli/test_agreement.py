"""The verdict on spikes, potentials, losses and accuracies, from arrays."""

from __future__ import annotations

import numpy as np
import pytest

import neuroport as npt
from neuroport.compare.agreement import losses_agree, seeds_agree, spikes_agree
from neuroport.compare.screen import curve, percent
from neuroport.program.lower import lower

# weights of a quarter: the potentials of the reference are exact, and the threshold 1 is met exactly after four spikes
MODEL = npt.Model.sequential(input=(1,), dt=1e-3, layers=[
    ("first", npt.Linear(3, bias=False, weight_init=npt.Constant(0.25))), ("early", npt.IF()),
    ("second", npt.Linear(2, bias=False, weight_init=npt.Constant(0.5))), ("late", npt.IF()),
    ("readout", npt.LI(tau=10e-3)),
])
STEPS, SAMPLES = 20, 2


@pytest.fixture
def reference():
    """What the reference records of two samples: spikes all the time, and spikes every other step."""
    x = np.ones((STEPS, SAMPLES, 1))
    x[::2, 1] = 0
    found = npt.run(MODEL, npt.init(MODEL), x, "reference", ["early", "late", "readout"])
    return {f"{node}.{what}": values for node, its in found.records.items() for what, values in its.items()}


@pytest.fixture
def found(reference):
    """The same as another engine's, to be changed by a test."""
    return {name: values.copy() for name, values in reference.items()}


def verdict(reference, found, plain=None):
    return spikes_agree(lower(MODEL), npt.init(MODEL), reference, found, plain)


def test_equal_values_are_the_norm_tier_and_with_float32_at_hand_the_bit_tier(reference, found):
    one = verdict(reference, found)
    assert (one.tier, one.first, one.voltages) == ("norm", None, 0.0)
    assert one.equal == one.total == STEPS * SAMPLES * (3 + 2)
    assert verdict(reference, found, plain=found).tier == "bit"


def test_rounding_keeps_the_norm_tier_and_loses_the_bit_tier(reference, found):
    plain = {name: values.copy() for name, values in found.items()}
    found["readout.v"] *= 1 + 1e-7
    one = verdict(reference, found, plain)
    assert one.tier == "norm" and 0 < one.voltages < 2e-7


def test_a_spike_tipped_at_the_threshold_is_the_statistical_tier_whatever_follows(reference, found):
    found["early.spikes"][3, 0, 1] = 1  # the potential is 1 there, and 1 > 1 is false
    assert reference["early.v_pre"][3, 0, 1] == 1.0
    for name in found:
        found[name][4:, 0] = 7.0  # this sample goes another way from there on
    one = verdict(reference, found)
    assert one.tier == "statistical" and one.differing == 1 and one.samples == 2
    assert (one.first.node, one.first.step, one.first.neuron, one.first.sample) == ("early", 3, (1,), 0)
    assert one.first.margin == one.margin == 0.0 and one.voltages == 0.0


def test_a_spike_that_differs_far_from_the_threshold_is_no_agreement(reference, found):
    found["late.spikes"][2, 1, 0] += 1
    one = verdict(reference, found)
    assert one.tier == "none" and "of the threshold away" in one.reason
    assert (one.first.node, one.first.margin) == ("late", 1.0)


def test_potentials_that_are_off_before_any_spike_differs_are_no_agreement(reference, found):
    found["readout.v"] *= 1.001
    one = verdict(reference, found)
    assert one.tier == "none" and "potentials differ by 1.0e-03" in one.reason


def test_a_potential_that_is_no_number_is_no_agreement(reference, found):
    found["readout.v"][0, 0, 0] = np.nan
    assert verdict(reference, found).tier == "none"


def test_what_is_computed_first_is_the_first_difference_of_a_step(reference, found):
    found["late.spikes"][3, 0, 0] += 1
    found["early.spikes"][3, 0, 2] = 1
    assert verdict(reference, found).first.node == "early"


def test_the_margin_is_that_of_an_adaptive_threshold():
    model = npt.Model.sequential(input=(1,), dt=1e-3, layers=[
        npt.Linear(1, bias=False, weight_init=npt.Constant(5.0)),
        ("alif", npt.ALIF(tau=20e-3, tau_adapt=50e-3, beta=0.3))])
    run = npt.run(model, npt.init(model), np.ones((40, 1, 1)), "reference", ["alif"])
    traces = {f"alif.{what}": values for what, values in run.records["alif"].items()}
    assert traces["alif.spikes"].sum() > 1
    step = int(np.argwhere(traces["alif.spikes"][:, 0, 0])[1][0])  # the second spike: the threshold has moved
    spoiled = {**traces, "alif.spikes": traces["alif.spikes"].copy()}
    spoiled["alif.spikes"][step] = 0
    one = spikes_agree(lower(model), npt.init(model), traces, spoiled)
    assert one.first.step == step
    assert one.first.margin < traces["alif.v_pre"][step, 0, 0] - 1.0  # the resting threshold


def test_losses_agree_up_to_what_tipped_spikes_explain():
    assert losses_agree([2.0, 1.0], [2.0, 1.01]).agrees
    far = losses_agree([2.0, 1.0], [2.0, 1.5])
    assert not far.agrees and (far.batch, far.largest) == (2, 0.5)
    assert not losses_agree([2.0], [float("nan")]).agrees
    assert not losses_agree([2.0, 1.0], [2.0]).agrees


def test_seeds_are_within_their_spread_or_not():
    near = seeds_agree({"a": [0.90, 0.94], "b": [0.93, 0.95]}, 0.01)
    assert near.within and near.apart == pytest.approx(0.02) and near.spreads["a"] == pytest.approx(0.04)
    assert seeds_agree({"a": [0.90, 0.90], "b": [0.80, 0.81]}, 0.01).within is False
    assert seeds_agree({"a": [0.9], "b": [0.8]}, 0.01).within is None
    assert seeds_agree({"a": [0.90, 0.90], "b": [0.895, 0.895]}, 0.01).within  # less than one sample


@pytest.mark.parametrize(("share", "said"), [
    (0.0, "0 %"), (3.2e-7, "0.00003 %"), (0.0000999, "0.010 %"), (0.013, "1.3 %"), (0.5, "50 %"), (12.0, "1200 %"),
    (float("inf"), "inf %"),
])
def test_small_shares_are_written_out(share, said):
    assert percent(share) == said


def test_a_curve_falls_from_a_full_block_to_the_lowest():
    assert curve([8.0, 4.0, 2.0, 1.0]) == "█▆▃▁"
    assert len(curve(list(range(1, 200)))) == 40 and curve([0.0, 0.0]) == "▁▁"
