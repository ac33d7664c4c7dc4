"""Judging trained parameters: what is counted, by which engine, and what is said."""

import json

import numpy as np
import pytest
from neuroport_reference.engine import ReferenceEngine
from runtime_case import patterns, small_data, small_experiment

import neuroport as npt
from neuroport.data import splits
from neuroport.engine.base import Executable
from neuroport.engine.capabilities import Capabilities
from neuroport.runtime.activity import SATURATED_RATE, SILENT_RATE


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    experiment = small_experiment(epochs=3, metrics=(npt.TopK(k=1), npt.TopK(k=2, name="either")))
    return npt.fit(experiment, "reference", tmp_path_factory.mktemp("runs") / "run", data=small_data())


class RunsOnly(ReferenceEngine):
    """An engine as hardware has them: it runs, three samples at a time, and gives no gradients."""

    name = "chip"

    def capabilities(self, device=None):
        features = {name: support for name, support in super().capabilities(device).features.items()
                    if not name.startswith(("gradients", "loss.", "optimizer.", "metric.", "surrogate."))}
        return Capabilities(features, precisions=("float64",), max_batch=3)

    def compile(self, program, options):
        return OnlyRuns(super().compile(program, options))


class OnlyRuns(Executable):
    load = export = init_state = run = None

    def __init__(self, inner):
        self.program, self.options = inner.program, inner.options
        self.load, self.export, self.init_state = inner.load, inner.export, inner.init_state

        def run(handle, state, inputs, record=()):
            assert all(x.shape[1] <= 3 for x in inputs.values())
            return inner.run(handle, state, inputs, record)

        self.run = run


def test_it_counts_what_a_run_of_the_network_shows(run):
    found = npt.evaluate(run, data=small_data())
    x, y = patterns(8, 2)
    inputs = np.moveaxis(x, 0, 1).astype(np.float32)
    seen = npt.run(run.model, run.parameters, inputs, engine="reference", record=["1_lif.spikes"])
    decided = np.asarray(seen.outputs).sum(0).argmax(1)
    expected = np.zeros((2, 2), int)
    for true, taken in zip(y, decided, strict=True):
        expected[true, taken] += 1
    assert found.confusion.tolist() == expected.tolist() and found.samples == 8
    assert found.accuracy == np.mean(decided == y) == run.summary["test_accuracy"]
    np.testing.assert_allclose(found.per_class, [np.mean(decided[y == label] == label) for label in (0, 1)])
    rates = np.asarray(seen.records["1_lif"]["spikes"]).mean((0, 1))
    np.testing.assert_allclose(found.rates["1_lif"], rates)
    assert found.silent == {"1_lif": int((rates <= SILENT_RATE).sum())}
    assert found.saturated == {"1_lif": int((rates > SATURATED_RATE).sum())}
    assert found.metrics == {"top_k": found.accuracy, "either": 1.0}
    assert (found.part, found.engine, found.device) == ("test", "reference", "cpu")


def test_a_folder_gives_what_the_summary_says_of_every_part(run):
    for part in ("train", "validation", "test"):
        found = npt.evaluate(str(run.folder), part, data=small_data())
        assert found.loss == run.summary[f"{part}_loss"] and found.accuracy == run.summary[f"{part}_accuracy"]
        assert found.metrics == run.summary["metrics"][part]


def test_an_experiment_is_judged_with_the_parameters_given(run):
    found = npt.evaluate(run.experiment, "validation", "reference", data=small_data(), parameters=run.last)
    assert found.loss == run.history[-1]["validation_loss"]
    assert found.loss == npt.evaluate(run, "validation", data=small_data(), parameters=run.last).loss


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_another_engine_than_the_one_that_trained_may_judge(run, engine):
    pytest.importorskip(engine)
    found, expected = (npt.evaluate(run, engine=name, data=small_data()) for name in (engine, "reference"))
    assert found.engine == engine and found.confusion.tolist() == expected.confusion.tolist()
    assert found.loss == pytest.approx(expected.loss, rel=1e-4)
    np.testing.assert_allclose(found.rates["1_lif"], expected.rates["1_lif"], rtol=1e-5)


