"""``neuroport nir``: info, check, export and import, their exit codes and what they print and write."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import nir_recording

import neuroport as npt
from neuroport import nir
from neuroport.runtime.run import read_parameters

READ = ("--numerics", "norse", "--dt", "1e-3", "--reset", "soft")
POISSON = ("--poisson", 300, "--steps", 60)


@pytest.fixture(scope="session")
def files(workplace):
    """a.nir: a small network; b.nir: the same with one weight changed; foreign.nir: a, as another library writes it."""
    model = npt.Model.sequential(input=(4,), dt=1e-3, layers=[
        ("fc", npt.Linear(6, weight_init=npt.Normal(1.5))), ("lif", npt.LIF(tau=5e-3)),
        ("out", npt.Linear(2)), ("li", npt.LI(tau=10e-3))])
    parameters = npt.init(model, 3)
    nir.write(workplace / "a.nir", model, parameters)
    other = {name: value.copy() for name, value in parameters.items()}
    other["fc.weight"][2] *= 2
    nir.write(workplace / "b.nir", model, other)
    held = nir.load(workplace / "a.nir")
    nodes = {name: nir.NirNode(node.type, node.fields) for name, node in held.graph.nodes.items()}
    nir.save(workplace / "foreign.nir", nir.NirFile(nir.NirGraph(nodes=nodes, edges=held.graph.edges), "1.0.4"))
    return workplace


def test_info_tells_nodes_findings_platforms_and_engines(neuroport, files):
    done = neuroport("nir", "info", "foreign.nir")
    assert done.code == 0, done.err
    for word in ("foreign.nir: 6 nodes, 5 edges, nir 1.0.4", "until 1.0.5", "lif", "LIF", "norse", "spikingjelly",
                 "reference", "nothing odd was found"):
        assert word in done.out, word
    assert max(map(len, done.out.splitlines())) <= 100


def test_info_with_a_time_step_as_json(neuroport, files):
    found = neuroport("nir", "info", "a.nir", "--dt", "6e-3", "--json").json
    assert [node["path"] for node in found["nodes"]] == ["input", "fc", "lif", "out", "li", "output"]
    assert any("outside (0, 1]" in one["words"] and one["path"] == "lif" for one in found["findings"])
    assert {one["name"] for one in found["platforms"]} >= {"norse", "sinabs", "lava"}
    assert all(one["level"] in ("exact", "approximate", "unsupported") for one in found["engines"])


def test_a_file_equals_itself_and_the_exit_code_is_0(neuroport, files):
    done = neuroport("nir", "check", "a.nir", "a.nir", *POISSON, "--engines", "reference")
    assert done.code == 0, done.err
    assert "equal: every spike is equal" in done.out and "input: Poisson spikes" in done.out


def test_another_weight_is_found_with_exit_code_1_and_a_picture(neuroport, files):
    done = neuroport("nir", "check", "a.nir", "b.nir", *POISSON, "--engines", "reference", "--plot", "apart.png")
    assert done.code == 1 and "different: " in done.out and "first node that differs: lif neuron 2" in done.out
    assert (files / "apart.png").read_bytes().startswith(b"\x89PNG")


def test_two_engines_on_one_file_as_json(neuroport, files):
    pytest.importorskip("torch")
    done = neuroport("nir", "check", "a.nir", *POISSON, "--engines", "reference,torch", "--json")
    assert done.code == 0 and done.json["verdict"] == "equal" and "torch" in done.json["b"]
    assert [node["node"] for node in done.json["nodes"]] == ["lif", "li"]


def test_two_numerics_on_one_file(neuroport, files):
    ask = ("nir", "check", "foreign.nir", "--dt", "1e-3", "--reset", "soft", *POISSON, "--engines", "reference")
    same, other = (neuroport(*ask, "--json", "--numerics", f"norse,{name}") for name in ("nengo", "sinabs"))
    assert same.json["a"].startswith("foreign.nir, numerics norse") and "numerics nengo" in same.json["b"]
    assert (same.code, same.json["verdict"], other.code, other.json["verdict"]) == (0, "equal", 1, "different")


def test_a_recording_by_node_and_one_that_brings_its_input(neuroport, files):
    ran = neuroport("nir", "import", "foreign.nir", *READ, "--out", "told.yaml", "--overwrite")
    assert ran.code == 0, ran.err
    on = ("--engine", "reference", "--parameters", "told.safetensors", *POISSON)
    assert neuroport("simulate", "told.yaml", *on, "--out", "told.npz").code == 0
    own = neuroport("nir", "check", "foreign.nir", "--against", "told.npz", *READ, "--engines", "reference", "--json")
    assert own.code == 0 and own.json["verdict"] == "equal" and own.json["input"] is None
    with np.load(files / "told.npz") as held:
        spikes = held["lif.spikes"][:, 0]
    np.save(files / "lif.npy", 1 - spikes)
    ask = ("nir", "check", "foreign.nir", "--against", "lif.npy", "--node", "lif", *READ, *POISSON)
    told = neuroport(*ask, "--engines", "reference", "--json")
    assert told.code == 1 and told.json["differing"] == spikes.size


def test_a_run_exports_and_its_file_gives_the_same_spikes_bit_by_bit(neuroport, workplace):
    done = neuroport("nir", "export", "runs/first", "--out", "first.nir", "--overwrite", "--json")
    assert done.code == 0, done.err
    assert done.json["file"] == "first.nir" and done.json["nodes"] == 6
    checked = neuroport("nir", "check", "runs/first", "first.nir", "--engines", "reference", "--json")
    assert checked.code == 0 and checked.json["differing"] == 0
    assert all(node["voltage_max"] == 0 for node in checked.json["nodes"])
    assert checked.json["samples"] == 8 and checked.json["accuracy"]["a"] == checked.json["accuracy"]["b"]


def test_export_lies_in_the_runs_folder_and_is_not_overwritten(neuroport, workplace):
    (workplace / "runs" / "first" / "network.nir").unlink(missing_ok=True)
    done = neuroport("nir", "export", "runs/first")
    assert done.code == 0 and "written: runs/first/network.nir" in done.out
    again = neuroport("nir", "export", "runs/first")
    assert again.code == 2 and "is there already" in again.err


def test_strict_refuses_what_the_standard_cannot_say(neuroport, workplace):
    done = neuroport("nir", "export", "runs/first", "--strict", "--out", "strict.nir")
    assert done.code == 2 and "NIR cannot say" in done.err and not (workplace / "strict.nir").exists()


def test_import_writes_a_model_and_parameters_that_simulate_takes(neuroport, files):
    done = neuroport("nir", "import", "foreign.nir", *READ, "--out", "imported.yaml", "--overwrite", "--json")
    assert done.code == 0 and done.json["parameters"] == "imported.safetensors"
    model = npt.Model.load(files / "imported.yaml")
    expected, parameters = nir.read(files / "foreign.nir", numerics="norse", dt=1e-3, reset="soft")
    assert model == expected
    written = read_parameters(files / "imported.safetensors")
    assert all(np.array_equal(written[name], value) for name, value in parameters.items()) and len(written) == 4
    ask = ("simulate", "imported.yaml", "--parameters", "imported.safetensors", "--engine", "reference", *POISSON)
    assert neuroport(*ask).code == 0


def test_a_model_with_its_parameters_beside_it_is_a_network_too(neuroport, files):
    neuroport("nir", "import", "foreign.nir", *READ, "--out", "beside.yaml", "--overwrite")
    done = neuroport("nir", "check", "beside.yaml", "foreign.nir", *READ, *POISSON, "--engines", "reference")
    assert done.code == 0, done.out + done.err
    assert neuroport("nir", "export", "beside.yaml", "--out", "again.nir", "--overwrite").code == 0


@pytest.mark.parametrize(("arguments", "said"), [
    (["info", "none.nir"], "none.nir"),
    (["info", "data.npz"], "data.npz"),
    (["info", "a.nir", "--dt", "0"], "dt"),
    (["check", "a.nir", *map(str, POISSON)], "both sides would be the same"),
    (["check", "a.nir", "b.nir"], "--poisson RATE"),
    (["check", "a.nir", "b.nir", "--against", "x.npy", "--poisson", "9"], "exclude each other"),
    (["check", "a.nir", "--against", "x.npy", "--poisson", "9"], "name its node"),
    (["check", "a.nir", "--against", "x.npy", "--node", "lif", "--poisson", "9"], "there is no such file"),
    (["check", "a.nir", "--against", "b.nir", "--poisson", "9"], "b.nir is no recording"),
    (["check", "a.nir", "--engines", "a,b,c", "--poisson", "9"], "names 3 things"),
    (["check", "a.nir", "b.nir", "--engines", "refrence", "--poisson", "9"], "did you mean 'reference'"),
    (["check", "a.nir", "b.nir", "--pair", "lif", "--poisson", "9"], "is no A=B"),
    (["check", "a.nir", "b.nir", "--pair", "lif=none", "--poisson", "9"], "there is no node 'none'"),
    (["check", "a.nir", "b.nir", "--plot", "x.gif", "--poisson", "9"], "end it in .png"),
    (["check", "a.nir", "b.nir", "--plot", "nowhere/x.png", "--poisson", "9"], "no folder nowhere"),
    (["check", "foreign.nir", "b.nir", "--poisson", "9"], "'norse', 'snntorch'"),
    (["check", "a.nir", "b.nir", "--data", "braille", "--part", "exam"], "there is no 'exam'"),
    (["check", "runs/first", "runs/first", "--numerics", "norse"], "a model's own numerics hold"),
    (["check", "model.yaml", "a.nir", "--poisson", "9"], "without trained parameters"),
    (["export", "none"], "none"),
    (["export", "runs/first", "--out", "x.txt"], "end it in .nir"),
    (["export", "runs/first", "--numerics", "brian", "--out", "x.nir"], "brian"),
    (["import", "foreign.nir", "--out", "x.yaml"], "numerics"),
    (["import", "foreign.nir", *READ, "--out", "x.txt"], "end it in .yaml"),
    (["import", "foreign.nir", *READ, "--out", "model.yaml"], "is there already"),
])
def test_a_wrong_request_ends_with_2_and_a_sentence(neuroport, files, arguments, said):
    done = neuroport("nir", *arguments)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and done.out == ""
    assert not (files / "x.yaml").exists() and not (files / "x.nir").exists()


@pytest.mark.parametrize("command", ["info", "check", "export", "import"])
def test_the_help_of_a_command_has_examples(neuroport, command):
    done = neuroport("nir", command, "--help")
    assert done.code == 0 and done.out.count(f"neuroport nir {command}") >= 1 and "--json" in done.out


def test_the_papers_braille_file_gives_the_recorded_spikes_and_accuracy(neuroport):
    file = nir_recording("braille_noDelay_bias_zero.nir")
    recorded = nir_recording("snntorch_activity_noDelay_bias_zero.npy")
    ask = ("nir", "check", file, "--dt", "1e-4", "--reset", "hard", "--data", "braille", "--json",
           "--engines", "reference", "--precision", "float32", "--numerics")
    done = neuroport(*ask, "snntorch", "--sample", 0, "--against", recorded, "--node", "lif1.lif")
    assert done.code == 0 and (done.json["differing"], done.json["values"]) == (0, 9728)
    norse = neuroport(*ask, "snntorch,norse")
    assert norse.code == 1 and norse.json["accuracy"] == {"a": 0.95, "b": pytest.approx(132 / 140)}
