"""The training step in Spyx 1.0, as its documentation writes it: `snn.Sequential`, `snn.run`, `optax.adam`.

Spyx documents two compiled loops, `optimize.fit` (one dispatch a step) and `optimize.compile_fit` (a scan over
staged batches, one dispatch a pass). The second is the faster one on a CPU, so it is the one timed here; it is
spelled out from the same pieces (`optimize.backprop`, `lax.scan`), because `compile_fit` itself compiles anew at
every call. Two choices also favor Spyx: the data lie time-major in memory as dense float32, and the decay is
frozen (`LIF(beta=...)` would train it, which takes longer and is not asked of the others).

What differs from the other contestants: a spike is read from the membrane of the step before, so each hidden layer
answers one step late, and the loss is Spyx's own, the cross-entropy of the sum (not the mean) over time.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import optax
import spyx
import spyx.nn as snn
from flax import nnx
from spyx import optimize
from workload import Workload, inputs, targets, weights


def prepare(workload: Workload, *arguments: str) -> tuple[dict[str, str], Callable[[int], list[float]]]:
    """Versions, and the run of k training steps that returns their losses."""
    state, one_pass = make_pass(build(workload), workload)

    def run(count: int) -> list[float]:
        nonlocal state
        if count % workload.batches:
            raise ValueError(f"spyx takes whole passes over {workload.batches} batches, not {count} steps")
        losses = []
        for _ in range(count // workload.batches):
            state, metrics = one_pass(state)
            losses.append(metrics)
        jax.block_until_ready((state, losses))
        return [float(loss) for loss in jnp.concatenate(losses)]

    return {name: version(name) for name in ("spyx", "flax", "jax", "jaxlib", "optax", "numpy")}, run


def build(workload: Workload) -> snn.Sequential:
    """Linear + LIF for each hidden layer, Linear + LI for the readout, with the workload's weights."""
    rngs = nnx.Rngs(workload.seed)
    layers: list[nnx.Module] = []
    *hidden, _ = matrices = weights(workload)
    for i, matrix in enumerate(matrices):
        n, m = matrix.shape
        linear = nnx.Linear(m, n, use_bias=False, rngs=rngs)
        linear.kernel[...] = jnp.asarray(matrix.T)
        neurons = (
            snn.LIF((n,), workload.beta, workload.threshold, spyx.axn.superspike(), rngs=rngs)
            if i < len(hidden)
            else snn.LI((n,), workload.beta, rngs=rngs)
        )
        layers += [linear, frozen(neurons)]
    return snn.Sequential(*layers)


def frozen(neurons: snn.LIF | snn.LI) -> snn.LIF | snn.LI:
    """The same neurons with a decay that is no `nnx.Param`, hence not trained."""
    neurons.beta = nnx.Variable(neurons.beta[...])
    return neurons


def make_pass(model: snn.Sequential, workload: Workload) -> tuple[Any, Callable[[Any], tuple[Any, jax.Array]]]:
    """The first state of training, and the compiled pass over all batches: state -> (state, losses)."""
    cross_entropy = spyx.fn.integral_crossentropy(smoothing=0.0, time_axis=0)
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    def loss(parameters: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, y = batch
        traces, _ = snn.run(nnx.merge(graph, parameters, rest), x)
        return cross_entropy(traces, y)

    solver = optimize.backprop(optax.adam(workload.learning_rate))(loss, parameters)
    key = jax.random.key(workload.seed)  # asked for by the interface; gradient descent draws nothing
    staged = jnp.asarray(inputs(workload)), jnp.asarray(targets(workload))

    @jax.jit
    def one_pass(state: Any) -> tuple[Any, jax.Array]:
        return jax.lax.scan(lambda state, batch: solver.step(state, batch, key), state, staged)

    return solver.init(key), one_pass
