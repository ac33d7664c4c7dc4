"""``neuroport/`` names no engine and imports no framework; importing it is quick."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import neuroport
from neuroport import hookspecs

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "neuroport").rglob("*.py"))
FRAMEWORKS = {"jax", "jaxlib", "optax", "flax", "torch", "triton", "numba", "cupy", "tensorflow", "tonic"}
ENGINES = {point.name for point in metadata.entry_points(group="neuroport") if point.value.startswith("neuroport_")}
# an adapter to one library may name that library
ADAPTERS = {"neuroport/data/tonic.py": {"tonic"}}


def _docstrings(tree: ast.AST) -> set[int]:
    """Ids of the nodes that are docstrings."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_core_imports_no_framework_and_no_engine(path: Path) -> None:
    allowed = ADAPTERS.get(path.relative_to(ROOT).as_posix(), set())
    for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
        assert name not in FRAMEWORKS - allowed
        assert not name.startswith("neuroport_")


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_core_names_no_engine_in_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words = {node.value, node.value.split(".")[0], node.value.split(":")[0]}
            assert not words & ENGINES, f"line {node.lineno}: {node.value!r}"


def test_the_engines_of_this_repository_are_known_to_this_test() -> None:
    assert len(ENGINES) >= 3


_IMPORT = """
import json, sys, time
before = set(sys.modules)
started = time.process_time()
import neuroport as npt
npt.Model, npt.LIF, npt.Experiment
seconds = time.process_time() - started  # a busy machine makes it wait, not work
for name in npt.__all__:
    getattr(npt, name)
import neuroport.cli
print(json.dumps({"seconds": seconds, "tops": sorted({name.split(".")[0] for name in set(sys.modules) - before})}))
"""


# what no import of ours can do without: a tenth of a second on a quick machine, three on a slow one
_LEAST = """
import json, time
started = time.process_time()
import numpy, pydantic
pydantic.BaseModel
print(json.dumps({"seconds": time.process_time() - started}))
"""


def _fresh_import(code: str) -> dict:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_loads_no_framework_and_takes_under_half_a_second() -> None:
    runs = [_fresh_import(_IMPORT) for _ in range(4)]
    least = min(_fresh_import(_LEAST)["seconds"] for _ in range(4))
    for run in runs:
        loaded = set(run["tops"])
        assert not loaded & (FRAMEWORKS | {"matplotlib", "h5py", "scipy"})
        assert {name for name in loaded if name.startswith("neuroport")} == {"neuroport"}
    assert min(run["seconds"] for run in runs) < max(0.5, 3 * least)  # a slow machine decides nothing


def test_every_public_name_exists_and_is_listed() -> None:
    for name in neuroport.__all__:
        assert getattr(neuroport, name) is not None
    assert set(neuroport.__all__) <= set(dir(neuroport))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = neuroport.nothing_of_the_kind


def test_every_hook_is_documented() -> None:
    guide = (ROOT / "docs" / "writing-an-engine.md").read_text(encoding="utf-8")
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "neuroport_spec")]
    assert len(hooks) >= 2
    for name in hooks:
        assert name in guide and getattr(hookspecs, name).__doc__, name


def test_no_file_names_a_registry_host_or_a_place_on_one_machine() -> None:
    words = ("pypi" + ".org", "files.pythonhosted" + ".org", "/" + "work/", "/" + "opt/", "index" + "-url")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".toml", ".txt", ".md", ".yaml", ".sh", ""} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not [word for word in words if word in text], name
