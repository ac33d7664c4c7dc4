"""Going on with a run: where from, what is the same training, and what is refused."""

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from runtime_case import Spoiled, StopAt, Stopped, patterns, small_data, small_experiment

import neuroport as npt
from neuroport.data import splits
from neuroport.runtime.checkpoint import Checkpoint
from neuroport.runtime.claim import LOCKS
from neuroport.runtime.folder import checkpoint_files
from neuroport.runtime.resume import ResumeWarning

EVERY_PIECE = npt.Checkpoints(every_epochs=None, every_minutes=1e-9)
fit = partial(npt.fit, engine="reference", data=small_data(), resume=True)


def without_speed(row):
    return {name: value for name, value in row.items() if name not in ("samples_per_second", "seconds")}


def stopped_run(out, experiment=None, epoch=2, pieces=0, **options):
    """A folder whose training ended too soon."""
    with pytest.raises(Stopped):
        fit(experiment or small_experiment(), out=out, callbacks=[StopAt(epoch, pieces)], **options)
    return out


def files(out):
    return [file.name for file in checkpoint_files(out)]


def equal(one, other):
    assert list(map(without_speed, one.history)) == list(map(without_speed, other.history))
    assert without_speed(one.summary) == without_speed(other.summary)
    for held, expected in ((one.parameters, other.parameters), (one.last, other.last)):
        assert held.keys() == expected.keys() and all(np.array_equal(held[name], expected[name]) for name in held)


@pytest.mark.parametrize(("policy", "expected"), [
    (npt.Checkpoints(), ["0004-0000", "0003-0000", "0002-0000"]),
    (npt.Checkpoints(keep=1), ["0004-0000"]),
    (npt.Checkpoints(every_epochs=3), ["0004-0000", "0003-0000"]),
    (npt.Checkpoints(every_epochs=None), ["0004-0000"]),
    (npt.Checkpoints(every_epochs=None, every_minutes=1e-9, keep=4),
     ["0004-0000", "0003-0002", "0003-0001", "0003-0000"]),
    (None, []),
])
def test_checkpoints_are_written_when_they_are_due_and_the_newest_are_kept(tmp_path, policy, expected):
    npt.fit(small_experiment(batch_size=2), "reference", tmp_path, data=small_data(16), checkpoint=policy)
    assert [name.removesuffix(".safetensors") for name in files(tmp_path)] == expected


@pytest.mark.parametrize("wrong", [{"every_epochs": 0}, {"every_minutes": -1.0}, {"keep": 0}, {"often": 3}])
def test_checkpoints_that_cannot_be_are_refused(wrong):
    with pytest.raises(npt.InvalidExperiment, match=next(iter(wrong))):
        npt.Checkpoints(**wrong)


@pytest.mark.parametrize(("epoch", "pieces"), [(0, 0), (1, 0), (1, 1), (3, 1)])
def test_a_stopped_training_goes_on_to_the_result_of_one_that_was_not(tmp_path, epoch, pieces):
    experiment, data = small_experiment(batch_size=2, accumulate=2), small_data(31)
    whole = npt.fit(experiment, "reference", data=data)
    stopped_run(tmp_path, experiment, epoch, pieces, checkpoint=EVERY_PIECE, data=data)
    equal(fit(experiment, out=tmp_path, data=data), whole)
    equal(npt.Run.load(tmp_path), whole)


def test_a_training_goes_on_where_it_was_and_those_who_watch_are_told(tmp_path):
    stopped_run(tmp_path)
    told = []

    class Listener(npt.callbacks.Callback):
        def on_start(self, plan):
            told.append((plan.first_epoch, plan.epochs))

        def on_epoch(self, row):
            told.append(row["epoch"])

    fit(small_experiment(), out=tmp_path, callbacks=[Listener()])
    assert told == [(3, 4), 3, 4]


