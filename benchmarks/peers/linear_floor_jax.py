"""The floor once more, in jax: the three Linear layers without neurons, compiled by XLA.

It stands beside the one in PyTorch because the two use different matrix products: on an AMD processor PyTorch's
(MKL) takes 1.7 times as long as XLA's, and then the floor of the one is no floor for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import optax
from workload import Workload, inputs, targets, weights


def prepare(workload: Workload, *arguments: str) -> tuple[dict[str, str], Callable[[int], list[float]]]:
    """Versions, and the run of k training steps that returns their losses."""
    one_pass, state = make_pass(workload)

    def run(count: int) -> list[float]:
        nonlocal state
        if count % workload.batches:
            raise ValueError(f"linear_jax takes whole passes over {workload.batches} batches, not {count} steps")
        losses = []
        for _ in range(count // workload.batches):
            state, metrics = one_pass(state)
            losses.append(metrics)
        jax.block_until_ready((state, losses))
        return [float(loss) for loss in jnp.concatenate(losses)]

    return {name: version(name) for name in ("jax", "jaxlib", "optax", "numpy")}, run


def loss(matrices: list[jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy of the mean over time; x (T, B, channels), y (B,), matrices (out, in)."""
    for matrix in matrices:
        x = x @ matrix.T
    return optax.softmax_cross_entropy_with_integer_labels(x.mean(0), y).mean()


def make_pass(workload: Workload) -> tuple[Callable[[Any], tuple[Any, jax.Array]], Any]:
    """The compiled pass over all batches, state -> (state, losses), and the first state."""
    optimizer = optax.adam(workload.learning_rate)
    matrices = [jnp.asarray(matrix) for matrix in weights(workload)]
    staged = jnp.asarray(inputs(workload)), jnp.asarray(targets(workload))

    def step(state: Any, batch: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        matrices, moments = state
        value, gradients = jax.value_and_grad(loss)(matrices, *batch)
        updates, moments = optimizer.update(gradients, moments, matrices)
        return (optax.apply_updates(matrices, updates), moments), value

    one_pass = jax.jit(lambda state: jax.lax.scan(step, state, staged))
    return one_pass, (matrices, optimizer.init(matrices))
