"""`neuroport data`: what there is, what it holds, and that nothing lost in staging is kept silent."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROPORT_CACHE", str(tmp_path / "cache"))


def test_the_list_names_every_source_and_what_the_cache_keeps(neuroport):
    found = neuroport("data", "list", "--json").json
    names = [line["name"] for line in found["sources"]]
    assert {"braille", "npz", "hdf5", "events", "yinyang", "mackeyglass", "tonic:NAME"} <= set(names)
    assert found["cache"] == []
    assert all(name in neuroport("data", "list").out for name in names)


def test_info_tells_parts_shapes_sizes_and_rates(neuroport):
    found = neuroport("data", "info", "braille", "--json").json
    assert [(part["part"], part["samples"], part["ratio"]) for part in found["parts"]] == [
        ("train", 980, 32.0), ("validation", 280, 32.0), ("test", 140, 32.0)]
    shown = neuroport("data", "info", "braille").out
    assert "256 x 12" in shown and "22.65%" in shown and max(map(len, shown.splitlines())) <= 100


def test_an_experiment_names_its_data_and_options_change_it(neuroport):
    whole = neuroport("data", "info", "experiment.yaml", "--json").json
    assert [part["samples"] for part in whole["parts"]] == [16, 8, 8]
    options = ("-o", "train=64", "-o", "validation=32", "-o", "test=16")
    found = neuroport("data", "info", "yinyang", *options, "--json").json
    assert [part["samples"] for part in found["parts"]] == [64, 32, 16]


def test_a_picture_of_samples_is_drawn(neuroport, tmp_path):
    pytest.importorskip("matplotlib")
    done = neuroport("data", "stage", "braille", "--plot", str(tmp_path / "samples.png"), "--quiet", "--json")
    assert done.code == 0 and done.json["name"] == "braille"
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("arguments", "said"), [
    (["info", "brail"], "brail"),
    (["info", "yinyang", "-o", "dt"], "'dt' is no NAME=VALUE"),
    (["info", "yinyang", "-o", "speed=3"], "data.options.speed"),
    (["stage", "model.yaml"], "model.yaml"),
    (["stage", "braille", "--plot", "samples.txt"], "--plot: samples.txt has no known ending"),
    (["stage", "braille", "--plot", "nowhere/samples.png"], "there is no folder nowhere"),
    (["info", "tonic:Nothing", "-o", "dt=1e-3", "-o", "steps=9"], "Nothing"),
])
def test_a_wrong_request_gets_one_message_and_exit_code_2(neuroport, arguments, said):
    done = neuroport("data", *arguments)
    assert done.code == 2 and said in done.err and done.out == "" and "Traceback" not in done.err
