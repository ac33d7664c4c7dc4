"""The wheel holds every package, what ships beside the code, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "neuroport", *sorted(path for path in (ROOT / "engines").glob("[!._]*") if path.is_dir())]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel built from this tree."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("*.whl")
    return zipfile.ZipFile(file).namelist()


def test_wheel_holds_every_module_of_every_package(wheel: list[str]) -> None:
    sources = {path.relative_to(package.parent).as_posix() for package in PACKAGES for path in package.rglob("*.py")}
    assert sources <= set(wheel), sorted(sources - set(wheel))


def test_wheel_holds_the_shipped_data_and_its_license(wheel: list[str]) -> None:
    shipped = {path for path in wheel if path.startswith("neuroport/data/braille/")}
    assert any(path.endswith(".npz") for path in shipped) and any("LICENSE" in path for path in shipped)
    assert any(path.endswith("dist-info/licenses/LICENSE") for path in wheel)


def test_wheel_holds_no_tests_and_nothing_foreign(wheel: list[str]) -> None:
    tops = {path.split("/")[0] for path in wheel}
    assert tops - {package.name for package in PACKAGES} == {"neuroport-0.1.0.dist-info"}
    stray = [path for path in wheel if "/tests/" in path or "/test_" in path or "__pycache__" in path]
    assert not stray


def test_folder_name_is_import_name_and_hides_no_framework() -> None:
    for package in PACKAGES:
        assert (package / "__init__.py").exists(), package
        assert package.name.startswith("neuroport"), package
