"""The arithmetic of benchmarks/: ratios within rounds, who may be timed, tables, bounds. No timing decides anything."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neuroport.bench.timing import Spread, fastest, interleaved, number, ratios, spread, turns

ROOT = Path(__file__).parents[2]
ROOMS = ("agreement", "contestants", "limits", "machine", "picture", "report", "running", "scaling", "suite",
         "workload")


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The suite's modules, by name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return SimpleNamespace(**{name: importlib.import_module(name) for name in ROOMS})


def lap(cpu: float, wall: float | None = None) -> dict[str, float]:
    return {"cpu_seconds": cpu, "wall_seconds": cpu / 2 if wall is None else wall, "idle_cpu_seconds": 0.0, "loss": 1.0}


def ready(**changes) -> dict:
    return {"versions": {"python": "3"}, "threads": 2, "compile_seconds": 1.0, "losses": [2.0, 1.0], "saved_mib": 3.0,
            "agreement": {"words": "equal"}, **changes}


ANSWERS = {
    "neuroport torch": [lap(1.0), lap(2.0), lap(3.0)],
    "spyx": [lap(2.0, 1.0), lap(4.0, 2.0), lap(4.0, 2.0)],
    "snntorch": [lap(8.0, 0.9), None, None],
    "linear": [lap(0.5), lap(0.5), lap(0.5)],
}


@pytest.fixture
def found(suite):
    """A whole report of invented answers."""
    left_out = {"norse": "disagrees: it | does"}
    raw = {"ready": {name: ready() for name in ANSWERS}, "answers": ANSWERS, "left_out": left_out}
    limits = suite.limits.Limits(1e10, {"float32": 1e11})
    where = {"cpu_model": "a processor", "cpus": 2, "load": 0.1, "date": "today", "commit": "c0ffee", "modified": False}
    return suite.report.of_workload(where, limits, suite.workload.WORKLOADS["feedforward"], 3, raw)


# --- the clock's arithmetic -----------------------------------------------------------------------


def test_a_ratio_is_taken_within_each_round_and_not_of_medians():
    assert ratios([1.0, 10.0, 3.0], [1.0, 5.0, 1.0]) == Spread(2.0, 1.0, 3.0)  # medians alone would give 3
    assert spread([3.0, 1.0, 2.0, 4.0]) == Spread(2.5, 1.0, 4.0)


def test_everybody_goes_first_in_turn_and_is_asked_once_a_round():
    assert [turns(["a", "b", "c"], index)[0] for index in range(4)] == ["a", "b", "c", "a"]
    asked = []
    found = interleaved(["a", "b"], 3, lambda name: asked.append(name) or len(asked), settle=0)
    assert asked == ["a", "b", "b", "a", "a", "b"] and found == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_the_fastest_has_the_smallest_median_not_the_smallest_time():
    assert fastest({"a": [1.0, 9.0, 9.0], "b": [5.0, 5.0, 5.0]}) == "b" and fastest({}) is None


@pytest.mark.parametrize(("value", "shown"), [
    (0.0123456, "0.0123"), (1.23456, "1.23"), (123.456, "123"), (1234.56, "1 235"), (0.0, "0"), (float("nan"), "nan"),
])
def test_three_digits_of_a_number_are_shown(value, shown):
    assert number(value) == shown


# --- one workload ---------------------------------------------------------------------------------


def test_the_best_peer_is_a_peer_by_each_clock_neither_ours_nor_a_floor(found):
    assert found["best_peer"] == {"cpu": "spyx", "wall": "snntorch"}


def test_times_are_milliseconds_of_a_step_and_ratios_are_of_shared_rounds(found):
    rows = found["results"]
    assert list(rows) == ["linear", "neuroport torch", "spyx", "snntorch"]  # the least CPU time first
    assert rows["neuroport torch"]["cpu_ms"] == {"median": 500.0, "low": 250.0, "high": 750.0}  # of 4 steps a run
    assert rows["neuroport torch"]["cpu_ratio"] == {"median": 0.5, "low": 0.5, "high": 0.75}
    assert rows["snntorch"]["cpu_ratio"]["median"] == 4.0 and rows["snntorch"]["rounds"] == 1
    assert rows["neuroport torch"]["wall_ratio"]["median"] == pytest.approx(0.5 / 0.9)  # of the first round alone


def test_the_distance_from_the_bound_is_that_of_wall_time(found, suite):
    least = suite.limits.least(suite.workload.WORKLOADS["feedforward"])
    seconds = max(least.bytes / 1e10, least.operations / 1e11)
    assert found["results"]["spyx"]["of_bound"] == pytest.approx(seconds / 0.5)


def test_the_table_names_every_contestant_and_why_one_was_left_out(found, suite):
    text = suite.report.markdown(found)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in table}) == 1  # a cell more or less would break it
    assert "| norse | not timed: disagrees: it / does |" in text
    assert "| **neuroport torch** | equal | 500 (250 to 750) |" in text
    assert "CPU / spyx" in text and "wall / snntorch" in text and "c0ffee" in text


def test_a_report_survives_its_file_and_leads_to_the_overview_the_summary_and_the_picture(found, suite, tmp_path):
    pytest.importorskip("matplotlib")
    suite.report.write(tmp_path, "feedforward_cpu", found, suite.report.markdown(found))
    assert suite.report.read(tmp_path, "feedforward_cpu") == json.loads(json.dumps(found))
    grown = {"layer": {"T": {"spyx": {"64": {"cpu_ms": 1.0}, "128": {"cpu_ms": 2.0}}}, "left_out": {}}}
    suite.report.write(tmp_path, "scaling_cpu", {"scaling": grown}, suite.scaling.markdown(grown))
    suite.report.write_overview(tmp_path)
    overview, summary = ((tmp_path / name).read_text() for name in ("README.md", "summary.md"))
    assert "not measured yet" in overview and "--device cuda --write" in overview and "| spyx | 1.00 |" in overview
    assert "| 500 (2.00 ×) |" in summary and "| 1 000, spyx |" in summary
    assert len({line.count("|") for line in summary.splitlines() if line.startswith("|")}) == 1
    path = tmp_path / "benchmark.svg"
    suite.picture.write(tmp_path, path)
    drawn = path.read_text()
    assert drawn.index("neuroport torch") and "lower is better" in drawn and "norse" not in drawn


def test_without_measurements_the_summary_says_so_and_how_to_measure(suite, tmp_path):
    suite.report.write_overview(tmp_path)
    assert "Not measured yet: `python benchmarks/suite.py --write`" in (tmp_path / "summary.md").read_text()


def test_slow_contestants_sit_out_after_some_rounds(suite):
    taken = {"fast": [1.0, 1.0, 1.0], "slow": [9.0, 9.0, 9.0], "late": [9.0]}
    assert [suite.report.sits_out(name, taken, 5.0, 3) for name in taken] == [False, True, False]


@pytest.mark.parametrize(("losses", "wrong"), [
    ([3.0] * 4 + [2.0] * 4, False), ([2.0] * 4 + [3.0] * 4, True), ([2.0] * 4 + [float("nan")] * 4, True),
])
def test_a_contestant_that_does_not_learn_is_not_timed(suite, losses, wrong):
    work = suite.workload.WORKLOADS["feedforward"]
    assert bool(suite.report.not_learning(losses, work)) is wrong


# --- agreement ------------------------------------------------------------------------------------


@pytest.fixture
def exact(suite):
    """What the reference might give: three steps of two samples, the second clear of rounding for two steps."""
    outputs = np.arange(12, dtype=float).reshape(3, 2, 2)
    return suite.agreement.Expected(outputs, np.array([3, 2]))


def test_outputs_up_to_rounding_are_equal(suite, exact):
    verdict = suite.agreement.judged(exact.outputs * (1 + 1e-6), exact, spikes=False)
    assert verdict.agrees and str(verdict) == "equal" and verdict.clear == pytest.approx(5 / 6)


def test_what_differs_after_rounding_could_tip_a_spike_is_counted_and_forgiven(suite, exact):
    outputs = exact.outputs.copy()
    outputs[2, 1] += 1.0
    verdict = suite.agreement.judged(outputs, exact, spikes=False)
    assert verdict.agrees and str(verdict) == "83.333 % equal"


def test_what_differs_before_that_is_a_disagreement(suite, exact):
    outputs = exact.outputs.copy()
    outputs[1, 1] += 1.0
    verdict = suite.agreement.judged(outputs, exact, spikes=False)
    assert verdict.agrees is False and "differ by" in str(verdict)


def test_a_single_other_spike_before_that_is_a_disagreement(suite):
    exact = suite.agreement.Expected(np.zeros((4, 1, 500)), np.array([4]))
    outputs = exact.outputs.copy()
    outputs[0, 0, 0] = 1.0
    assert suite.agreement.judged(outputs, exact, spikes=True).agrees is False


def test_outputs_of_another_shape_or_not_a_number_disagree(suite, exact):
    assert suite.agreement.judged(exact.outputs[:2], exact, spikes=False).agrees is False
    assert suite.agreement.judged(exact.outputs * np.nan, exact, spikes=False).agrees is False


def test_where_semantics_differ_nothing_is_claimed_and_the_reason_is_shown(suite, exact):
    verdict = suite.agreement.judged(exact.outputs + 1, exact, spikes=False, differs="it resets to zero")
    assert verdict.agrees is None and str(verdict) == "semantics differ: it resets to zero"


def test_spikes_that_leave_later_shift_all_that_follows(suite):
    outputs, until = suite.agreement.later(np.arange(4.0).reshape(4, 1, 1), np.array([2]), 1)
    assert outputs.ravel().tolist() == [0.0, 0.0, 1.0, 2.0] and until.tolist() == [3]


@pytest.fixture
def small(suite):
    return replace(suite.workload.WORKLOADS["recurrent"], sizes=(20, 16, 4), steps=30, batch=3, batches=1)


@pytest.mark.parametrize("name", ["snntorch", "spikingjelly", "spyx", "norse best"])
def test_the_reference_steps_as_each_peer_says_it_does(suite, small, name):
    """Each peer's equations, written out for one network, give what the reference gives under its numerics."""
    step_in = importlib.import_module("neuroport_step")
    entry, work = suite.contestants.CONTESTANTS[name], small
    x, (into, back, out) = suite.workload.inputs(work)[0], map(np.float64, suite.workload.weights(work))
    potential, readout, spikes, given = np.zeros((3, 16)), np.zeros((3, 4)), np.zeros((3, 16)), []
    for current in x:
        drive = current @ into.T + spikes @ back.T
        if name == "spyx":  # the spike of the potential before, which feeds back at once
            spikes = (potential > work.threshold).astype(float)
            potential = work.beta * potential + current @ into.T + spikes @ back.T - spikes * work.threshold
        elif name == "snntorch":  # the reset of the step before, on the decayed potential
            potential = work.beta * potential + drive - spikes * work.threshold
            spikes = (potential > work.threshold).astype(float)
        else:
            potential = work.beta * potential + drive
            fires = np.greater_equal if name == "spikingjelly" else np.greater
            spikes = fires(potential, work.threshold).astype(float)
            potential = potential - spikes * work.threshold
        readout = work.beta * readout + spikes @ out.T
        given.append(readout)
    assert step_in.build(work, entry.numerics).dt == step_in.DT
    verdict = suite.agreement.References().verdict(entry, work, np.stack(given))
    assert verdict.agrees and verdict.equal == 1 and verdict.clear > 0.5