def test_an_engine_that_only_runs_and_takes_few_samples_at_once_may_judge_too(run):
    found, expected = (npt.evaluate(run, engine=engine, data=small_data()) for engine in (RunsOnly(), "reference"))
    assert found.engine == "chip" and found.confusion.tolist() == expected.confusion.tolist()
    assert found.loss == pytest.approx(expected.loss) and found.metrics == pytest.approx(expected.metrics)
    np.testing.assert_allclose(found.rates["1_lif"], expected.rates["1_lif"])


def test_without_an_engine_named_it_is_the_one_that_trained(run, capsys):
    assert npt.evaluate(run, data=small_data()).engine == "reference"
    assert "no engine named" not in capsys.readouterr().err


def test_a_run_on_traces_has_a_loss_and_rates_but_no_confusion():
    parts = [(x, np.eye(2)[y][:, None].repeat(12, 1)) for x, y in (patterns(12, seed) for seed in range(3))]
    run = npt.fit(small_experiment(loss=npt.VanRossum(), epochs=1), "reference", data=splits(*parts))
    found = npt.evaluate(run, data=splits(*parts))
    assert found.accuracy is None and found.confusion is None and found.per_class is None
    assert found.loss == run.summary["test_loss"] and found.rates["1_lif"].shape == (6,)
    assert "accuracy" not in found.report() and json.dumps(found.to_data())


def test_silent_and_saturated_neurons_are_counted():
    model = npt.Model.sequential(input=(4,), dt=1e-3, layers=[npt.Linear(3), npt.IF(), npt.Linear(2), npt.LI(tau=5e-3)])
    parameters = {**npt.init(model), "0_linear.weight": np.array([[0.0] * 4, [9.0] * 4, [0.6] * 4], np.float32)}
    x = np.ones((4, 10, 4), np.uint8) * (np.arange(10) % 4 == 0)[:, None]
    x[:, :, 0] = 1  # the second spikes at every step, the third now and then
    data = splits((x, np.arange(4) % 2), (x, np.arange(4) % 2))
    found = npt.evaluate(npt.Experiment(model=model), "train", "reference", data=data, parameters=parameters)
    assert found.silent == {"1_if": 1} and found.saturated["1_if"] >= 1 and found.rates["1_if"][0] == 0


def test_a_class_without_samples_is_no_number(run):
    x, y = patterns(6, 3)
    found = npt.evaluate(run, data=splits((x, y), (x, y), (x[y == 0], y[y == 0])))
    assert np.isnan(found.per_class[1]) and found.to_data()["per_class"][1] is None
    assert found.confusion[1].tolist() == [0, 0] and "1: no sample" in found.report()


def test_plain_data_is_json_and_the_report_is_short(run):
    found = npt.evaluate(run, data=small_data())
    data = json.loads(json.dumps(found.to_data(), allow_nan=False))
    assert data["confusion"] == found.confusion.tolist() and len(data["rates"]["1_lif"]) == 6
    assert set(data) == {"part", "engine", "device", "samples", "loss", "accuracy", "confusion", "per_class", "metrics",
                         "rates", "silent", "saturated"}
    text = found.report()
    assert "test: 8 samples on reference (cpu)" in text and f"accuracy {found.accuracy:.2%}" in text
    assert "either 1" in text and "silent" in text and len(text.splitlines()) <= 5


@pytest.mark.parametrize(("change", "said"), [
    ({"part": "tests"}, r"there is no 'tests' in the data 'patterns'\n.*train, validation, test"),
    ({"run": "nowhere"}, "nowhere is not the folder of a run"),
    ({"run": 7}, r"is no Run and no folder of one \(got int\)"),
    ({"run": small_experiment()}, "parameters: are missing"),
    ({"data": None}, "data=npt.data.split"),
    ({"engine": "torhc"}, "did you mean 'torch'"),
    ({"parameters": {}}, "0_linear.weight"),
    ({"data": splits((np.zeros((4, 5, 3)), np.zeros(4, int)), (np.zeros((4, 5, 3)), np.zeros(4, int)))},
     r"the data has \(3,\)"),
])
def test_what_cannot_be_judged_is_refused_in_words(run, change, said):
    with pytest.raises(npt.NeuroportError, match=said):
        npt.evaluate(**{"run": run, "data": small_data(), **change})


def test_data_without_a_test_part_lists_those_it_has(run):
    with pytest.raises(npt.InvalidData, match="the parts are: train, validation$"):
        npt.evaluate(run, data=splits(patterns(6, 0), patterns(6, 1)))
