"""The command line as a whole: help, exit codes, completion, tables of what is installed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMANDS = ("train", "evaluate", "compare", "bench", "simulate", "plot", "engines", "doctor")


def test_help_lists_every_command_with_a_sentence(neuroport):
    done = neuroport("--help")
    assert done.code == 0
    lines = [line.strip("│ ") for line in done.out.splitlines()]
    for command in COMMANDS:
        assert any(line.startswith(f"{command} ") and len(line) > len(command) + 20 for line in lines), command


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_examples_that_begin_with_it(neuroport, command):
    done = neuroport(command, "--help")
    assert done.code == 0
    _, _, examples = done.out.partition("Examples")
    assert examples.count(f"neuroport {command}") >= 2
    assert "--json" in done.out


@pytest.mark.parametrize("command", ["train", "evaluate", "compare", "bench", "simulate", "plot"])
def test_a_description_can_always_need_an_import(neuroport, command):
    assert "--import" in neuroport(command, "--help").out


def test_help_loads_nothing_heavy():
    code = """if True:
        import sys
        sys.argv = ["neuroport", "--help"]
        try:
            from neuroport.cli import main
            main()
        finally:
            heavy = {"jax", "torch", "numba", "matplotlib", "h5py", "scipy"} & set(sys.modules)
            print(sorted(heavy), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("arguments", [
    ["tran"], ["train"], ["train", "experiment.yaml", "--enigne", "reference"],
    ["train", "experiment.yaml", "--epochs", "x"], ["compare", "experiment.yaml"], ["engines", "all"],
])
def test_a_request_that_cannot_be_read_ends_with_2(neuroport, arguments):
    done = neuroport(*arguments)
    assert done.code == 2 and done.out == "" and "--help" in done.err and "Traceback" not in done.err


def test_version(neuroport):
    from neuroport import __version__

    assert neuroport("--version").out == f"neuroport {__version__}\n"


def test_engines_as_a_table_and_as_json(neuroport):
    table, listed = neuroport("engines"), neuroport("engines", "--json").json
    assert {"reference"} <= {one["name"] for one in listed if one["state"] == "ready"}
    for one in listed:
        assert one["name"] in table.out


def test_doctor_in_words_and_as_json(neuroport):
    assert "packages" in neuroport("doctor").out
    assert neuroport("doctor", "--json").json["healthy"] in (True, False)


def test_output_that_nobody_reads_any_more_is_no_traceback(workplace):
    command = f"{sys.executable} -m neuroport doctor | true"
    done = subprocess.run(["bash", "-c", command], cwd=workplace, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def _completed(workplace, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    environment = {**os.environ, "_NEUROPORT_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words),
                   "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv = ['neuroport']; from neuroport.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=workplace, env=environment, capture_output=True, text=True)
    return done.stdout.split()


def test_the_tab_key_completes_commands_engines_and_files(workplace):
    assert _completed(workplace, "neuroport", "ev") == ["evaluate"]
    assert _completed(workplace, "neuroport", "train", "exper") == ["experiment.yaml"]
    assert "experiment.yaml" not in _completed(workplace, "neuroport", "train", "x", "--import", "")
    assert _completed(workplace, "neuroport", "train", "x", "--engine", "ref") == ["reference"]
    assert "reference" in _completed(workplace, "neuroport", "compare", "x", "--engines", "")
    assert _completed(workplace, "neuroport", "compare", "x", "--engines", "some,ref") == ["some,reference"]
    assert _completed(workplace, "neuroport", "evaluate", "runs/fi") == ["runs/first/"]


def test_completion_can_be_installed(tmp_path):
    search = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", "neuroport --install-completion; true"], capture_output=True, text=True,
                          env={**os.environ, "HOME": str(tmp_path), "PATH": search})
    assert "completion installed" in done.stdout, done.stderr
    installed = [path for path in tmp_path.rglob("*") if path.is_file() and "_NEUROPORT_COMPLETE" in path.read_text()]
    assert installed