def test_a_contestant_that_claims_other_equations_is_refused(suite, small):
    entry = suite.contestants.CONTESTANTS["neuroport torch"]
    right = suite.agreement.expected(small, entry.numerics, "float32").outputs
    with pytest.raises(suite.agreement.Disagrees, match="differ by"):
        suite.agreement.References().verdict(entry, small, 1.01 * right)


def test_a_contestant_whose_claim_fails_is_not_timed_and_the_others_are(suite, monkeypatch, tmp_path):
    """Products without neurons, once as the floor that they are, once as the network that they are not."""
    pytest.importorskip("torch", reason="the floor is written in torch")
    floor = suite.contestants.CONTESTANTS["linear"]
    liar = replace(floor, numerics=suite.contestants.Numerics())
    absent = replace(floor, python=tmp_path / ".peers/nobody/bin/python")
    monkeypatch.setattr(suite.suite, "CONTESTANTS", {"floor": floor, "liar": liar, "absent": absent})
    work = replace(suite.workload.WORKLOADS["feedforward"], sizes=(20, 16, 16, 4), steps=20, batch=4, batches=2,
                   learning_rate=1e-2)
    said: list[str] = []
    found = suite.suite.measure(["liar", "floor", "absent"], work, 2, "cpu", tmp_path, said.append)
    assert set(found["answers"]) == set(found["ready"]) == {"floor"} and len(found["answers"]["floor"]) == 2
    assert found["left_out"]["liar"].startswith("disagrees: outputs differ by")
    assert "make_peers.sh nobody" in found["left_out"]["absent"]
    assert any("liar is left out: disagrees" in one for one in said)


