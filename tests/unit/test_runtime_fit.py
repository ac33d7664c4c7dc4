"""What a training does, decides, refuses and says."""

import numpy as np
import pytest
from runtime_case import Spoiled, patterns, small_data, small_experiment

import neuroport as npt
from neuroport.data import splits
from neuroport.runtime.activity import LayerWarning
from neuroport.runtime.callbacks import Callback
from neuroport.runtime.course import piece_length

SPEED = {"samples_per_second", "seconds"}


def without_speed(row):
    return {name: value for name, value in row.items() if name not in SPEED}


def test_a_small_network_learns_patterns_from_own_arrays():
    run = npt.fit(small_experiment(epochs=8), engine="reference", data=small_data())
    assert run.summary["train_accuracy"] > 0.9 and run.summary["test_accuracy"] > 0.8
    assert run.history[-1]["train_loss"] < 0.6 * run.history[0]["train_loss"]


def test_the_same_seed_twice_gives_equal_parameters_history_and_summary():
    first, second = (npt.fit(small_experiment(seed=3), engine="reference", data=small_data()) for _ in range(2))
    assert without_speed(first.summary) == without_speed(second.summary)
    assert list(map(without_speed, first.history)) == list(map(without_speed, second.history))
    for name, value in first.parameters.items():
        assert np.array_equal(value, second.parameters[name])
        assert np.array_equal(first.last[name], second.last[name])


def test_another_seed_gives_another_training():
    first, second = (npt.fit(small_experiment(seed=seed, epochs=1), engine="reference", data=small_data())
                     for seed in (0, 1))
    assert first.summary["first_losses"] != second.summary["first_losses"]


def test_the_best_epoch_is_that_of_the_highest_validation_accuracy():
    engine = Spoiled(accuracies=[0.2, 0.8, 0.5, 0.7])
    run = npt.fit(small_experiment(), engine=engine, data=small_data())
    assert run.summary["best_epoch"] == 2
    assert any(not np.array_equal(run.parameters[name], run.last[name]) for name in run.last)


@pytest.mark.parametrize(("losses", "best"), [([0.5, 0.4, 0.3, 0.6], 3), ([0.5, 0.5, 0.5, 0.5], 1)])
def test_among_equal_accuracies_the_lower_loss_wins_and_then_the_earlier_epoch(losses, best):
    engine = Spoiled(accuracies=[0.5] * 4, validation_losses=losses)
    assert npt.fit(small_experiment(), engine=engine, data=small_data()).summary["best_epoch"] == best


def test_the_summary_judges_the_best_parameters():
    run = npt.fit(small_experiment(), engine="reference", data=small_data())
    x, y = patterns(8, 2)
    found = npt.run(run.model, run.parameters, np.moveaxis(x, 0, 1).astype(np.float32), engine="reference")
    assert run.summary["test_accuracy"] == pytest.approx(np.mean(found.outputs.mean(0).argmax(1) == y))
    best = run.history[run.summary["best_epoch"] - 1]
    assert run.summary["validation_accuracy"] == best["validation_accuracy"]


def test_padding_neither_moves_parameters_nor_counts():
    experiment, data = small_experiment(), small_data()
    executable = npt.compile(experiment.model, "reference", training=experiment.training)
    handle, staged = executable.load(npt.init(experiment.model, 0)), executable.stage(data.train)
    found = []
    for samples, mask in (([3, 8], [1, 1]), ([3, 8, 3, 3], [1, 1, 0, 0])):
        order, mask = np.array([samples]), np.array([mask], np.float32)
        training = executable.init_training(handle)
        training, seen = executable.train_segment(training, staged, order, mask, np.ones(1), (0, 0))
        judged = executable.evaluate(handle, staged, order, mask)
        found.append((executable.export(executable.current(training)), seen, judged))
    (plain, seen, judged), (padded, seen_padded, judged_padded) = found
    for name, value in plain.items():
        np.testing.assert_allclose(padded[name], value, rtol=1e-9)
    for one, other in ((seen, seen_padded), (judged, judged_padded)):
        np.testing.assert_allclose(other.loss, one.loss, rtol=1e-9)
        assert (other.correct.tolist(), other.count.tolist()) == (one.correct.tolist(), one.count.tolist())
    np.testing.assert_allclose(judged_padded.rates["1_lif"], judged.rates["1_lif"], rtol=1e-6)


def test_a_data_set_without_a_test_part_has_no_test_accuracy():
    run = npt.fit(small_experiment(epochs=1), engine="reference", data=splits(patterns(12, 0), patterns(8, 1)))
    assert run.summary["test_accuracy"] is None and run.summary["test_loss"] is None


