"""Those who watch a training: tables, TensorBoard, Weights & Biases, progress; and what happens when one fails."""

import csv
import importlib
import io
import struct
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from runtime_case import Spoiled, StopAt, Stopped, patterns, small_data, small_experiment

import neuroport as npt
from neuroport.callbacks import CSV, Callback, LiveProgress, TensorBoard, WandB
from neuroport.data import splits
from neuroport.runtime.progress import report


def fit(callbacks, out=None, **changes):
    experiment = small_experiment(epochs=3, metrics=(npt.TopK(k=1),), **changes)
    return npt.fit(experiment, "reference", out, callbacks, data=small_data(), resume=out is not None)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_line_for_each_epoch_with_everything_in_columns(tmp_path):
    run = fit([CSV(tmp_path / "new" / "table.csv")])
    rows = table(tmp_path / "new" / "table.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for row, expected in zip(rows, run.history, strict=True):
        for name in ("train_loss", "validation_accuracy", "learning_rate", "samples_per_second"):
            assert float(row[name]) == expected[name]
        assert float(row["rates/1_lif"]) == expected["rates"]["1_lif"]
        assert float(row["metrics/top_k"]) == expected["metrics"]["top_k"]


def test_a_table_stands_after_each_epoch_and_goes_on_when_the_training_does(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(Stopped):
        fit([CSV(path), StopAt(2)], tmp_path / "run")
    assert [row["epoch"] for row in table(path)] == ["1", "2"]
    with open(path, "a") as file:
        file.write("3,0.1")  # what a crash may have left
    run = fit([CSV(path)], tmp_path / "run")
    assert [float(row["validation_loss"]) for row in table(path)] == [row["validation_loss"] for row in run.history]


def test_a_new_training_replaces_a_table(tmp_path):
    for _ in range(2):
        fit([CSV(tmp_path / "table.csv")])
        assert len(table(tmp_path / "table.csv")) == 3


def test_a_table_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(npt.NotWritten, match="table.csv cannot be written"):
        fit([CSV(tmp_path / "file" / "table.csv")])


def scalars(folder):
    """What stands in TensorBoard's event files: {tag: {step: value}}, by the format's own reader of records."""
    event = importlib.import_module("tensorboardX.proto.event_pb2").Event
    found = {}
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            one = event.FromString(content[12:12 + length])
            content = content[16 + length:]
            for value in one.summary.value:
                found.setdefault(value.tag, {})[one.step] = value.simple_value
    return found


def test_tensorboard_gets_every_number_of_every_epoch(tmp_path):
    pytest.importorskip("tensorboardX")
    run = fit([TensorBoard(tmp_path)])
    found = scalars(tmp_path)
    assert {"train_loss", "validation_accuracy", "learning_rate", "rates/1_lif", "metrics/top_k"} <= set(found)
    for row in run.history:
        assert found["validation_loss"][row["epoch"]] == pytest.approx(row["validation_loss"])
        assert found["rates/1_lif"][row["epoch"]] == pytest.approx(row["rates"]["1_lif"])


def test_tensorboard_leaves_out_what_is_no_number(tmp_path):
    pytest.importorskip("tensorboardX")
    parts = [(x, np.eye(2)[y][:, None].repeat(12, 1)) for x, y in (patterns(8, 0), patterns(8, 1))]
    npt.fit(small_experiment(loss=npt.TraceMSE(), epochs=1), "reference", callbacks=[TensorBoard(tmp_path)],
            data=splits(*parts))
    assert "train_loss" in scalars(tmp_path) and "train_accuracy" not in scalars(tmp_path)


@pytest.mark.parametrize(("logger", "package", "line"), [
    (lambda: TensorBoard("logs"), "tensorboardX", r"pip install 'neuroport\[tensorboard\]'"),
    (lambda: WandB("project"), "wandb", "pip install 'wandb'"),
])
def test_a_missing_package_is_said_before_training_with_its_pip_line(monkeypatch, logger, package, line):
    monkeypatch.setattr("neuroport.runtime.loggers.find_spec", lambda name: None)
    with pytest.raises(npt.MissingPackage, match=f"{package} is not installed\n  mend: {line}"):
        logger()


class StandIn(ModuleType):
    """As much of wandb as a training uses."""

    def __init__(self):
        super().__init__("wandb")
        self.runs = []
        self.__spec__ = SimpleNamespace(name="wandb")

    def init(self, **options):
        run = SimpleNamespace(options=options, rows=[], summary={}, ended=None)
        run.log = lambda row, step: run.rows.append((step, row))
        run.finish = lambda exit_code: setattr(run, "ended", exit_code)
        self.runs.append(run)
        return run


@pytest.fixture
def wandb(monkeypatch):
    module = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_the_experiment_every_epoch_and_the_result(wandb):
    run = fit([WandB("project", entity="lab", name="mine")])
    (seen,) = wandb.runs
    assert {name: seen.options[name] for name in ("project", "entity", "name")} == {
        "project": "project", "entity": "lab", "name": "mine"}
    config = seen.options["config"]
    assert config["engine"] == "reference" and config["training"] == run.experiment.to_data()["training"]
    assert [step for step, _ in seen.rows] == [1, 2, 3]
    assert seen.rows[2][1]["validation_loss"] == run.history[2]["validation_loss"]
    assert seen.summary["test_accuracy"] == run.summary["test_accuracy"] and seen.ended == 0


def test_wandb_hears_that_a_training_failed(wandb):
    with pytest.raises(npt.TrainingDiverged):
        npt.fit(small_experiment(), Spoiled(losses=[np.nan]), callbacks=[WandB("project")], data=small_data())
    assert wandb.runs[0].ended == 1


class Failing(Callback):
    """Raises when it hears of something."""

    def __init__(self, moment):
        setattr(self, moment, self.fail)

    def fail(self, *_):
        raise ZeroDivisionError("of the callback")


class Ends(Callback):
    def __init__(self):
        self.heard = []

    def on_end(self, run):
        self.heard.append(run)


@pytest.mark.parametrize("moment", ["on_start", "on_piece", "on_epoch"])
def test_an_error_of_a_callback_stops_the_training_and_all_hear_the_end(tmp_path, moment):
    before, after = Ends(), Ends()
    progress = LiveProgress(Console(file=io.StringIO(), width=100))
    with pytest.raises(ZeroDivisionError, match="of the callback"):
        fit([before, Failing(moment), progress, after], tmp_path / "run")
    assert before.heard == after.heard == [None]
    equal = fit([], tmp_path / "run").last, fit([]).last  # and the run can go on
    assert all(np.array_equal(equal[0][name], equal[1][name]) for name in equal[1])


def test_an_error_at_the_end_does_not_keep_it_from_the_others_and_the_run_stands(tmp_path):
    after = Ends()
    with pytest.raises(ZeroDivisionError):
        fit([Failing("on_end"), after], tmp_path / "run")
    assert after.heard[0].summary == npt.Run.load(tmp_path / "run").summary


def test_an_error_at_the_end_of_a_training_that_failed_does_not_hide_why_it_failed():
    with pytest.raises(npt.TrainingDiverged) as raised:
        npt.fit(small_experiment(), Spoiled(losses=[np.nan]), callbacks=[Failing("on_end")], data=small_data())
    assert any("of the callback" in note for note in raised.value.__notes__)


def progress_of(*args, **options):
    said = io.StringIO()
    run = npt.fit(*args, callbacks=[LiveProgress(Console(file=said, width=200))], **options)
    return run, said.getvalue()


def test_progress_of_a_resumed_training_says_where_it_goes_on(tmp_path):
    with pytest.raises(Stopped):
        fit([StopAt(2)], tmp_path / "run")
    _, said = progress_of(small_experiment(epochs=3, metrics=(npt.TopK(k=1),)), "reference", tmp_path / "run",
                          data=small_data(), resume=True)
    assert "3 epochs, goes on in epoch 3" in said and "epoch 3/3" in said and "epoch 2/3" not in said


def test_progress_and_report_of_a_loss_without_classes_show_losses():
    parts = [(x, np.eye(2)[y][:, None].repeat(12, 1)) for x, y in (patterns(8, seed) for seed in range(3))]
    run, said = progress_of(small_experiment(loss=npt.TraceMSE(), epochs=2), "reference", data=splits(*parts))
    assert "epoch 2/2" in said and "validation loss" in said and "accuracy" not in said
    assert "test loss" in report(run) and "validation loss" in report(run) and "accuracy" not in report(run)


def test_the_report_says_when_training_stopped_early_or_has_not_ended(tmp_path):
    stopping = small_experiment(epochs=9, early_stopping=npt.EarlyStopping(patience=1, min_delta=10.0))
    run = npt.fit(stopping, "reference", tmp_path / "run", data=small_data())
    assert "of 9, stopped after 2)" in report(run)
    with pytest.raises(Stopped):
        fit([StopAt(2)], tmp_path / "other")
    assert "not finished: 2 of 3 epochs" in report(npt.Run.load(tmp_path / "other"))
