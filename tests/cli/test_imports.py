"""``--import``: a user's own neurons and losses, by file and by module, and what can be wrong with them."""

from __future__ import annotations

import numpy as np
import pytest

import neuroport as npt

MINE = '''
import neuroport as npt
from beside import SLOPE


class Sluggish(npt.SpikingNeuron):
    """A neuron that a user wrote."""

    state = ("v",)
    tau: npt.Time = 5e-3

    def coefficients(self, p, step):
        return {"decay": step.low_pass(p.tau).decay}

    def integrate(self, c, s, x):
        return s._replace(v=c.decay * s.v + SLOPE * x)


class Squared(npt.Loss):
    """A loss that a user wrote: squared error of the mean output against one-hot classes."""

    def scores(self, outputs, step):
        return npt.ops.mean(outputs, 0)

    def per_sample(self, outputs, targets, step):
        found = self.scores(outputs, step)
        apart = found - npt.ops.one_hot(targets, found)
        return npt.ops.sum(apart * apart, 1)


print("a user's file may print")
'''


@pytest.fixture(scope="module")
def mine(workplace):
    """mine.yaml, whose neuron and loss are defined in own/mine.py; that imports own/beside.py."""
    (workplace / "own").mkdir(exist_ok=True)
    (workplace / "own" / "beside.py").write_text("SLOPE = 0.5\n")
    (workplace / "own" / "mine.py").write_text(MINE)
    text = (workplace / "experiment.yaml").read_text()
    described = npt.Experiment.from_yaml(text).to_data()
    hidden = described["model"]["nodes"]["1_lif"]
    described["model"]["nodes"]["1_lif"] = {"type": "Sluggish", "v_threshold": hidden["v_threshold"]}
    described["training"]["loss"] = {"type": "Squared"}
    described["name"] = "mine"
    import yaml

    (workplace / "mine.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
    return workplace


def test_every_command_takes_a_neuron_and_a_loss_of_the_users_own(process, mine):
    own = ("--import", "own/mine.py")
    trained = process("train", "mine.yaml", "--engine", "reference", "--out", "runs/mine", "--json", *own)
    assert trained.code == 0, trained.err
    assert trained.json["epochs"] == 3 and "a user's file may print" in trained.err
    judged = process("evaluate", "runs/mine", "--json", *own)
    assert judged.json["accuracy"] == trained.json["test_accuracy"]
    shown = process("simulate", "runs/mine", "--json", *own)
    assert "Sluggish" in {one["type"] for one in shown.json["populations"]}
    assert process("plot", "runs/mine", "--out", "drawn-mine", *own).code == 0


def test_a_module_is_found_from_the_working_folder(process, mine):
    done = process("simulate", "mine.yaml", "--engine", "reference", "--json", "--import", "own.mine")
    assert done.code == 2 and "No module named 'beside'" in done.err  # it lies beside the file, not here
    (mine / "beside.py").write_text("SLOPE = 0.5\n")
    done = process("simulate", "mine.yaml", "--engine", "reference", "--json", "--import", "own.mine")
    assert done.code == 0, done.err
    (mine / "beside.py").unlink()


def test_without_it_the_neuron_is_unknown(process, mine):
    done = process("train", "mine.yaml", "--engine", "reference")
    assert done.code == 2 and "Sluggish" in done.err and "import your own class first" in done.err


@pytest.mark.parametrize(("name", "text", "said"), [
    ("gone.py", None, "there is no such file"),
    ("no_such_module", None, "there is no module 'no_such_module'"),
    ("torn.py", "class Half(:\n", "SyntaxError"),
    ("wrong.py", "x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero (wrong.py, line 2)"),
    ("leaving.py", "import sys\nsys.exit(3)\n", "SystemExit: 3 (leaving.py, line 2)"),
    ("needing.py", "import a_library_that_is_not_there\n", "a_library_that_is_not_there"),
    ("taken.py", "import neuroport as npt\n\nclass LIF(npt.SpikingNeuron):\n    state = ('v',)\n",
     "'LIF' is the name of a class of neuroport's own"),
])
def test_what_fails_in_a_users_file_is_named_with_its_line(neuroport, workplace, name, text, said):
    if text is not None:
        (workplace / name).write_text(text)
    done = neuroport("train", "experiment.yaml", "--import", name)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and done.out == ""
    assert f"--import {name}" in done.err


def test_a_loss_that_fails_in_training_is_named_with_its_line(process, mine):
    (mine / "own" / "failing.py").write_text(MINE.replace("apart * apart", "apart / undefined"))
    done = process("train", "mine.yaml", "--engine", "reference", "--out", "runs/failing", "--import", "own/failing.py")
    assert done.code == 2 and "Traceback" not in done.err  # found before anything runs
    said = " ".join(done.err.split())
    assert "NameError: name 'undefined' is not defined" in said and "in per_sample" in said
    assert "own/failing.py, line 28" in said


def test_all_files_that_fail_are_named_at_once(neuroport):
    done = neuroport("evaluate", "runs/first", "--import", "gone.py", "--import", "gone_too.py")
    assert done.code == 2 and "--import gone.py" in done.err and "--import gone_too.py" in done.err


def test_the_same_file_twice_is_imported_once(process, workplace):
    (workplace / "loud.py").write_text("print('here I am')\n")
    done = process("simulate", "runs/first", "--import", "loud.py", "--import", "./loud.py", "--json")
    assert done.code == 0 and done.err.count("here I am") == 1
    assert np.isfinite(done.json["dt"])
