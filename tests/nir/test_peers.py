"""The network that `make demo` trains, carried to Norse and snnTorch through their own importers, as the page says."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs.pages import CARRIED, blocks, run, run_in

import neuroport as npt

nir = pytest.importorskip("nir", reason="the files are held against nir, which is not installed")

STEP = {"Norse": 1e-3, "snnTorch": 1e-4}  # seconds a step has there
HIDDEN = {"Norse": "hidden", "snnTorch": "hidden/hidden"}
NEAR = 1e-5  # so far from its threshold a float32 potential may be on the other side


@dataclass(frozen=True)
class Carried:
    """What the page leaves in its folder, and its names."""

    folder: Path
    names: Mapping[str, Any]
    answers: dict[tuple[str, str], dict[str, np.ndarray]] = field(default_factory=dict)  # of the peers, once asked

    @property
    def network(self) -> tuple[npt.Model, Mapping[str, np.ndarray]]:
        return self.names["model"], self.names["run"].parameters

    def file(self, peer: str) -> Path:
        return self.folder / f"{peer.lower()}.nir"

    def there(self, peer: str, *changes: tuple[str, str]) -> dict[str, np.ndarray]:
        """What the page's block for a peer leaves, run there; changes: of its text, (old, new)."""
        (block,) = (block for block in blocks(CARRIED) if block.title == peer)
        text = block.text
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        if (peer, text) not in self.answers:
            found = run_in(peer, [("page", text)], self.folder)
            self.answers[peer, text] = {name.removeprefix("page: "): value for name, value in found.items()}
        return self.answers[peer, text]

    def here(
        self, model: npt.Model, parameters: Mapping[str, np.ndarray], hidden: str = "hidden", engine: str = "reference"
    ) -> dict[str, np.ndarray]:
        """The same of a network of ours, and how far each hidden neuron was from its threshold."""
        asked = [f"{hidden}.spikes", f"{hidden}.v_pre", "decision.v"]
        found = npt.run(model, parameters, self.names["touch"], engine=engine, record=asked).records
        membrane = found["decision"]["v"]
        return {"spikes": found[hidden]["spikes"], "distance": np.abs(found[hidden]["v_pre"] - 1.0),
                "membrane": membrane, "decisions": membrane.mean(0).argmax(1)}


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    for engine in ("jax", "torch"):
        pytest.importorskip(engine, reason=f"a network is trained and run on both engines, {engine} is not installed")
    folder = tmp_path_factory.mktemp("carried")
    with contextlib.chdir(folder):
        return Carried(folder, run(CARRIED, folder))


