"""Streaming: chunks equal the whole, on every installed engine, and a state goes from one engine to the other."""

import sys
from pathlib import Path

import numpy as np
import pytest

import neuroport as npt

ENGINES = ("reference", "jax", "torch")
EXAMPLE = Path(__file__).parents[2] / "examples" / "streaming.py"


def network() -> tuple[npt.Model, dict[str, np.ndarray], np.ndarray]:
    """A recurrent network with a delay and a late reset; its sums are exact in float32, whatever their order."""
    nodes = {"input": npt.Input(shape=(6,)), "drive": npt.Linear(16), "back": npt.Linear(16),
             "hidden": npt.CubaLIF.from_decay(0.5, 0.5, numerics=npt.Numerics(reset_delay=1)),
             "readout": npt.Linear(3), "decision": npt.LI.from_decay(0.5), "output": npt.Output()}
    edges = [("input", "drive"), ("drive", "hidden"), ("hidden", "back", 1), ("back", "hidden"),
             ("hidden", "readout", 5), ("readout", "decision"), ("decision", "output")]
    model = npt.Model(nodes=nodes, edges=edges, dt=1e-3)
    parameters = {name: np.round(value * 64) / 64 for name, value in npt.init(model, 3).items()}
    return model, parameters, (np.random.default_rng(0).random((60, 4, 6)) < 0.5).astype(np.float32)


@pytest.mark.parametrize("cuts", [[20, 20, 20], [1, 2, 3, 54], [60]], ids=str)
@pytest.mark.parametrize("engine", ENGINES)
def test_chunks_of_any_length_equal_the_whole_bit_by_bit(engine: str, cuts: list[int]) -> None:
    if engine != "reference":
        pytest.importorskip(engine, reason=f"{engine} is not installed")
    model, parameters, activity = network()
    record = ["spikes", "v"]
    whole = npt.run(model, parameters, activity, engine=engine, precision="float32", record=record)
    assert 0.02 < whole.records["hidden"]["spikes"].mean() < 0.6
    state, found = None, []
    for chunk in np.split(activity, np.cumsum(cuts)[:-1]):
        result = npt.run(model, parameters, chunk, engine=engine, precision="float32", record=record, state=state)
        state = result.state
        found.append(result)
    np.testing.assert_array_equal(np.concatenate([one.outputs for one in found]), whole.outputs)
    for node, variable in (("hidden", "spikes"), ("hidden", "v"), ("decision", "v")):
        pieces = np.concatenate([one.records[node][variable] for one in found])
        np.testing.assert_array_equal(pieces, whole.records[node][variable])
    assert state is not None and set(state) == set(whole.state)
    for name, value in whole.state.items():
        np.testing.assert_array_equal(state[name], value, name)


def test_one_engine_continues_what_another_began() -> None:
    for engine in ("jax", "torch"):
        pytest.importorskip(engine, reason=f"{engine} is not installed")
    model, parameters, activity = network()
    whole = npt.run(model, parameters, activity, engine="jax")
    began = npt.run(model, parameters, activity[:25], engine="jax")
    ended = npt.run(model, parameters, activity[25:], engine="torch", state=began.state)
    np.testing.assert_array_equal(ended.outputs, whole.outputs[25:])


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_the_streaming_example_names_a_letter_after_each_chunk(
    engine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(engine, reason=f"{engine} is not installed")
    arguments = ["streaming.py", "--engine", engine, "--epochs", "1", "--samples", "2", "--chunk", "64"]
    monkeypatch.setattr(sys, "argv", arguments)
    names = {"__name__": "__main__", "__file__": str(EXAMPLE)}
    exec(compile(EXAMPLE.read_text(encoding="utf-8"), str(EXAMPLE), "exec", dont_inherit=True), names)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("letter") for line in lines) == 2
    assert [line.split(" ms ")[0].strip() for line in lines if "taken for" in line] == ["64", "128", "192", "256"] * 2
