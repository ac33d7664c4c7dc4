"""``neuroport bench``: who is timed, who is not and why, and what it says of both. No timing decides anything."""

from __future__ import annotations

import pytest

from neuroport.bench.benchmark import measure_of, speeds_of
from neuroport.bench.sizes import SIZES, sized
from neuroport.compare.processes import Lap, Ready
from neuroport.program.lower import lower
from neuroport.runtime.prepare import check_fit, load_data

ASK = ("bench", "experiment.yaml", "--rounds", 2)


@pytest.fixture
def measured(process, strangers):
    """``bench`` on the strangers' engines, as the function of what is asked."""
    return lambda *options: process(*ASK, *options, paths=(strangers,))


def test_whoever_agrees_is_timed_and_whoever_does_not_or_dies_is_not(measured):
    done = measured("--engines", "honest,tilted,falling", "--quiet", "--json")
    assert done.code == 1
    found = done.json
    assert found["asked"] == ["honest", "tilted", "falling"] and found["held_to"] == "reference"
    honest, tilted = found["engines"]["honest"], found["engines"]["tilted"]
    assert honest["spikes"]["tier"] == "bit" and honest["precision"] == "float32"
    speed = honest["speed"]
    assert 0 < speed["wall"]["low"] <= speed["wall"]["median"] <= speed["wall"]["high"]
    assert speed["to_fastest"] == {"median": 1.0, "low": 1.0, "high": 1.0} and speed["samples_per_second"] > 0
    assert tilted["spikes"]["tier"] == "none" and tilted["speed"] is None
    assert "exit code 3" in found["failures"]["falling"]["message"] and "falling" not in found["engines"]


def test_the_screen_says_it_in_words_for_a_stranger_agreement_first_and_becomes_a_picture(measured, workplace):
    done = measured("--engines", "honest", "--picture", "bench.svg")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    agreement, speed = done.out.index("Do they compute the same?"), done.out.index("How fast do they train?")
    assert agreement < speed
    for word in ("576 of 576", "samples/s", "CPU-ms a step", "memory", "✓ honest is the fastest of 1",
                 "reference is the measure"):
        assert word in done.out, word
    assert "honest: one batch, 3 rounds to warm up" in done.err
    assert "honest" in (workplace / "bench.svg").read_text()


def test_an_engine_that_cannot_run_the_model_is_listed_with_all_gaps_and_the_others_are_timed(measured):
    done = measured("--engines", "honest", "--precision", "float32,bfloat16", "--quiet")
    assert done.code == 2  # it was named, and cannot
    said = " ".join(done.out.split())
    assert "✗ honest bfloat16 was left out" in said and "precision: bfloat16" in said
    assert "✓ honest float32 is the fastest of 1" in said


@pytest.mark.parametrize(("options", "said"), [
    (["experiment.yaml", "--engines", "refrence"], "did you mean 'reference'"),
    (["experiment.yaml", "--engines", ","], "name no engine"),
    (["experiment.yaml", "--rounds", "0"], "--rounds"),
    (["experiment.yaml", "--precision", "int4"], "name some of: float64"),
    (["experiment.yaml", "--size", "small"], "leave one of them out"),
    (["--size", "huge"], "name one of: small, feedforward"),
    (["no.yaml"], "no.yaml"),
    (["experiment.yaml", "--picture", "x.gif"], "end it in .svg"),
])
def test_a_wrong_request_ends_with_2_before_anything_runs(neuroport, options, said):
    done = neuroport("bench", *options)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and done.out == ""


@pytest.mark.parametrize("name", SIZES)
def test_a_built_in_workload_is_a_whole_experiment_with_its_data(tmp_path, name):
    experiment = sized(name, tmp_path)
    data = load_data(experiment)
    check_fit(experiment, data)
    assert len(data.train) == 4 * experiment.training.batch_size
    assert lower(experiment.model).inputs == {"input": SIZES[name].shape}


def test_times_are_of_a_step_and_ratios_are_taken_within_rounds():
    ready = {name: Ready("cpu", "float32", {}, samples=64, steps=4, first_seconds=1.5) for name in ("one", "other")}
    laps = {"one": [Lap(4.0, 6.0), Lap(8.0, 6.0)], "other": [Lap(2.0, 2.0), Lap(2.0, 2.0)]}
    found = speeds_of(laps, ready)
    assert found["one"].wall.median == 1.5 and found["one"].cpu.high == 1.5
    assert found["one"].samples_per_second == pytest.approx(64 / 6.0)
    assert (found["one"].to_fastest.low, found["one"].to_fastest.high) == (2.0, 4.0)
    assert found["other"].to_fastest.median == 1.0


def test_fewer_bits_in_products_are_held_to_the_reference_with_as_few():
    assert [measure_of(one) for one in (None, "float32", "float64", "bfloat16")] == ["float64"] * 3 + ["bfloat16"]