def differing(theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> int:
    return int((theirs["spikes"] != ours["spikes"]).sum())


def assert_agree(theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> None:
    """Equal but for rounding: where a sample's spikes part, the potential stood at the threshold."""
    assert 0.01 < ours["spikes"].mean() < 0.5 and theirs["spikes"].shape == ours["spikes"].shape
    differs = theirs["spikes"] != ours["spikes"]
    parted = np.flatnonzero(differs.any((0, 2)))
    for sample in parted:
        step = int(differs[:, sample].any(1).argmax())
        for neuron in np.flatnonzero(differs[step, sample]):
            distance = ours["distance"][step, sample, neuron]
            assert distance < NEAR, f"step {step}, sample {sample}, neuron {neuron}: {distance:.3g} from the threshold"
    assert len(parted) < 0.1 * differs.shape[1], f"{len(parted)} samples part by rounding"
    same = np.setdiff1d(np.arange(differs.shape[1]), parted)
    np.testing.assert_allclose(theirs["membrane"][:, same], ours["membrane"][:, same], rtol=0, atol=1e-3)
    assert (theirs["decisions"] != ours["decisions"]).sum() <= 1


@pytest.mark.parametrize("peer", STEP)
def test_the_file_for_a_library_reads_strictly_in_nir(carried: Carried, peer: str) -> None:
    graph = nir.read(carried.file(peer), type_check=True)
    assert {"drive", "hidden", "readout", "decision"} <= set(graph.nodes)


@pytest.mark.parametrize("engine", ["reference", "jax", "torch"])
@pytest.mark.parametrize("peer", STEP)
def test_read_again_the_network_spikes_as_before_bit_by_bit(carried: Carried, peer: str, engine: str) -> None:
    model, parameters = carried.network
    again, its = npt.nir.read(carried.file(peer))
    assert again == model
    for name, value in parameters.items():
        assert its[name].dtype == value.dtype and its[name].tobytes() == np.asarray(value).tobytes(), name
    before, after = (carried.here(*network, engine=engine) for network in ((model, parameters), (again, its)))
    for name, value in before.items():
        assert value.tobytes() == after[name].tobytes(), name


def test_the_demo_with_its_own_readout_reads_in_nir_and_returns(carried: Carried) -> None:
    model, parameters = carried.names["run"].model, carried.names["run"].parameters
    path = carried.folder / "demo.nir"
    npt.nir.write(path, model, parameters)
    assert isinstance(nir.read(path).nodes["decision"], nir.CubaLI)
    again, its = npt.nir.read(path)
    assert again == model and all(np.array_equal(its[name], value) for name, value in parameters.items())


def test_norse_spikes_as_the_network_was_trained(carried: Carried) -> None:
    assert_agree(carried.there("Norse"), carried.here(*carried.network))


@pytest.mark.parametrize("peer", STEP)
def test_each_library_spikes_as_its_numerics_predict(carried: Carried, peer: str) -> None:
    predicted = npt.nir.read(carried.file(peer), numerics=peer.lower(), dt=STEP[peer], reset="soft")
    assert_agree(carried.there(peer), carried.here(*predicted, HIDDEN[peer]))


def test_with_the_reset_it_imports_snntorch_spikes_as_its_numerics_predict(carried: Carried) -> None:
    predicted = npt.nir.read(carried.file("snnTorch"), numerics="snntorch", dt=1e-4, reset="hard")
    theirs = carried.there("snnTorch", ('"subtract", neuron._base_sub', '"zero", neuron._base_zero'))
    assert_agree(theirs, carried.here(*predicted, HIDDEN["snnTorch"]))


def test_nothing_but_its_rule_of_resets_keeps_snntorch_from_the_spikes_of_training(carried: Carried) -> None:
    model, parameters = carried.network
    theirs = carried.there("snnTorch")
    rule = model.numerics.model_copy(update={"reset_rule": "snntorch"})
    assert_agree(theirs, carried.here(model.model_copy(update={"numerics": rule}), parameters))
    assert differing(theirs, carried.here(model, parameters)) > 0.001 * theirs["spikes"].size


def test_a_plain_cycle_is_wired_wrongly_by_snntorch_so_its_files_nest_it(carried: Carried) -> None:
    plain = replace(npt.nir.PRESETS["snntorch"], nests=False)
    npt.nir.write(carried.folder / "plain.nir", *carried.network, numerics=plain)
    assert ("hidden_recurrent", "hidden") in nir.read(carried.folder / "plain.nir").edges
    theirs = carried.there("snnTorch", ('nir.read("snntorch.nir")', 'nir.read("plain.nir")'))
    predicted = carried.here(*npt.nir.read(carried.folder / "plain.nir", numerics=plain, dt=1e-4, reset="soft"))
    assert differing(theirs, predicted) > 0.05 * theirs["spikes"].size


def test_norse_takes_a_nested_recurrence_as_well(carried: Carried) -> None:
    nests = replace(npt.nir.PRESETS["norse"], nests=True)
    npt.nir.write(carried.folder / "nested.nir", *carried.network, numerics=nests)
    theirs = carried.there("Norse", ("norse.nir", "nested.nir"))
    assert_agree(theirs, carried.here(*carried.network))


@pytest.mark.parametrize(("peer", "does"), [("snnTorch", "refuses"), ("Norse", "leaves out")])
def test_no_importer_knows_the_readout_of_the_demo(carried: Carried, peer: str, does: str) -> None:
    run = carried.names["run"]
    npt.nir.write(carried.folder / "readout.nir", run.model, run.parameters, numerics=peer.lower())
    start = {"snnTorch": "from snntorch.import_nir import import_from_nir as imported",
             "Norse": "from norse.torch import from_nir as imported"}[peer]
    code = f"""
import nir
{start}
try:
    names = [name for name, _ in imported(nir.read("readout.nir")).named_modules()]
    decisions = "drive" in names and "decision" not in names
except ValueError as error:
    decisions = "refused" if "CubaLI" in str(error) else str(error)
"""
    found = run_in(peer, [("readout", code)], carried.folder)["readout: decisions"]
    assert found == ("refused" if does == "refuses" else True)