def test_a_run_that_has_ended_is_returned_as_it_is(tmp_path):
    run = fit(small_experiment(), out=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = fit(small_experiment(), out=tmp_path)
    equal(again, run)
    assert again.summary == run.summary and again.folder == tmp_path
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_without_a_run_begins_one_and_says_so(tmp_path, capsys):
    run = fit(small_experiment(epochs=1), out=tmp_path / "new" / "run")
    assert "nothing to resume in" in capsys.readouterr().err
    equal(run, npt.fit(small_experiment(epochs=1), "reference", data=small_data()))


def test_a_run_that_was_cut_off_before_its_first_checkpoint_begins_again_and_says_so(tmp_path, capsys):
    stopped_run(tmp_path, epoch=1, checkpoint=npt.Checkpoints(every_epochs=3))
    assert not files(tmp_path) and len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    run = fit(small_experiment(), out=tmp_path)
    assert "has no checkpoint yet" in capsys.readouterr().err
    equal(run, npt.fit(small_experiment(), "reference", data=small_data()))
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_resuming_without_a_folder_is_refused():
    with pytest.raises(npt.InvalidExperiment, match="out: is missing"):
        fit(small_experiment())


def test_half_a_line_and_rests_of_a_crash_are_gone_after_going_on(tmp_path):
    stopped_run(tmp_path)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"epoch": 3, "train_lo')
    rests = [tmp_path / ".last.safetensors.77.tmp", tmp_path / "checkpoints" / ".0003-0000.safetensors.77.tmp"]
    for rest in rests:
        rest.write_bytes(b"half")
    assert len(npt.Run.load(tmp_path).history) == 2
    fit(small_experiment(), out=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4] and not any(rest.exists() for rest in rests)


def _cut(content):
    return content[: len(content) // 2]


def _flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [_cut, _flipped, lambda content: b"", lambda content: b"nothing of the kind"])
def test_a_checkpoint_that_is_not_whole_is_passed_over_with_a_warning(tmp_path, damage):
    stopped_run(tmp_path)
    newest = checkpoint_files(tmp_path)[0]
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(ResumeWarning, match=f"{newest.name} is not whole"):
        run = fit(small_experiment(), out=tmp_path)
    equal(run, npt.fit(small_experiment(), "reference", data=small_data()))
    for file in checkpoint_files(tmp_path):
        Checkpoint.read(file)


def test_where_no_checkpoint_is_whole_nothing_is_overwritten(tmp_path):
    stopped_run(tmp_path, checkpoint=npt.Checkpoints(keep=1))
    (file,) = checkpoint_files(tmp_path)
    file.write_bytes(b"")
    best = (tmp_path / "parameters.safetensors").read_bytes()
    with pytest.raises(npt.CannotResume, match="none of them is whole"):
        fit(small_experiment(), out=tmp_path)
    assert (tmp_path / "parameters.safetensors").read_bytes() == best


def test_a_run_that_has_ended_needs_no_checkpoint_until_it_gets_more_epochs(tmp_path):
    run = fit(small_experiment(), out=tmp_path, checkpoint=npt.Checkpoints(keep=1))
    checkpoint_files(tmp_path)[0].write_bytes(b"")
    equal(fit(small_experiment(), out=tmp_path), run)
    with pytest.raises(npt.CannotResume, match="no checkpoint to go on from"):
        fit(small_experiment(epochs=6), out=tmp_path)


@pytest.mark.parametrize(("change", "said"), [
    ({"experiment": small_experiment(seed=1)}, ["seed: is 1 now, and 0 in the run", "experiment.yaml"]),
    ({"experiment": small_experiment(learning_rate=0.1, batch_size=4)},
     ["training.optimizer.learning_rate: is 0.1 now, and 0.2", "training.batch_size: is 4 now, and 8"]),
    ({"experiment": small_experiment(clip_norm=1.0)}, ["training.clip_norm: is 1.0 now, and None in the run"]),
    ({"experiment": small_experiment(metrics=(npt.TopK(k=1),))}, ["training.metrics.0.k: is 1 now, and absent"]),
    ({"experiment": small_experiment(epochs=3)}, ["training.epochs: are 3 now, and 4 in the run"]),
    ({"engine": Spoiled()}, ["engine: is spoiled now, and reference in the run", "--engine reference --device cpu",
                             "neuroport evaluate"]),
    ({"data": small_data(24)}, ["data: holds other samples"]),
])
def test_another_training_is_refused_and_the_difference_is_named(tmp_path, change, said):
    stopped_run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(npt.CannotResume) as raised:
        fit(**{"experiment": small_experiment(), "out": tmp_path, **change})
    for part in said:
        assert part in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("ended", [True, False])
def test_more_epochs_go_on_to_the_result_of_a_training_that_had_them_from_the_start(tmp_path, ended):
    fit(small_experiment(), out=tmp_path) if ended else stopped_run(tmp_path)
    longer = small_experiment(epochs=6)
    run = fit(longer, out=tmp_path)
    equal(run, npt.fit(longer, "reference", data=small_data()))
    assert npt.Experiment.load(tmp_path / "experiment.yaml") == longer
    assert fit(longer, out=tmp_path).summary == run.summary


def test_more_epochs_under_a_schedule_that_depends_on_them_are_refused(tmp_path):
    stopped_run(tmp_path, small_experiment(schedule=npt.Cosine()))
    with pytest.raises(npt.CannotResume, match="the schedule Cosine depends on how many there are"):
        fit(small_experiment(schedule=npt.Cosine(), epochs=6), out=tmp_path)


def test_without_an_engine_named_it_is_that_of_the_run(tmp_path):
    stopped_run(tmp_path)
    run = fit(small_experiment(), out=tmp_path, engine=None)
    assert (run.summary["engine"], run.summary["epochs_trained"]) == ("reference", 4)


def test_other_versions_than_the_run_was_begun_with_are_said(tmp_path, monkeypatch):
    stopped_run(tmp_path)
    monkeypatch.setattr("neuroport.runtime.fit.__version__", "99.0")
    with pytest.warns(ResumeWarning, match=r"neuroport 0\S* then, 99.0 now"):
        fit(small_experiment(), out=tmp_path)


def test_a_checkpoint_of_another_experiment_is_not_taken(tmp_path):
    stopped_run(tmp_path / "a")
    stopped_run(tmp_path / "b", small_experiment(seed=1))
    for file in checkpoint_files(tmp_path / "b"):
        (tmp_path / "a" / "checkpoints" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(npt.CannotResume, match="is of another experiment"):
        fit(small_experiment(), out=tmp_path / "a")


def test_the_time_of_a_stopped_training_is_counted_and_its_speed_is_that_of_epochs_after_a_start(tmp_path):
    stopped_run(tmp_path, epoch=2)
    run = fit(small_experiment(epochs=5), out=tmp_path)
    timed = [run.history[epoch - 1]["seconds"] for epoch in (2, 4, 5)]  # the first and the third began a process
    assert run.summary["samples_per_second"] == pytest.approx(3 * 22 / sum(timed))
    assert run.summary["seconds"] >= sum(row["seconds"] for row in run.history)


def test_the_best_parameters_from_before_a_stop_stay_the_best(tmp_path):
    with pytest.raises(Stopped):
        fit(small_experiment(), engine=Spoiled(accuracies=[0.5, 0.9, 0.2]), out=tmp_path, callbacks=[StopAt(3)])
    best = (tmp_path / "parameters.safetensors").read_bytes()
    run = fit(small_experiment(), engine=Spoiled(accuracies=[0.8]), out=tmp_path)
    assert run.summary["best_epoch"] == 2 and (tmp_path / "parameters.safetensors").read_bytes() == best
    assert all(np.array_equal(run.parameters[name], value) for name, value in npt.Run.load(tmp_path).parameters.items())
    assert any(not np.array_equal(run.parameters[name], value) for name, value in run.last.items())


def test_early_stopping_counts_on_over_a_resume(tmp_path):
    experiment = small_experiment(epochs=9, early_stopping=npt.EarlyStopping(patience=3, min_delta=10.0))
    stopped_run(tmp_path, experiment)
    assert fit(experiment, out=tmp_path).summary["epochs_trained"] == 4


def test_a_run_is_loaded_as_fit_returned_it(tmp_path):
    run = npt.fit(small_experiment(), "reference", tmp_path, data=small_data())
    loaded = npt.Run.load(str(tmp_path))
    equal(loaded, run)
    assert loaded.history == run.history and loaded.experiment == run.experiment and loaded.folder == tmp_path


def test_a_run_that_has_not_ended_is_loaded_without_a_summary(tmp_path):
    stopped_run(tmp_path)
    run = npt.Run.load(tmp_path)
    assert run.summary is None and len(run.history) == 2 and run.parameters.keys() == run.last.keys()


def test_a_model_with_single_numbers_as_parameters_survives_files(tmp_path):
    model = npt.Model.sequential(input=(4,), dt=1e-3, layers=[
        npt.Linear(2), npt.LI(tau=npt.Parameter(value=10e-3, trainable=True, per="layer"))])
    experiment = small_experiment().model_copy(update={"model": model})
    stopped_run(tmp_path, experiment)
    run = fit(experiment, out=tmp_path)
    equal(npt.Run.load(tmp_path), run)
    assert {name: value.shape for name, value in npt.Run.load(tmp_path).parameters.items()} == {
        name: spec.shape for name, spec in model.parameters.items()}


@pytest.mark.parametrize(("prepare", "said"), [
    (lambda path: None, "there is no such folder"),
    (lambda path: path.mkdir(), r"it holds no experiment.yaml"),
    (lambda path: stopped_run(path, epoch=0), "its first epoch has not ended"),
    (lambda path: (stopped_run(path) / "summary.json").write_text("{"), "summary.json cannot be read"),
    (lambda path: (stopped_run(path) / "last.safetensors").write_text("x"), "last.safetensors cannot be read"),
    (lambda path: (stopped_run(path) / "metrics.jsonl").write_text("x\n"), "metrics.jsonl cannot be read"),
])
def test_what_is_no_run_is_said(tmp_path, prepare, said):
    prepare(tmp_path / "run")
    with pytest.raises(npt.UnusableFolder, match=said) as raised:
        npt.Run.load(tmp_path / "run")
    assert "mend: " in str(raised.value)


def test_data_of_ones_own_is_compared_too(tmp_path):
    data = splits(patterns(12, 0), patterns(8, 1))
    stopped_run(tmp_path, data=data)
    fit(small_experiment(), out=tmp_path, data=splits(patterns(12, 0), patterns(8, 1), name="called otherwise"))


# --- two at once, and parameters that were given ---------------------------------------------------


class Meanwhile(npt.callbacks.Callback):
    """Does something else in the middle of a training, and keeps what it said."""

    def __init__(self, work):
        self.work, self.said = work, ""

    def on_epoch(self, row):
        if row["epoch"] == 2:
            with pytest.raises(npt.UnusableFolder) as raised:
                self.work()
            self.said = str(raised.value)


@pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True, "resume": False}, {"resume": False}])
def test_a_folder_in_which_a_training_is_under_way_is_left_alone(tmp_path, how):
    experiment, whole = small_experiment(), npt.fit(small_experiment(), "reference", data=small_data())
    watcher = Meanwhile(lambda: fit(experiment, out=tmp_path / "run", **how))
    found = fit(experiment, out=tmp_path / "run", callbacks=[watcher])
    assert f"another training writes to {tmp_path / 'run'} at this moment" in watcher.said
    assert f"(process {os.getpid()})" in watcher.said or not LOCKS.exists()
    assert "mend: wait until it ends" in watcher.said
    equal(found, whole)
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_folder_is_free_again_when_the_process_that_wrote_there_was_killed(tmp_path):
    stopped_run(tmp_path)
    script = ("import os, sys, time; from pathlib import Path; from neuroport.runtime.claim import Claim\n"
              "claim = Claim(); claim.take(Path(sys.argv[1])); print('taken', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "taken\n"
        with pytest.raises(npt.UnusableFolder, match="another training writes to .* at this moment"):
            fit(small_experiment(), out=tmp_path)
        other.kill()
    assert (tmp_path / ".lock").exists()  # nobody could remove it
    equal(fit(small_experiment(), out=tmp_path), npt.fit(small_experiment(), "reference", data=small_data()))
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("epoch", [0, 2])  # before the first checkpoint, and after two
def test_a_run_that_was_begun_from_given_parameters_goes_on_from_them(tmp_path, epoch):
    given = npt.init(small_experiment().model, 99)
    whole = npt.fit(small_experiment(), "reference", data=small_data(), parameters=given)
    for name, again in (("without", None), ("with", given)):
        stopped_run(tmp_path / name, epoch=epoch, parameters=given)
        equal(fit(small_experiment(), out=tmp_path / name, parameters=again), whole)


def test_other_parameters_than_a_run_was_begun_from_are_refused_by_name(tmp_path):
    given, other = (npt.init(small_experiment().model, seed) for seed in (99, 98))
    stopped_run(tmp_path / "given", parameters=given)
    with pytest.raises(npt.CannotResume, match="parameters.2_linear.weight: is not what the run was begun from"):
        changed = {**given, "2_linear.weight": other["2_linear.weight"]}
        fit(small_experiment(), out=tmp_path / "given", parameters=changed)
    stopped_run(tmp_path / "drawn")
    with pytest.raises(npt.CannotResume, match="the run was begun from what its seed draws"):
        fit(small_experiment(), out=tmp_path / "drawn", parameters=given)
