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
    train, look, neuron = (block.replace('engine="jax"', f'engine="{engine}"') for block in BLOCKS[:3])
    random = np.random.default_rng(0)
    names: dict = {name: (random.random((20, 3, 12)) < 0.2).astype(float) for name in ("inputs", "more")}
    names["classes"] = np.arange(3)
    exec(train.replace("epochs=20", "epochs=1"), names)
    assert names["run"].summary["test_accuracy"] > 1 / 7
    exec(look, names)
    assert names["result"].outputs.shape == (20, 3, 7)
    assert names["result"].records["1_cubalif"]["spikes"].shape == (20, 3, 38)
    assert names["later"].outputs.shape == (20, 3, 7)
    exec(neuron, names)
    names["npt"].Model.sequential(3, 1e-3, [names["Resonator"]()])
