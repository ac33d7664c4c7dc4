"""The README's snippets run as they stand, one epoch in place of twenty."""

import re
from pathlib import Path

import numpy as np
import pytest

TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_the_ten_lines_train_and_the_next_ones_look_inside(engine: str) -> None:
    pytest.importorskip(engine, reason=f"{engine} is not installed")
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 11
    train, _, look, own = (block.replace('engine="jax"', f'engine="{engine}"') for block in BLOCKS[:4])
    random = np.random.default_rng(0)
    names: dict = {name: (random.random((20, 3, 12)) < 0.2).astype(float) for name in ("inputs", "more")}
    names["classes"] = np.arange(3)
    exec(train.replace("epochs=20", "epochs=1"), names)
    assert names["run"].summary["test_accuracy"] > 1 / 7
    exec(look, names)
    assert names["result"].outputs.shape == (20, 3, 7)
    assert names["result"].records["1_cubalif"]["spikes"].shape == (20, 3, 38)
    assert names["later"].outputs.shape == (20, 3, 7)
    exec(own, names)
    npt = names["npt"]
    model = npt.Model.sequential(3, 1e-3, [names["Resonator"](), npt.Linear(2)])
    found = npt.gradients(model, npt.init(model), np.ones((5, 2, 3)), [0, 1], loss=names["Margin"](), engine=engine)
    assert found.loss > 0 and set(found.parameters) == {"1_linear.weight", "1_linear.bias"}


def test_own_arrays_become_a_trained_judged_and_plotted_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert len([line for line in BLOCKS[1].splitlines() if line.strip()]) < 25
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 40)
    rate = np.full((3, 30), 0.02) + 0.2 * (np.arange(30) // 10 == np.arange(3)[:, None])  # a class, its ten channels
    np.save(tmp_path / "spikes.npy", (random.random((120, 50, 30)) < rate[y][:, None]).astype(np.uint8))
    np.save(tmp_path / "labels.npy", y)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(BLOCKS[1].replace("epochs=30", "epochs=6"), names)
    assert names["run"].summary["test_accuracy"] > 0.8
    assert "by class" in capsys.readouterr().out
    assert {path.stem for path in (tmp_path / "runs/first/pictures").iterdir()} >= {"training", "confusion", "raster"}
