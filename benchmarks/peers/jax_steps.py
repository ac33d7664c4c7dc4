"""What the contestants in jax share: staged batches, one compiled program for a pass or a step, what it saves.

A network is a function (parameters, x) -> what the workload asks of it, from x (T, B, *sample): the readout's potential
(T, B, classes), or the spikes (T, B, neurons).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contestant import Contestant, Run
from workload import Workload, batch_order, cotangents, inputs, targets

Network = Callable[[Any, jax.Array], jax.Array]
Loss = Callable[[jax.Array, jax.Array], jax.Array]


def mean_cross_entropy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy of the mean over time."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs.mean(0), y).mean()


def contestant(
    workload: Workload,
    network: Network,
    parameters: Any,
    packages: Iterable[str] = (),
    loss: Loss = mean_cross_entropy,
    staged: np.ndarray | None = None,
) -> Contestant:
    """The contestant that trains or differentiates `network`; `staged`: the inputs, where it wants other axes."""
    x = jnp.asarray(inputs(workload) if staged is None else staged)
    y = jnp.asarray(targets(workload))
    run = (training_run if workload.trains else reverse_run)(workload, network, parameters, x, y, loss)

    def forward() -> np.ndarray:
        return np.asarray(jax.jit(network)(parameters, x[0]))

    def saved_mib() -> float:
        first, labels = x[0], y[0]  # each indexing is a copy, which would not be known as the input
        if not jax.tree.leaves(parameters):
            return residual_bytes(lambda x: network(parameters, x), first, []) / 2**20
        if workload.trains:
            return residual_bytes(lambda p: loss(network(p, first), labels), parameters, [first, labels]) / 2**20
        return residual_bytes(lambda p: network(p, first), parameters, [first]) / 2**20

    versions = {name: version(name) for name in (*packages, "jax", "jaxlib", "optax", "numpy")}
    return Contestant(versions, run, forward, saved_mib)


def training_run(workload: Workload, network: Network, parameters: Any, x: Any, y: Any, loss: Loss) -> Run:
    """Whole passes over the staged batches, each one program: a scan over forward, backward and Adam."""
    optimizer = optax.adam(workload.learning_rate)

    def step(state: Any, batch: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        parameters, moments = state
        value, gradients = jax.value_and_grad(lambda p: loss(network(p, batch[0]), batch[1]))(parameters)
        updates, moments = optimizer.update(gradients, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), value

    one_pass = jax.jit(lambda state, x, y: jax.lax.scan(step, state, (x, y)))
    state = (parameters, optimizer.init(parameters))

    def run(count: int) -> list[float]:
        nonlocal state
        if count % workload.batches:
            raise ValueError(f"contestants in jax take whole passes over {workload.batches} batches, not {count} steps")
        losses = []
        for _ in range(count // workload.batches):
            state, values = one_pass(state, x, y)
            losses.append(values)
        jax.block_until_ready((state, losses))
        return [float(value) for value in jnp.concatenate(losses)]

    return run


def reverse_run(workload: Workload, network: Network, parameters: Any, x: Any, y: Any, loss: Loss) -> Run:
    """Each step one program: forward, and the gradient of the weights or, without any, of the input."""
    g, of_input = jnp.asarray(cotangents(workload)), not jax.tree.leaves(parameters)

    @jax.jit
    def step(parameters: Any, x: jax.Array, g: jax.Array) -> tuple[jax.Array, Any]:
        if of_input:
            spikes, back = jax.vjp(lambda x: network(parameters, x), x)
        else:
            spikes, back = jax.vjp(lambda p: network(p, x), parameters)
        return spikes[-1].sum(), back(g)

    batches, done = [x[i] for i in range(workload.batches)], 0

    def run(count: int) -> list[float]:
        nonlocal done
        found = [jax.block_until_ready(step(parameters, batches[i], g)) for i in batch_order(done, count, workload)]
        done += count
        return [float(value) for value, _ in found]

    return run


def residual_bytes(function: Callable[[Any], jax.Array], at: Any, known: Any) -> int:
    """Bytes of the arrays that jax.vjp keeps for the reverse, those of `at` and `known` left out.

    Not compiled, so an upper bound: XLA may fuse some of them away.
    """
    _, back = jax.vjp(function, at)
    left_out = {array.unsafe_buffer_pointer() for array in jax.tree.leaves((at, known))}
    kept = {leaf.unsafe_buffer_pointer(): leaf for leaf in jax.tree.leaves(back) if isinstance(leaf, jax.Array)}
    return sum(leaf.nbytes for pointer, leaf in kept.items() if pointer not in left_out)
