"""The learning rate over a training: schedules, plateaus, groups of batches; and when training stops early."""

import numpy as np
import pytest
from runtime_case import Spoiled, patterns, small_data, small_experiment

import neuroport as npt
from neuroport.data import splits
from neuroport.data.order import batches
from neuroport.runtime.following import Patience


def fit(engine, **changes):
    return npt.fit(small_experiment(**changes), engine=engine, data=small_data(16))  # 2 steps an epoch


@pytest.mark.parametrize(("schedule", "expected"), [
    (npt.ConstantRate(), [1, 1, 1, 1, 1, 1]),
    (npt.StepDecay(every=1, gamma=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
    (npt.Warmup(epochs=1.0, then=npt.StepDecay(every=1, gamma=0.5)), [1 / 3, 2 / 3, 1, 1, 0.5, 0.5]),
])
def test_each_step_is_taken_with_the_factor_of_its_schedule(schedule, expected):
    engine = Spoiled()
    run = fit(engine, epochs=3, schedule=schedule)
    np.testing.assert_allclose(engine.factors, expected)
    np.testing.assert_allclose([row["learning_rate"] for row in run.history], 0.2 * np.array(expected[1::2]))


def test_a_plateau_lowers_the_rate_after_so_many_epochs_in_a_row_without_a_better_loss():
    #                                     best  worse  worse: lower, better, worse, worse: lower
    engine = Spoiled(validation_losses=[0.5, 0.6, 0.5, 0.4, 0.45, 0.41, 0.4])
    run = fit(engine, epochs=7, schedule=npt.Plateau(factor=0.1, patience=2, minimum=0.05))
    np.testing.assert_allclose(engine.factors[::2], [1, 1, 1, 0.1, 0.1, 0.1, 0.05])  # 0.05: its minimum
    np.testing.assert_allclose([row["learning_rate"] for row in run.history], 0.2 * np.array(engine.factors[1::2]))


def test_a_plateau_can_follow_the_accuracy_and_wait_for_a_warm_up():
    engine = Spoiled(accuracies=[0.5, 0.5, 0.6, 0.6])
    fit(engine, schedule=npt.Warmup(epochs=0.5, start=0.5, then=npt.Plateau(
        factor=0.5, patience=1, monitor="validation_accuracy")))
    np.testing.assert_allclose(engine.factors[::2], [0.75, 1, 0.5, 0.5])


def test_better_means_by_more_than_min_delta():
    waiting = Patience("validation_loss", patience=2, min_delta=0.1)
    said = [waiting.runs_out({"validation_loss": loss}) for loss in (1.0, 0.9, 0.85, 0.8, 0.75)]
    assert said == [False, False, False, False, True]  # 0.85 is better than 1.0 by more, 0.8 and 0.75 than 0.85 are not


def test_training_stops_early_after_so_many_epochs_without_a_better_value(tmp_path):
    engine = Spoiled(validation_losses=[0.5, 0.4, 0.41, 0.42, 0.1], accuracies=[0.5] * 5)
    run = npt.fit(small_experiment(epochs=9, early_stopping=npt.EarlyStopping(patience=2)), engine, tmp_path,
                  data=small_data())
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    assert (run.summary["epochs"], run.summary["epochs_trained"], run.summary["best_epoch"]) == (9, 4, 2)
    assert (tmp_path / "checkpoints" / "0004-0000.safetensors").exists()  # where it stopped


def test_without_early_stopping_all_epochs_are_trained():
    assert len(fit(Spoiled(validation_losses=[0.5] * 6), epochs=6).history) == 6


def test_order_is_filled_up_to_whole_groups_of_batches_that_do_not_count():
    order, mask = batches(np.arange(10), 4, multiple=4)
    assert order.shape == mask.shape == (4, 4) and mask.sum() == 10
    assert mask[2].tolist() == [1, 1, 0, 0] and not mask[3].any() and order.max() == 9
    plain, _ = batches(np.arange(10), 4)
    assert np.array_equal(order[:3], plain)


@pytest.mark.parametrize("samples", [16, 15, 10])
def test_groups_of_small_batches_move_parameters_as_large_batches_do(samples):
    data = small_data(samples)
    large, grouped = (npt.fit(small_experiment(batch_size=size, accumulate=count), "reference", data=data)
                      for size, count in ((8, 1), (2, 4)))
    for name, value in large.last.items():
        np.testing.assert_allclose(grouped.last[name], value, rtol=1e-9)
    assert grouped.history[-1]["train_loss"] == pytest.approx(large.history[-1]["train_loss"])


def test_padding_is_not_among_the_first_losses():
    engine = Spoiled()
    run = npt.fit(small_experiment(epochs=1, batch_size=4, accumulate=4), engine, data=small_data(18))  # 5 batches
    assert len(run.summary["first_losses"]) == 5 and len(engine.factors) == 2


def traces(count, seed):
    x, y = patterns(count, seed)
    return x, np.eye(2)[y][:, None].repeat(x.shape[1], 1)  # the class's output is 1 at every step


def test_a_loss_on_traces_trains_and_the_lowest_validation_loss_is_the_best():
    data = splits(traces(22, 0), traces(10, 1), traces(8, 2))
    run = npt.fit(small_experiment(loss=npt.TraceMSE(), epochs=6), engine="reference", data=data)
    losses = [row["validation_loss"] for row in run.history]
    assert losses[-1] < 0.7 * losses[0]
    assert all(row["train_accuracy"] is None and row["validation_accuracy"] is None for row in run.history)
    assert run.summary["best_epoch"] == 1 + int(np.argmin(losses))
    assert run.summary["test_accuracy"] is None and run.summary["test_loss"] < 0.7 * losses[0]


@pytest.mark.parametrize(("loss", "data", "said"), [
    (npt.TraceMSE(), small_data(), "TraceMSE compares outputs with traces, the data holds class indices"),
    (npt.CrossEntropy(), splits(traces(6, 0), traces(6, 1)), r"with classes, the data holds traces of shape \(12, 2\)"),
    (npt.TraceMSE(), splits(*((x, y[..., :1]) for x, y in (traces(6, 0), traces(6, 1)))),
     r"have shape \(1,\) a step, the output 'output' has \(2,\)"),
])
def test_targets_that_the_loss_cannot_read_are_refused_with_a_mend(loss, data, said):
    with pytest.raises(npt.InvalidData, match=said) as raised:
        npt.fit(small_experiment(loss=loss), engine="reference", data=data)
    assert "mend" in str(raised.value)


def test_watching_an_accuracy_that_there_is_not_is_refused():
    settings = {"early_stopping": npt.EarlyStopping(monitor="validation_accuracy"),
                "schedule": npt.Plateau(monitor="validation_accuracy")}
    with pytest.raises(npt.InvalidExperiment) as raised:
        small_experiment(loss=npt.TraceMSE(), **settings)
    assert [problem.path for problem in raised.value.problems] == [
        "training.early_stopping.monitor", "training.schedule.monitor"]
