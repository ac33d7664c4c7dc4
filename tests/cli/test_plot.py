"""``neuroport plot`` and the same from Python."""

from __future__ import annotations

import numpy as np
import pytest
from runtime_case import small_data, small_experiment

import neuroport as npt
from neuroport.pictures.of_run import figures, plot

NAMES = {"training", "weights", "graph", "confusion", "rates", "raster", "membranes-1_lif", "membranes-3_li"}


def test_all_pictures_of_a_run_lie_in_its_folder(neuroport, workplace):
    done = neuroport("plot", "runs/first")
    assert done.code == 0, done.err
    drawn = {path.stem: path for path in (workplace / "runs" / "first" / "pictures").iterdir()}
    assert set(drawn) == NAMES and len(done.out.splitlines()) == len(NAMES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn.values())


def test_another_folder_and_format_and_json(neuroport, workplace):
    done = neuroport("plot", "runs/first", "--out", "drawn", "--format", "svg", "--part", "validation", "--json")
    assert {(workplace / path).suffix for path in done.json["pictures"]} == {".svg"}
    assert all((workplace / path).is_file() for path in done.json["pictures"])


def test_a_run_on_ones_own_arrays_is_drawn_with_them_and_without_them(tmp_path):
    data = small_data()
    run = npt.fit(small_experiment(), engine="reference", data=data)
    assert {path.stem for path in plot(run, tmp_path, data=data)} == NAMES
    assert set(figures(run)) == {"training", "weights", "graph"}


def test_the_raster_is_of_the_sample_that_is_asked_for(neuroport):
    data = small_data()
    run = npt.fit(small_experiment(epochs=1), engine="reference", data=data)
    drawn = figures(run, sample=3, data=data)["raster"]
    spikes = npt.data.unpack(data.test, np.array([3])).sum()
    assert len(drawn.axes[0].collections[0].get_offsets()) == spikes


def test_pictures_of_a_sample_say_which_it_is_and_of_what(neuroport, tmp_path):
    data = small_data()
    run = npt.fit(small_experiment(epochs=1), engine="reference", data=data)
    for part, label in (("test", data.test.labels[3]), ("validation", data.validation.labels[3])):
        drawn = figures(run, part, sample=3, data=data)
        for name in ("raster", "membranes-1_lif", "membranes-3_li"):
            assert drawn[name].get_suptitle() == f"patterns, {part} sample 3 of class {label}"


@pytest.mark.parametrize(("options", "said"), [
    (["runs/none"], "not the folder of a run"),
    (["runs/first", "--format", "bmp"], "give one of: png, svg, pdf"),
    (["runs/first", "--sample", "100"], "there is no sample 100"),
    (["runs/first", "--part", "exam"], "there is no 'exam'"),
    (["runs/first", "--out", "data.npz/pictures"], "cannot be written"),
])
def test_a_wrong_request_ends_with_2_and_a_sentence(neuroport, options, said):
    done = neuroport("plot", *options)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and done.out == ""


def test_a_run_without_a_folder_asks_for_one():
    run = npt.fit(small_experiment(epochs=1), engine="reference", data=small_data())
    with pytest.raises(npt.NeuroportError, match="give a folder"):
        plot(run)
