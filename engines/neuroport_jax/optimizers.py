"""How parameters move: optax at a constant rate, its updates scaled by the schedule and by parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import optax

from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, Optimizer, RMSprop
from neuroport.model.training import Training

Array = jax.Array


def _sgd(o: SGD) -> optax.GradientTransformation:
    decayed = optax.add_decayed_weights(o.weight_decay) if o.weight_decay else optax.identity()
    return optax.chain(decayed, optax.sgd(o.learning_rate, momentum=o.momentum or None))


def _rmsprop(o: RMSprop) -> optax.GradientTransformation:
    # optax.rmsprop would hold the rate inside the momentum
    return optax.chain(
        optax.scale_by_rms(decay=o.decay, eps=o.eps, eps_in_sqrt=False),
        optax.trace(o.momentum) if o.momentum else optax.identity(),
        optax.scale_by_learning_rate(o.learning_rate),
    )


OPTIMIZERS: dict[type[Optimizer], Callable[..., optax.GradientTransformation]] = {
    SGD: _sgd,
    Adam: lambda o: optax.adam(o.learning_rate, b1=o.beta1, b2=o.beta2, eps=o.eps),
    AdamW: lambda o: optax.adamw(o.learning_rate, b1=o.beta1, b2=o.beta2, eps=o.eps, weight_decay=o.weight_decay),
    Lion: lambda o: optax.lion(o.learning_rate, b1=o.beta1, b2=o.beta2, weight_decay=o.weight_decay),
    RMSprop: _rmsprop,
}


def optimizer_of(training: Training) -> optax.GradientTransformation:
    """The optimizer at its factor-one learning rate, behind the bound of the gradient's norm."""
    described = training.optimizer
    moving = OPTIMIZERS[type(described)](described)
    return moving if training.clip_norm is None else optax.chain(optax.clip_by_global_norm(training.clip_norm), moving)


def moved(
    training: Training, free: Mapping[str, Array], updates: Mapping[str, Array], factor: Array
) -> dict[str, Array]:
    """Free values after a step. factor: of the learning rate, in which every optimizer's update is linear."""
    rates = {name: training.rate_factor(name) for name in free}
    # 0 * update is NaN where an update is no number: what does not move is left out
    scaled = {name: updates[name] * (factor * rate) for name, rate in rates.items() if rate}
    return {**free, **optax.apply_updates({name: free[name] for name in scaled}, scaled)}
