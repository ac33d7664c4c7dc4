"""Training on jax: optax underneath, a run of batches as one compiled program over staged data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from neuroport.model.training import SGD, Adam, AdamW, Optimizer, Training
from neuroport.program.bounds import to_valid
from neuroport.program.lower import Program
from neuroport.program.objective import judged_output, objective, read_by_objective
from neuroport_jax.run import forward, zero_state

Array = jax.Array


class Staged(NamedTuple):
    """A packed data set on the device: values, labels (N,)."""

    values: Array
    labels: Array


class State(NamedTuple):
    """Of a training: free values of trainable parameters, arrays that stay, optax's state."""

    free: dict[str, Array]
    frozen: dict[str, Array]
    optimizer: Any


OPTIMIZERS = {
    SGD: lambda o, rate: optax.chain(
        optax.add_decayed_weights(o.weight_decay) if o.weight_decay else optax.identity(),
        optax.sgd(rate, momentum=o.momentum or None),
    ),
    Adam: lambda o, rate: optax.adam(rate, b1=o.beta1, b2=o.beta2, eps=o.eps),
    AdamW: lambda o, rate: optax.adamw(rate, b1=o.beta1, b2=o.beta2, eps=o.eps, weight_decay=o.weight_decay),
}


def optimizer_of(training: Training, factors: np.ndarray | None) -> optax.GradientTransformation:
    """The optimizer with its schedule; factors: of the learning rate at each step, None is one."""
    described: Optimizer = training.optimizer
    rate: Any = described.learning_rate
    if factors is not None and len(factors):
        table = jnp.asarray(factors * described.learning_rate, jnp.float32)
        rate = lambda step: table[jnp.minimum(step, len(table) - 1)]  # noqa: E731
    moving = OPTIMIZERS[type(described)](described, rate)
    return moving if training.clip_norm is None else optax.chain(_clip(training.clip_norm), moving)


def _clip(norm: float) -> optax.GradientTransformation:
    return optax.clip_by_global_norm(norm)


def unpack(values: Array, steps: int, binary: bool) -> Array:
    """Packed samples (B, ...) as time-major activity (T, B, *shape) float32."""
    if binary:
        bits = (values[:, :, None] >> jnp.arange(8, dtype=jnp.uint8).reshape(8, *(1,) * (values.ndim - 2))) & 1
        values = bits.reshape(values.shape[0], -1, *values.shape[2:])[:, :steps]
    return jnp.moveaxis(values, 0, 1).astype(jnp.float32)


def valid_parameters(program: Program, free: Mapping[str, Array], frozen: Mapping[str, Array]) -> dict[str, Array]:
    return {**frozen, **{name: to_valid(program, name, value) for name, value in free.items()}}


def loss_and_scores(
    program: Program, training: Training, parameters: Mapping[str, Array], state: Mapping[str, Array],
    inputs: Mapping[str, Array], targets: Array, weights: Array, noise: Any,
) -> tuple[Array, Array]:
    """The objective of one batch, and what decisions are taken from."""
    activity = forward(program, parameters, state, inputs, noise=noise)
    flat = {name: activity.values[name].reshape(*activity.values[name].shape[:2], -1)
            for name in read_by_objective(program, training)}
    scores = training.loss.scores(flat[judged_output(program, training)])
    return objective(program, training, flat, targets, weights), scores


def train_batches(
    program: Program, training: Training, optimizer: optax.GradientTransformation, steps: int, binary: bool,
    state: State, staged: Staged, order: Array, mask: Array, seed: int, epoch: Array,
) -> tuple[State, tuple[Array, Array]]:
    """A run of batches: order, mask (batches, B). Losses and numbers of right decisions, (batches,)."""
    (source,) = program.inputs

    def batch(state: State, now: tuple[Array, Array]) -> tuple[State, tuple[Array, Array]]:
        samples, valid = now
        x = unpack(staged.values[samples], steps, binary)
        targets = staged.labels[samples]
        weights = valid / valid.sum()

        def loss(free: dict[str, Array]) -> tuple[Array, Array]:
            return loss_and_scores(
                program, training, valid_parameters(program, free, state.frozen), zero_state(program, x.shape[1]),
                {source: x}, targets, weights, (seed, epoch, samples),
            )

        (value, scores), gradients = jax.value_and_grad(loss, has_aux=True)(state.free)
        updates, moved = optimizer.update(gradients, state.optimizer, state.free)
        right = ((scores.argmax(1) == targets) * valid).sum()
        return State(optax.apply_updates(state.free, updates), state.frozen, moved), (value, right)

    return lax.scan(batch, state, (order, mask))


def evaluate_batches(
    program: Program, training: Training, steps: int, binary: bool, parameters: Mapping[str, Array],
    staged: Staged, order: Array, mask: Array,
) -> tuple[Array, Array, dict[str, Array]]:
    """Losses and right decisions of each batch, and summed mean rates of each population's neurons."""
    (source,) = program.inputs
    spiking = [name for name, bound in program.neurons.items() if bound.neuron.spiking]

    def batch(rates: dict[str, Array], now: tuple[Array, Array]) -> Any:
        samples, valid = now
        x = unpack(staged.values[samples], steps, binary)
        targets = staged.labels[samples]
        activity = forward(program, parameters, zero_state(program, x.shape[1]), {source: x})
        outputs = activity.values[judged_output(program, training)]
        losses = training.loss.per_sample(outputs, targets)
        right = ((training.loss.scores(outputs).argmax(1) == targets) * valid).sum()
        rates = {name: rates[name] + jnp.tensordot(valid, activity.values[name].mean(0), 1) for name in spiking}
        return rates, ((losses * valid).sum() / valid.sum(), right)

    zero = {name: jnp.zeros(program.leaving[name], jnp.float32) for name in spiking}
    rates, (losses, right) = lax.scan(batch, zero, (order, mask))
    return losses, right, rates
