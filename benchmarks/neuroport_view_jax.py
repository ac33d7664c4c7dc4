"""neuroport on jax as a function in one's own jax code: forward and reverse of a part, and what a reverse keeps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contestant import Run
from neuroport_jax.engine import JaxExecutable
from workload import Workload, batch_order, cotangents, inputs, targets

Arrays = dict[str, np.ndarray]


def reverse_run(executable: JaxExecutable, workload: Workload, arrays: Arrays) -> Run:
    """k -> spikes in the last time step of k batches, whose gradients are there too: all as one program a batch."""
    function = executable.function()
    held, g = executable.load(arrays), executable.place.put(cotangents(workload), jnp.float32)
    batches = [executable.place.put(x, jnp.float32) for x in inputs(workload)]
    done = 0

    @jax.jit
    def step(held: Any, x: jax.Array, g: jax.Array) -> Any:
        if held:
            spikes, reverse = jax.vjp(lambda held: function(held, None, x)[0], held)
        else:
            spikes, reverse = jax.vjp(lambda x: function(held, None, x)[0], x)
        return spikes[-1].sum(), spikes, reverse(g)

    def run(count: int) -> list[float]:
        nonlocal done
        found = [jax.block_until_ready(step(held, batches[i], g)) for i in batch_order(done, count, workload)]
        done += count
        return [float(value) for value, _, _ in found]

    return run


def saved_bytes(executable: JaxExecutable, workload: Workload, arrays: Arrays) -> int:
    """Bytes of what `jax.vjp` of a step keeps, without parameters and inputs. XLA may keep less of it."""
    function, held = executable.function(), executable.load(arrays)
    x = executable.place.put(inputs(workload)[0], jnp.float32)
    if workload.trains:
        y = jnp.asarray(targets(workload)[0])

        def loss(held: Any) -> jax.Array:
            logits = function(held, None, x)[0].mean(0)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        _, reverse = jax.vjp(loss, held)
    elif held:
        _, reverse = jax.vjp(lambda held: function(held, None, x)[0], held)
    else:
        _, reverse = jax.vjp(lambda x: function(held, None, x)[0], x)
    known = [np.asarray(value) for value in (x, *held.values())]
    leaves = {leaf.unsafe_buffer_pointer(): leaf for leaf in jax.tree.leaves(reverse) if isinstance(leaf, jax.Array)}
    return sum(leaf.nbytes for leaf in leaves.values() if not any(_same(leaf, one) for one in known))


def _same(leaf: jax.Array, known: np.ndarray) -> bool:
    """Whether a kept array is one that was there anyway, in another shape or transposed."""
    if leaf.size != known.size or leaf.dtype != known.dtype:
        return False
    flat = np.asarray(leaf).ravel()
    return np.array_equal(flat, known.ravel()) or np.array_equal(flat, known.T.ravel())
