"""What the command shows of data sets."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from recordings import write_digits
from rich.console import Console

from neuroport.data import report
from neuroport.errors import InvalidExperiment
from neuroport.registry import registry

prepared = registry().prepared


def text(table) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def options(tmp_path):
    return {"path": str(write_digits(tmp_path / "digits")), "dt": 0.01, "steps": 50, "pool": 5}


def test_every_source_is_listed_by_the_name_to_write():
    installed = registry().sources.values()
    lines = {line.name: line for line in report.sources((one.info, str(one.origin)) for one in installed)}
    ours = "braille npz folder events images hdf5 yinyang mackeyglass tonic:NAME"
    assert set(ours.split()) <= set(lines)
    assert all(line.summary and line.origin for line in lines.values())
    assert "tonic:NAME" in text(report.source_table(list(lines.values())))


def test_sizes_are_known_before_staging_and_rates_after(options):
    before = report.info(prepared("hdf5", options))
    assert not before.cached and [part.samples for part in before.parts] == [22, 2, 6]
    assert before.parts[0].staged_bytes == 22 * 7 * 140 and before.parts[0].dense_bytes == 22 * 50 * 140 * 4
    assert before.parts[0].density is None and before.content_hash is None
    seen = []
    data, staged = report.stage(prepared("hdf5", options), lambda *step: seen.append(step))
    after = report.info(prepared("hdf5", options))
    assert after.cached and after.to_data() == staged.to_data() and after.folder == before.folder
    assert after.content_hash == data.content_hash and seen[-1] == ("test", 6, 6)
    assert [part.ratio for part in after.parts] == [part.ratio for part in before.parts]
    assert after.parts[0].density > 0 and after.parts[0].events == data.train.report.events
    assert np.allclose(after.parts[2].rates, data.test.report.rates) and len(after.parts[2].rates) == 140
    json.dumps(after.to_data())
    assert "28.6x" in text(report.part_table(before)) and "28.6x" in text(report.part_table(after))


def test_sets_that_nobody_staged_have_figures_too():
    found = report.info(prepared("braille", {}))
    assert not found.cached and found.lost == "" and found.parts[0].classes == [140] * 7
    assert found.parts[0].density == pytest.approx(0.2265, abs=1e-4) and found.parts[0].ratio == 32
    floats = report.info(prepared("mackeyglass", {})).parts[0]
    assert floats.layout == "floats" and 0.8 < floats.mean_rate < 1.0 and floats.classes == []


def test_entries_of_the_cache_are_listed_with_their_size(options):
    assert report.kept() == []
    report.stage(prepared("hdf5", options))
    (line,) = report.kept()
    assert line.bytes > 30 * 7 * 140


def test_samples_to_look_at_are_activity_and_labels(options):
    data, _ = report.stage(prepared("hdf5", options))
    activity, labels = report.samples(data, "validation", 10)
    assert activity.shape == (50, 2, 140) and np.array_equal(labels, data.validation.labels)


def test_what_was_lost_is_one_line_for_people(options, capsys):
    _, figures = report.stage(prepared("hdf5", {**options, "steps": 30, "dt": 0.0101}))
    said = capsys.readouterr().err
    assert "lie outside the window" in figures.lost and figures.lost in said and said.count("\n") == 1
    report.stage(prepared("hdf5", {**options, "steps": 30, "dt": 0.0101}))
    assert capsys.readouterr().err == ""  # once in a process


def test_a_progress_bar_takes_what_staging_tells(options):
    with report.bar() as progress:
        report.stage(prepared("hdf5", options), progress)


def test_sizes_are_written_for_people():
    assert [report.size(count) for count in (0, 999, 1000, 1_234_567, 9.1e8)] == [
        "0 B", "999 B", "1 kB", "1.23 MB", "910 MB"]


def test_a_source_that_is_none_is_refused():
    with pytest.raises(InvalidExperiment, match="there is no data source 'hdf6'"):
        report.info(prepared("hdf6", {}))
