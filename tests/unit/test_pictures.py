"""Pictures are drawn from what a run gives, without a display and without pyplot's global state."""

import subprocess
import sys

import numpy as np
import pytest
from runtime_case import patterns, small_data, small_experiment

import neuroport as npt
from neuroport.pictures import raster, training_curves

pytest.importorskip("matplotlib")


def test_training_curves_show_every_history_by_name(tmp_path):
    run = npt.fit(small_experiment(), engine="reference", data=small_data())
    figure = training_curves({"one": run.history, "other": run.history})
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["one", "other"]
    figure.savefig(tmp_path / "curves.png")


def test_a_raster_has_a_mark_for_every_spike_of_the_sample(tmp_path):
    model = small_experiment().model
    inputs = np.moveaxis(patterns(3, 0)[0], 0, 1).astype(np.float32)
    found = npt.run(model, npt.init(model), inputs, engine="reference", record=["spikes"])
    figure = raster(model, found.records, inputs, found.outputs, sample=1)
    above, hidden, below = figure.axes
    assert len(above.collections[0].get_offsets()) == inputs[:, 1].sum()
    assert len(hidden.collections[0].get_offsets()) == found.records["1_lif"]["spikes"][:, 1].sum()
    assert len(below.lines) == 2
    figure.savefig(tmp_path / "raster.png")


def test_the_module_loads_without_matplotlib():
    code = "import sys, neuroport.pictures; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
