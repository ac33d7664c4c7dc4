"""A folder with an experiment, its data and a trained run; the command line within this process and beside it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from runtime_case import patterns, small_experiment

from neuroport.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with experiment.yaml, data.npz, model.yaml and the run runs/first, trained by the reference."""
    place = tmp_path_factory.mktemp("workplace")
    parts = {"train": patterns(16, 0), "validation": patterns(8, 1), "test": patterns(8, 2)}
    np.savez(place / "data.npz", **{f"{axis}_{part}": value for part, pair in parts.items()
                                    for axis, value in zip("xy", pair, strict=True)})
    experiment = small_experiment(epochs=3, data={"source": "npz", "options": {"path": "data.npz"}})
    (place / "experiment.yaml").write_text(experiment.to_yaml())
    (place / "model.yaml").write_text(experiment.model.to_yaml())
    assert _called(place, "train", "experiment.yaml", "--engine", "reference", "--out", "runs/first").code == 0
    return place


@pytest.fixture
def neuroport(workplace: Path) -> Callable[..., Ended]:
    """The command line, called within this process in that folder."""
    return lambda *arguments: _called(workplace, *arguments)


@pytest.fixture
def process(workplace: Path) -> Callable[..., Ended]:
    """The same in a process of its own; paths: folders to import from, beside what is installed."""
    def run(*arguments: object, paths: tuple[Path, ...] = ()) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "neuroport", *map(str, arguments)], cwd=workplace, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")])},
        )
        return Ended(done.returncode, done.stdout, done.stderr)
    return run


def _called(place: Path, *arguments: object) -> Ended:
    out, err, before = io.StringIO(), io.StringIO(), (Path.cwd(), sys.argv)
    os.chdir(place)
    sys.argv = ["neuroport", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
        code: Any = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        os.chdir(before[0])
        sys.argv = before[1]
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture
def distribution(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes an installed distribution of one module, as far as importlib.metadata looks; returns its folder."""
    def make(name: str, code: str) -> Path:
        (tmp_path / f"{name}.py").write_text(dedent(code))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[neuroport]\n{name} = {name}\n")
        return tmp_path
    return make


STRANGERS = """
    import numpy as np
    from neuroport.engine.base import EngineInfo
    from neuroport.hookspecs import hookimpl
    from neuroport_reference.engine import ReferenceEngine, ReferenceExecutable

    print("a stranger's plugin says hello")

    @hookimpl
    def neuroport_engines():
        return [EngineInfo(name, f"strangers:{name.title()}") for name in ("honest", "tilted", "climbing", "falling")]

    class Honest(ReferenceEngine):  # the same equations in float32
        name = "honest"
        executable = ReferenceExecutable
        def capabilities(self, device=None):
            able = super().capabilities(device)
            return type(able)(able.features, precisions=("float32",))
        def compile(self, program, options):
            print("a stranger compiles")
            return self.executable(program, options)

    class TiltedExecutable(ReferenceExecutable):  # potentials are one percent off
        def load(self, parameters):
            return {name: 1.01 * value for name, value in super().load(parameters).items()}

    class ClimbingExecutable(ReferenceExecutable):  # trains in the wrong direction
        def gradients(self, *arguments, **more):
            found = super().gradients(*arguments, **more)
            return found._replace(parameters={name: -value for name, value in found.parameters.items()})

    class Tilted(Honest):
        name, executable = "tilted", TiltedExecutable

    class Climbing(Honest):
        name, executable = "climbing", ClimbingExecutable

    class Falling(Honest):
        name = "falling"
        def compile(self, program, options):
            import os
            os._exit(3)
"""


@pytest.fixture
def strangers(distribution: Callable[[str, str], Path]) -> Path:
    """A folder with an installed plugin of four engines: honest, tilted, climbing, falling. It prints a lot."""
    return distribution("strangers", STRANGERS)
