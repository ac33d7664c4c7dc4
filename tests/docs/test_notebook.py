"""The notebook of the first steps: valid, without stored outputs, and its cells run."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_steps.ipynb"


def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_is_of_format_4_and_stores_no_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and notebook["nbformat_minor"] >= 5
    assert len({cell["id"] for cell in cells()}) == len(cells()) > 8
    for cell in cells():
        assert cell["cell_type"] in ("markdown", "code") and isinstance(cell["source"], list)
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_the_cells_of_the_notebook_run_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("jax", "torch", "matplotlib"):
        pytest.importorskip(package, reason=f"the notebook needs {package}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells():
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"{NOTEBOOK.name}, {cell['id']}", "exec", dont_inherit=True)
            exec(code, names)
    assert names["run"].summary["test_accuracy"] > 2 / 7
    assert names["evaluation"].samples == 140
