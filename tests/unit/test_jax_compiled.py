"""What the jax engine compiles: kept on disk, nothing global changed, buffers taken over, few products in loops."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from neuroport_jax import compiled  # noqa: E402
from neuroport_jax.compiled import Compiled, clear, folder  # noqa: E402
from neuroport_jax.engine import JaxEngine, JaxExecutable  # noqa: E402
from neuroport_jax.run import forward, zero_state  # noqa: E402

from neuroport.data.staging import stage  # noqa: E402
from neuroport.engine.base import Options  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402
from neuroport.testing.networks import lif, recurrent  # noqa: E402

DT = 2.0**-10
SETTINGS = [*compiled.SETTINGS, "jax_compilation_cache_dir", "jax_enable_compilation_cache"]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own, in which everything is kept, however fast it compiles."""
    monkeypatch.setenv("NEUROPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(compiled.SETTINGS, "jax_persistent_cache_min_compile_time_secs", 0.0)
    found = folder()
    assert found is not None
    return found


def entries(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.glob("*-cache")}


def numbers() -> jax.Array:
    return jnp.arange(5.0)


def trained() -> tuple[JaxExecutable, Any, Any]:
    """The plainest network after one segment of three batches: the executable, the training, its metrics."""
    executable = JaxEngine().compile(lower(lif(DT)), Options(device="cpu", training=Training()))
    random = np.random.default_rng(0)
    data = executable.stage(stage(random.integers(0, 2, (12, 8, 6)), random.integers(0, 3, 12)))
    start = executable.init_training(executable.load(init(executable.program.model, 0)))
    order = np.arange(12).reshape(3, 4)
    after, metrics = executable.train_segment(start, data, order, np.ones((3, 4)), np.ones(3), (7, 0))
    return executable, (start, after), metrics


# --- on disk ---------------------------------------------------------------------------------------


ANOTHER_PROCESS = """
import jax
from neuroport_jax import compiled
compiled.SETTINGS["jax_persistent_cache_min_compile_time_secs"] = 0.0
from unit import test_jax_compiled
hits = []
jax.monitoring.register_event_listener(
    lambda event, **more: hits.append(event) if event.endswith("/cache_hits") else None)
executable, _, metrics = test_jax_compiled.trained()
print(len(hits), metrics.loss.tobytes().hex())
"""


def test_another_process_starts_an_epoch_from_disk_and_finds_the_same_bits(kept: Path) -> None:
    _, _, metrics = trained()
    before = entries(kept)
    assert any("train" in name for name in before)
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]),
                                                          os.environ.get("PYTHONPATH", "")])},
    )
    hits, loss = done.stdout.split()
    assert int(hits) == 1 and bytes.fromhex(loss) == metrics.loss.tobytes()
    assert entries(kept) == before


def test_an_entry_left_unfinished_is_compiled_anew(kept: Path) -> None:
    expected = Compiled(lambda x: jnp.sin(x) * 2.0)(numbers())
    (name,) = entries(kept)
    (kept / name).write_bytes((kept / name).read_bytes()[:100])
    assert np.array_equal(Compiled(lambda x: jnp.sin(x) * 2.0)(numbers()), expected)
    assert not entries(kept)


def test_a_folder_that_others_could_write_to_is_not_used(kept: Path) -> None:
    kept.chmod(0o777)
    assert folder() is None
    Compiled(jnp.cos)(numbers())
    assert not entries(kept)


def test_the_oldest_entries_make_room(kept: Path) -> None:
    for age in range(4):
        (kept / f"{age}-cache").write_bytes(bytes(100))
        os.utime(kept / f"{age}-cache", (1e9 - age, 1e9 - age))
    clear(kept, 250)
    assert sorted(entries(kept)) == ["0-cache", "1-cache"]


def test_nothing_of_the_users_is_kept_and_no_setting_stays_changed(kept: Path) -> None:
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    Compiled(lambda x: jnp.exp(x) + 3.0)(numbers())
    ours = entries(kept)
    jax.jit(lambda x: jnp.exp(x) + 4.0)(numbers())
    assert len(ours) == 1 and entries(kept) == ours
    assert {name: getattr(jax.config, name) for name in SETTINGS} == before