def test_pieces_of_an_epoch_have_two_lengths_at_most_and_are_few():
    for count in range(1, 300):
        length = piece_length(count)
        assert 1 <= length <= count and -(-count // length) <= 8
    assert [piece_length(count) for count in (1, 8, 16, 31, 32)] == [1, 4, 4, 31, 4]


def test_callbacks_hear_the_start_every_piece_every_epoch_and_the_end():
    heard = []

    class Listener(Callback):
        def on_start(self, plan):
            heard.append(("start", plan.engine, plan.epochs, plan.samples))

        def on_piece(self, piece):
            heard.append(("piece", piece.epoch, piece.done))

        def on_epoch(self, row):
            heard.append(("epoch", row["epoch"]))

        def on_end(self, run):
            heard.append(("end", run.summary["epochs"]))

    npt.fit(small_experiment(epochs=2, batch_size=2), engine="reference", data=small_data(16), callbacks=[Listener()])
    assert heard == [
        ("start", "reference", 2, 16),
        ("piece", 1, 8), ("piece", 1, 16), ("epoch", 1), ("piece", 2, 8), ("piece", 2, 16), ("epoch", 2), ("end", 2),
    ]


def test_callbacks_hear_the_end_of_a_training_that_failed():
    heard = []

    class Listener(Callback):
        def on_end(self, run):
            heard.append(run)

    with pytest.raises(npt.TrainingDiverged):
        npt.fit(small_experiment(), engine=Spoiled(losses=[np.nan]), data=small_data(), callbacks=[Listener()])
    assert heard == [None]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_training_and_names_epoch_and_mend(bad):
    with pytest.raises(npt.TrainingDiverged) as raised:
        npt.fit(small_experiment(), engine=Spoiled(losses=[0.7, 0.6, bad, 0.5]), data=small_data())
    assert "epoch 3 of 4" in str(raised.value) and "learning_rate (now 0.2)" in str(raised.value)


def test_a_validation_loss_that_is_no_number_stops_too():
    with pytest.raises(npt.TrainingDiverged, match="validation loss became nan in epoch 2"):
        npt.fit(small_experiment(), engine=Spoiled(validation_losses=[0.7, np.nan]), data=small_data())


def test_a_silent_population_is_named_with_a_mend():
    experiment = small_experiment(weight_init=npt.Normal(std=1e-3), learning_rate=1e-5, epochs=2)
    sentence = r"'1_lif' is silent: 6 of 6 neurons.*FluctuationDriven on '0_linear'"
    with pytest.warns(LayerWarning, match=sentence) as said:
        run = npt.fit(experiment, engine="reference", data=small_data())
    assert len(said) == 1 and len(run.summary["warnings"]) == 1  # once, not every epoch


def test_a_saturated_population_is_named_with_a_mend():
    experiment = small_experiment(weight_init=npt.Constant(value=100.0), learning_rate=1e-5, epochs=1)
    with pytest.warns(LayerWarning, match=r"'1_lif' is saturated: its 6 neurons.*higher v_threshold"):
        npt.fit(experiment, engine="reference", data=small_data())


@pytest.mark.parametrize(("change", "said"), [
    ({"data": splits((np.zeros((4, 5, 3)), np.zeros(4, int)), (np.zeros((4, 5, 3)), np.zeros(4, int)))},
     r"expects \(4,\) a step, the data has \(3,\)"),
    ({"data": splits((patterns(6, 0)[0], np.arange(6)), patterns(6, 1))}, "2 outputs, the data has 6 classes"),
    ({"engine": "refrence"}, "did you mean 'reference'"),
    ({"device": "cuda:7"}, "cuda:7"),
    ({"data": None}, r"data: is missing.*\n.*data=npt.data.split"),
])
def test_what_does_not_fit_together_is_refused_before_anything_runs(tmp_path, change, said):
    options = {"engine": "reference", "data": small_data(), "out": tmp_path / "run", **change}
    with pytest.raises(npt.NeuroportError, match=said):
        npt.fit(small_experiment(), **options)
    assert not (tmp_path / "run").exists()


def test_an_unknown_source_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(npt.InvalidExperiment, match="braille"):
        npt.fit(small_experiment(data={"source": "brail"}), engine="reference")


def test_the_example_experiment_fits_its_data():
    from pathlib import Path

    from neuroport.runtime.fit import check_fit, load_data

    experiment = npt.Experiment.load(Path(__file__).parents[2] / "examples" / "braille.yaml")
    check_fit(experiment, load_data(experiment))
    assert [experiment.model.shapes[name] for name in ("hidden", "decision")] == [(38,), (7,)]


def test_a_training_can_start_from_given_parameters():
    data, whole = small_data(), npt.fit(small_experiment(), engine="reference", data=small_data())
    again = npt.fit(small_experiment(epochs=1), engine="reference", data=data, parameters=whole.last)
    fresh = npt.fit(small_experiment(epochs=1), engine="reference", data=data)
    assert again.summary["first_losses"][0] < 0.8 * fresh.summary["first_losses"][0]
    with pytest.raises(npt.InvalidData, match=r"parameters\.0_linear\.weight: is missing"):
        npt.fit(small_experiment(), engine="reference", data=data,
                parameters={name: value for name, value in whole.last.items() if name != "0_linear.weight"})
