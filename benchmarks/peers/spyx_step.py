"""Spyx 1.0, in two ways: `python worker.py peers.spyx_step sequential` (or best).

sequential  As its documentation writes it: `snn.Sequential`, `snn.run`, `optax.adam`. Of its two compiled loops,
            `optimize.fit` (one dispatch a step) and `optimize.compile_fit` (a scan over staged batches, one dispatch a
            pass), it is the second, the faster one on a CPU; spelled out from the same pieces, because `compile_fit`
            itself compiles anew at every call.
best        What we found to be fastest on a CPU: the same, layer after layer; each Linear or convolution once for all
            steps, and `snn.run` over the neurons alone.

Two choices favor Spyx: the data lie time-major in memory as dense float32, and the decay is frozen (`LIF(beta=...)`
would train it, which takes longer and is not asked of the others).

What differs from the workload: a spike is read from the potential of the step before, so each spiking layer answers one
step late; the reset acts on the decayed potential; the loss is Spyx's own, the cross-entropy of the sum (not the mean)
over time; the surrogate is SuperSpike(25), its default. Its convolutions are channels-last.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import spyx
import spyx.nn as snn
from contestant import Contestant
from flax import nnx
from peers import jax_steps
from workload import Workload, inputs, weights


def prepare(workload: Workload, way: str = "sequential") -> Contestant:
    """The contestant; way: sequential or best."""
    graph, parameters, rest = nnx.split(build(workload), nnx.Param, ...)
    over_time = {"sequential": lambda model, x: snn.run(model, x)[0], "best": layer_by_layer}[way]

    def network(parameters: Any, x: jax.Array) -> jax.Array:
        return over_time(nnx.merge(graph, parameters, rest), x)

    staged = inputs(workload)
    if workload.kind == "conv":
        staged = np.ascontiguousarray(np.moveaxis(staged, 3, -1))  # (batches, T, B, height, width, channels)
    loss = spyx.fn.integral_crossentropy(smoothing=0.0, time_axis=0)
    return jax_steps.contestant(workload, network, parameters, ("spyx", "flax"), loss, staged)


def build(workload: Workload) -> snn.Sequential:
    """Linear or convolution and neurons for each layer, with the workload's weights."""
    rngs, arrays = nnx.Rngs(workload.seed), weights(workload)
    out = arrays.pop() if workload.trains else None
    if workload.kind == "recurrent":
        layers = [linear(arrays[0], rngs), recurrent(workload, arrays[1], rngs)]
    elif workload.kind == "conv":
        layers = []
        for kernels, grid in zip(arrays, workload.grids, strict=True):
            window = (workload.pool, workload.pool)
            neurons = spiking(workload, (*grid, len(kernels)), rngs)
            layers += [convolution(kernels, rngs), neurons, snn.SumPool(window, window, "VALID")]
        layers.append(snn.Flatten())
        side = tuple(size // workload.pool for size in workload.grids[-1])
        out = out.reshape(len(out), -1, *side).transpose(0, 2, 3, 1).reshape(len(out), -1)
    else:
        layers = [] if arrays else [spiking(workload, workload.sizes, rngs)]
        for matrix in arrays:
            layers += [linear(matrix, rngs), spiking(workload, (len(matrix),), rngs)]
    if out is not None:
        layers += [linear(out, rngs), frozen(snn.LI((len(out),), workload.beta, rngs=rngs))]
    return snn.Sequential(*layers)


def layer_by_layer(model: snn.Sequential, x: jax.Array) -> jax.Array:
    """Each layer over all time steps."""
    steps_and_batch = x.shape[:2]
    for layer in model.layers:
        if hasattr(layer, "initial_state"):
            x, _ = snn.run(layer, x)
        else:
            x = layer(x.reshape(-1, *x.shape[2:]))
            x = x.reshape(*steps_and_batch, *x.shape[1:])
    return x


def linear(matrix: np.ndarray, rngs: nnx.Rngs) -> nnx.Linear:
    n, m = matrix.shape
    found = nnx.Linear(m, n, use_bias=False, rngs=rngs)
    found.kernel[...] = jnp.asarray(matrix.T)
    return found


def convolution(kernels: np.ndarray, rngs: nnx.Rngs) -> nnx.Conv:
    n, m, height, width = kernels.shape
    found = nnx.Conv(m, n, (height, width), padding="VALID", use_bias=False, rngs=rngs)
    found.kernel[...] = jnp.asarray(kernels.transpose(2, 3, 1, 0))
    return found


def spiking(workload: Workload, shape: tuple[int, ...], rngs: nnx.Rngs) -> snn.LIF:
    return frozen(snn.LIF(shape, workload.beta, workload.threshold, spyx.axn.superspike(), rngs=rngs))


def recurrent(workload: Workload, back: np.ndarray, rngs: nnx.Rngs) -> snn.RLIF:
    found = snn.RLIF((len(back),), workload.beta, workload.threshold, spyx.axn.superspike(), rngs=rngs)
    found.recurrent_w[...] = jnp.asarray(back.T)
    return frozen(found)


def frozen(neurons: Any) -> Any:
    """The same neurons with a decay that is no `nnx.Param`, hence not trained."""
    neurons.beta = nnx.Variable(neurons.beta[...])
    return neurons