def test_what_the_user_has_traced_is_not_traced_again() -> None:
    traced = []

    @jax.jit
    def users(x: jax.Array) -> jax.Array:
        traced.append(x)
        return x + 1.0

    users(numbers())
    Compiled(lambda x: jnp.exp(x) + 5.0)(numbers())
    users(numbers())
    assert len(traced) == 1


def test_jaxs_own_switch_keeps_everything_off_the_disk(kept: Path) -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        Compiled(lambda x: jnp.exp(x) + 6.0)(numbers())
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not entries(kept)


# --- in the process --------------------------------------------------------------------------------


def test_a_function_compiles_once_for_each_shape_and_says_how_long_it_took() -> None:
    traced = []

    def function(scale: float, x: jax.Array) -> jax.Array:
        traced.append(scale)
        return scale * x

    scaled = Compiled(function, static=(0,))
    assert scaled.seconds == 0.0
    found = [scaled(2.0, jnp.ones(3)), scaled(2.0, jnp.zeros(3)), scaled(3.0, jnp.ones(3)), scaled(3.0, jnp.ones(4))]
    assert [float(value.sum()) for value in found] == [6.0, 0.0, 9.0, 12.0]
    assert traced == [2.0, 3.0, 3.0] and scaled.seconds > 0


def test_a_run_says_how_its_segments_run_and_what_compiling_took() -> None:
    executable = JaxEngine().compile(lower(recurrent(DT)), Options(device="cpu"))
    x, handle = {"input": np.ones((4, 2, 6))}, executable.load(init(executable.program.model, 0))
    (source,) = executable.program.inputs
    first, again = (executable.run(handle, executable.init_state(2), {source: x["input"]}).info for _ in range(2))
    assert list(first["segments"].values()) == ["scan"]
    assert first["compile_seconds"] > 0 and again["compile_seconds"] == first["compile_seconds"]


def test_a_segment_of_training_takes_over_the_buffers_of_the_state_before() -> None:
    _, (before, after), _ = trained()
    assert all(value.is_deleted() for value in before.free.values())
    assert not any(value.is_deleted() for value in after.free.values())


def test_an_evaluation_of_more_batches_needs_no_more_memory_for_each() -> None:
    executable = JaxEngine().compile(lower(lif(DT)), Options(device="cpu", training=Training()))
    random = np.random.default_rng(0)
    data, steps, binary = executable.stage(stage(random.integers(0, 2, (8, 64, 6)), random.integers(0, 3, 8)))
    handle = executable.load(init(executable.program.model, 0))

    def needed(batches: int) -> int:
        order = jnp.zeros((batches, 8), jnp.int32)
        lowered = executable._evaluate.lower(steps, binary, handle, data, order, jnp.ones((batches, 8)))
        found: int = lowered.compile().memory_analysis().temp_size_in_bytes
        return found

    activity = 4 * 64 * 8 * 8  # bytes of one batch of the hidden population
    assert needed(2) > activity and needed(100) - needed(2) < activity


def test_a_cycle_has_one_product_a_step_each_way_and_one_for_all_of_its_weights_gradient() -> None:
    program, steps, batch, hidden = lower(recurrent(DT)), 16, 5, 8
    (source,) = program.inputs
    x = {source: jnp.ones((steps, batch, 6))}

    def loss(parameters: Any) -> Any:
        values = forward(program, parameters, zero_state(program, batch), x).values
        return sum((value**2).sum() for value in values.values())

    text = jax.jit(jax.grad(loss)).lower(init(program.model, 0)).compile().as_text()
    products = re.findall(r"f32\[(\d+),(\d+)\]\S* dot\(", text)
    assert products.count((str(batch), str(hidden))) == 2  # in the loops, forward and in reverse
    assert products.count((str(hidden), str(hidden))) == 1  # the recurrent weights' gradient, after the loop
    assert len(products) == 8  # the other layers, all T x B at once: forward, to their inputs and to their weights
