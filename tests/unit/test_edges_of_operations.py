"""Where operations and settings have an edge: every engine decides alike, or it is refused before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

import neuroport as npt
from neuroport.dynamics.discretize import Step

MODEL = npt.Model.sequential(input=(4,), dt=1e-3, layers=[
    npt.Linear(3, weight_init=npt.Normal(mean=4.0, std=1.0)), npt.LIF(tau=5e-3)])


class L1(npt.Loss):
    targets = "traces"

    def per_sample(self, outputs, targets, step):
        return npt.ops.sum(npt.ops.sum(npt.ops.abs(outputs - targets), 0), 1)


@pytest.mark.parametrize("engine", ["reference", "jax", "torch"])
def test_the_derivative_of_an_absolute_value_at_zero_is_zero(engine):
    if engine != "reference":
        pytest.importorskip(engine, reason=f"{engine} is not installed")
    found = npt.gradients(MODEL, npt.init(MODEL), np.zeros((8, 2, 4)), np.zeros((8, 2, 3)), loss=L1(), engine=engine)
    assert found.loss == 0 and not any(value.any() for value in found.parameters.values())


@pytest.mark.filterwarnings("ignore::neuroport.runtime.activity.LayerWarning")
@pytest.mark.parametrize("engine", ["reference", "jax", "torch"])
def test_a_jitter_that_reaches_beyond_the_run_trains(engine):
    if engine != "reference":
        pytest.importorskip(engine, reason=f"{engine} is not installed")
    x = (np.random.default_rng(0).random((20, 6, 4)) < 0.5).astype(int)
    data = npt.data.split(x, np.arange(20) % 3, test=0)
    training = npt.Training(augmentation=[npt.TimeJitter(reach=9e-3)], epochs=1, batch_size=5)
    run = npt.fit(npt.Experiment(model=MODEL, training=training), engine=engine, data=data)
    assert np.isfinite(run.history[0]["train_loss"])


def test_an_axis_that_the_input_has_not_is_refused():
    training = npt.Training(augmentation=[npt.ChannelShift(reach=1, axis=-2)])
    with pytest.raises(npt.InvalidExperiment, match=r"augmentation\.0\.axis: is -2, the input has shape \(4,\)"):
        npt.Experiment(model=MODEL, training=training)


def test_mixing_without_partners_is_refused():
    executable = npt.compile(MODEL, "reference", training=npt.Training(augmentation=[npt.Mix()], batch_size=2))
    data = npt.data.stage(np.ones((2, 3, 4), int), np.zeros(2, int))
    start = executable.init_training(executable.load(npt.init(MODEL)))
    with pytest.raises(npt.InvalidData, match="partners"):
        executable.train_segment(start, data, np.array([[0, 1]]), np.ones((1, 2)), np.ones(1), (0, 0))


@pytest.mark.parametrize(("change", "said"), [
    ({"groups": np.arange(10)}, r"groups: has shape \(10,\) for 40 samples"), ({"seed": -1}, "seed: is no seed"),
    ({"y": np.full(40, 2**40)}, "holds the class 1099511627776"),
    ({"y": np.arange(40) % 2 + 1}, r"class 0 has no sample\n.*y - 1"),
])
def test_what_would_lose_samples_or_classes_is_refused(change, said):
    with pytest.raises(npt.InvalidData, match=said):
        npt.data.split(**{"x": np.ones((40, 4, 2), int), "y": np.arange(40) % 2, **change})


@pytest.mark.parametrize("tau", [1e-4, 1e-2, 1.0])
def test_one_spike_is_half_a_van_rossum_unit_from_silence(tau):
    spike = np.zeros((20_000, 1, 1))
    spike[3] = 1
    found = npt.VanRossum(tau=tau).per_sample(spike, spike * 0, Step(1e-3, "exponential"))
    assert found == pytest.approx(0.5, rel=1e-9)


def test_a_loss_that_returns_one_value_for_the_batch_is_refused_before_anything_runs():
    class Whole(npt.Loss):
        def per_sample(self, outputs, targets, step):
            return npt.ops.mean(npt.ops.sum(npt.ops.sum(outputs, 0), 1), 0)

    with pytest.raises(npt.InvalidExperiment, match=r"Whole\.per_sample returns shape \(\).*\(B,\)"):
        npt.gradients(MODEL, npt.init(MODEL), np.ones((3, 2, 4)), [0, 1], loss=Whole(), engine="reference")
