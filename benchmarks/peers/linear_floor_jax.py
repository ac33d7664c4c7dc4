"""The floor once more, in jax: the workload's Linear layers without neurons, compiled by XLA.

It stands beside the one in PyTorch because the two use different matrix products: on an AMD processor PyTorch's
(MKL) takes 1.7 times as long as XLA's, and then the floor of the one is no floor for the other. The recurrent one is
a scan over tanh neurons, its input's products taken out of it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from contestant import Contestant
from peers import jax_steps
from workload import Workload, weights


def prepare(workload: Workload, *arguments: str) -> Contestant:
    """The contestant, for the kinds of Linear layers."""
    if workload.kind in ("layer", "conv"):
        raise SystemExit(f"linear_jax has no floor for the kind {workload.kind}")
    network = recurrent if workload.kind == "recurrent" else products
    return jax_steps.contestant(workload, network, [jnp.asarray(matrix) for matrix in weights(workload)])


def products(matrices: list[jax.Array], x: jax.Array) -> jax.Array:
    """x (T, B, channels) through all matrices (out, in)."""
    for matrix in matrices:
        x = x @ matrix.T
    return x


def recurrent(matrices: list[jax.Array], x: jax.Array) -> jax.Array:
    """tanh neurons that feed back, and their readout."""
    into, back, out = matrices

    def step(hidden: jax.Array, current: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = jnp.tanh(current + hidden @ back.T)
        return hidden, hidden

    _, hidden = jax.lax.scan(step, jnp.zeros((x.shape[1], len(back)), x.dtype), x @ into.T)
    return hidden @ out.T