# --- bounds and scaling ---------------------------------------------------------------------------


def test_the_least_of_a_layer_is_four_numbers_a_neuron_and_step_and_no_product(suite):
    work = suite.workload.WORKLOADS["layer"]
    least = suite.limits.least(work)
    assert least.bytes == 4 * 4 * work.sizes[0] * work.steps * work.batch and least.operations == 0


def test_the_least_of_a_network_counts_each_product_three_times_but_the_first(suite):
    work = suite.workload.WORKLOADS["feedforward"]
    products = 2 * 128 * 512 + 3 * 512 * 512 + 3 * 512 * 20
    assert suite.limits.least(work).operations == 2 * products * work.steps * work.batch
    conv = suite.workload.WORKLOADS["conv"]
    (h, w), (h2, w2) = conv.grids
    products = 2 * 25 * 2 * 12 * h * w + 3 * 25 * 12 * 32 * h2 * w2 + 3 * conv.features * 10
    assert suite.limits.least(conv).operations == 2 * products * conv.steps * conv.batch


def test_the_exponent_is_the_slope_in_logarithms(suite):
    points = {str(size): {"cpu_ms": 0.3 * size**1.5} for size in (10, 20, 80)}
    assert suite.scaling.exponent(points) == pytest.approx(1.5)
    assert suite.scaling.exponent({"1": {"cpu_ms": 1.0}}) is None


def test_a_point_that_would_take_too_long_is_foreseen(suite):
    squares = {str(size): {"wall_ms": float(size**2)} for size in (10, 20)}
    assert suite.scaling.predicted(squares, 40) == pytest.approx(1600.0)
    assert suite.scaling.predicted({"10": {"wall_ms": 5.0}}, 40) == pytest.approx(20.0)
    assert suite.scaling.predicted({}, 40) == 0.0


def test_every_contestant_names_a_module_that_is_there(suite):
    for name, entry in suite.contestants.CONTESTANTS.items():
        module = ROOT / "benchmarks" / f"{entry.command[0].replace('.', '/')}.py"
        assert module.is_file(), name
        assert set(entry.workloads) <= set(suite.contestants.ALL)
    assert set(suite.contestants.QUICK) <= set(suite.contestants.CONTESTANTS)
