"""Training on jax: a run of batches as one compiled program over staged data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from neuroport.errors import InvalidData, Problem
from neuroport.model.training import Training
from neuroport.program.augment import HashDraw, Words, augmented
from neuroport.program.bounds import to_valid
from neuroport.program.lower import Program
from neuroport.program.objective import (
    judged_output,
    measured,
    objective,
    parameters_of_objective,
    per_sample,
    read_by_objective,
    scores,
    step_of,
)
from neuroport_jax.devices import Place
from neuroport_jax.optimizers import moved
from neuroport_jax.run import forward, truncated, zero_state
from neuroport_jax.ways import SCAN, Ways

Array = jax.Array


WORDS = Words(jnp.uint32, lambda count: jnp.arange(count, dtype=jnp.uint32))


class Draw(HashDraw):
    """``HashDraw`` whose choices are made once: XLA's compiler for CPUs would draw one again wherever it is read.

    Step by step, in a loop: what a loop gives is not fused into what reads it. Barriers are gone before XLA fuses.
    """

    def choice(self, like: Array, count: int) -> Array:
        return lax.platform_dependent(
            cpu=lambda: lax.map(lambda now: self._hashed(now[None])[0] % self.words.constant(count), self._index(like)),
            default=lambda: super(Draw, self).choice(like, count),
        )

    def scatter(self, x: Array, reach: int) -> Array:
        if reach == 0:
            return x
        return lax.platform_dependent(
            cpu=lambda: self._scattered(x, reach), default=lambda: super(Draw, self).scatter(x, reach))

    def _scattered(self, x: Array, reach: int) -> Array:
        count = 2 * reach + 1
        small = jnp.uint8 if count < 255 else jnp.uint32  # bytes: a quarter of what is read for each place

        def one(now: tuple[Array, Array]) -> tuple[Array, Array]:
            values, index = now
            return values, (self._hashed(index[None])[0] % self.words.constant(count)).astype(small)

        around = ((reach, reach), *((0, 0),) * (x.ndim - 1))
        # the values go through the loop too, else each place would unpack them anew
        values, places = (jnp.pad(part, around, constant_values=fill)
                          for part, fill in zip(lax.map(one, (x, self._index(x))), (0, count), strict=True))
        return sum(jnp.where(places[first : first + len(x)] == 2 * reach - first, values[first : first + len(x)], 0.0)
                   for first in range(2 * reach, -1, -1))


@partial(jax.tree_util.register_dataclass, data_fields=["values", "labels"], meta_fields=["place"])
@dataclass(frozen=True)
class Staged:
    """A packed data set where it lies: values, and labels (N,) or traces (N, T, *shape)."""

    values: Array
    labels: Array
    place: Place

    def activity(self, samples: Array, steps: int, binary: bool) -> Array:
        """Some samples over time, this device's share of them, (T, B, *shape) float32."""
        return unpack(self.place.own_rows(self.values, samples), steps, binary)

    def targets(self, samples: Array) -> Array:
        """Labels of all of them as a loss takes them: classes (B,), or traces, time-major (T, B, C)."""
        found = self.place.rows(self.labels, samples)
        return found if found.ndim == 1 else jnp.moveaxis(found.reshape(*found.shape[:2], -1), 0, 1)


class Batches(NamedTuple):
    """Batches to train on, (batches, B) each: rows of the staged data, 0 for padding, keys of their noise, and
    rows to mix with, where an augmentation asks for them."""

    order: Array
    mask: Array
    identities: Array
    partners: Array | None


class State(NamedTuple):
    """Of a training: free values of trainable parameters, arrays that stay, optax's state."""

    free: dict[str, Any]
    frozen: dict[str, Any]
    optimizer: Any


class Noted(NamedTuple):
    """Of one batch: the objective's value, and how many samples were decided rightly."""

    loss: Array
    right: Array


class Evaluated(NamedTuple):
    """Of one batch: mean loss, right decisions, the decisions (B,) or None, mean of each metric by label."""

    loss: Array
    right: Array
    decisions: Array | None
    extra: dict[str, Array]


# --- what a training has reached, as arrays by name ------------------------------------------------


def named(state: State) -> dict[str, Any]:
    """The leaves of a state: "free/NAME", "frozen/NAME", and optax's by their paths, "optimizer[0].mu['NAME']"."""
    found = {f"free/{name}": value for name, value in state.free.items()}
    found |= {f"frozen/{name}": value for name, value in state.frozen.items()}
    return found | {_of_optimizer(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state.optimizer)}


def outline(program: Program, optimizer: optax.GradientTransformation) -> State:
    """Shapes and types of a state, without values."""
    shapes = {name: jax.ShapeDtypeStruct(spec.shape, jnp.float32) for name, spec in program.parameters.items()}
    free = {name: shapes[name] for name in program.trainable}
    frozen = {name: shape for name, shape in shapes.items() if name not in free}
    return State(free, frozen, jax.eval_shape(optimizer.init, free))


def unnamed(arrays: Mapping[str, np.ndarray], like: State) -> State:
    """The state in the outline ``like`` whose leaves these are, in NumPy. Raises InvalidData with every problem."""
    wanted = named(like)
    problems = list(_misfits(arrays, wanted))
    if problems:
        raise InvalidData(problems, "checkpoint")
    return State(
        {name: arrays[f"free/{name}"] for name in like.free}, {name: arrays[f"frozen/{name}"] for name in like.frozen},
        jax.tree_util.tree_map_with_path(lambda path, _: arrays[_of_optimizer(path)], like.optimizer),
    )


def _of_optimizer(path: Any) -> str:
    return f"optimizer{jax.tree_util.keystr(path)}"


def _misfits(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any]) -> Iterable[Problem]:
    mend = "continue with the model, the training and the engine that wrote it"
    for name in [*wanted, *(name for name in arrays if name not in wanted)]:
        if name not in arrays:
            yield Problem(name, "is missing", mend)
        elif name not in wanted:
            yield Problem(name, "belongs to another training", mend)
        elif (arrays[name].shape, arrays[name].dtype) != (wanted[name].shape, wanted[name].dtype):
            wrong = f"is {arrays[name].dtype} of shape {arrays[name].shape}, expected {wanted[name].dtype} of shape"
            yield Problem(name, f"{wrong} {wanted[name].shape}", mend)


# --- batches ---------------------------------------------------------------------------------------


def unpack(values: Array, steps: int, binary: bool) -> Array:
    """Packed samples (B, ...) as time-major activity (T, B, *shape) float32."""
    if binary:
        bits = (values[:, :, None] >> jnp.arange(8, dtype=jnp.uint8).reshape(8, *(1,) * (values.ndim - 2))) & 1
        values = bits.reshape(values.shape[0], -1, *values.shape[2:])[:, :steps]
    elif values.shape[1] != steps:  # constant over time, held once
        values = jnp.broadcast_to(values, (values.shape[0], steps, *values.shape[2:]))
    return jnp.moveaxis(values, 0, 1).astype(jnp.float32)


def entering(
    program: Program, training: Training, steps: int, binary: bool, staged: Staged, batch: Batches, seed: int,
    epoch: Array,
) -> Array:
    """A batch as training sees it, (T, B, *shape), this device's share. batch: all rows, identities, partners, (B,)."""
    x = staged.activity(batch.order, steps, binary)
    if not training.augmentation:
        return x
    partner = None if batch.partners is None else staged.activity(batch.partners, steps, binary)
    identities = staged.place.own(batch.identities).astype(jnp.uint32)
    return augmented(training, step_of(program), WORDS, x, partner, binary, seed, epoch, identities, Draw)


def shares_of(valid: Array) -> Array:
    """Weights from a mask: sum 1, or 0 where all of it is padding."""
    return valid / jnp.maximum(valid.sum(), 1.0)


def valid_parameters(program: Program, free: Mapping[str, Array], frozen: Mapping[str, Array]) -> dict[str, Array]:
    return {**frozen, **{name: to_valid(program, name, value) for name, value in free.items()}}


def activity_of(
    program: Program, training: Training, parameters: Mapping[str, Array], state: Mapping[str, Array],
    inputs: Mapping[str, Array], noise: Any, ways: Ways = SCAN,
) -> dict[str, Array]:
    """What the objective reads of a run, (T, B, N) by node."""
    read = read_by_objective(program, training)
    values = truncated(program, parameters, state, inputs, read, training.truncate, noise, ways)
    return {name: value.reshape(*value.shape[:2], -1) for name, value in values.items()}


def judged(
    program: Program, training: Training, parameters: Mapping[str, Array], activity: Mapping[str, Array],
    targets: Array, weights: Array,
) -> tuple[Array, Array | None]:
    """The objective of one batch, and what decisions are taken from, if it knows classes."""
    held = {name: parameters[name].reshape(-1) for name in parameters_of_objective(program, training)}
    value = objective(program, training, activity, held, targets, weights)
    return value, scores(program, training, activity)


def loss_and_scores(
    program: Program, training: Training, parameters: Mapping[str, Array], state: Mapping[str, Array],
    inputs: Mapping[str, Array], targets: Array, weights: Array, noise: Any, ways: Ways = SCAN,
) -> tuple[Array, Array | None]:
    """Both for inputs (T, B, *shape)."""
    activity = activity_of(program, training, parameters, state, inputs, noise, ways)
    return judged(program, training, parameters, activity, targets, weights)


def decide(found: Array | None, targets: Array, valid: Array) -> tuple[Array | None, Array]:
    """Decisions (B,) from scores, and how many are right; none where there are no classes."""
    if found is None:
        return None, jnp.zeros((), jnp.float32)
    decided = found.argmax(1)
    return decided, ((decided == targets) * valid).sum()


def train_batches(
    program: Program, training: Training, optimizer: optax.GradientTransformation, steps: int, binary: bool,
    state: State, staged: Staged, batches: Batches, factors: Array, seed: int, epoch: Array,
) -> tuple[State, Noted]:
    """A run of batches; factors (groups,), each of one step of the optimizer."""
    (source,) = program.inputs
    place, ways = staged.place, staged.place.ways

    def of_batch(state: State, batch: Batches) -> tuple[dict[str, Array], Noted]:
        samples, valid = batch.order, batch.mask
        x = entering(program, training, steps, binary, staged, batch, seed, epoch)
        targets, weights = staged.targets(samples), shares_of(valid)
        run, noise = (zero_state(program, x.shape[1]), {source: x}), (seed, epoch, place.own(batch.identities))

        def valid_of(free: dict[str, Array]) -> dict[str, Array]:
            return valid_parameters(program, free, state.frozen)

        def loss(free: dict[str, Array]) -> tuple[Array, Array | None]:
            return loss_and_scores(program, training, valid_of(free), *run, targets, weights, noise, ways)

        def judge(activity: dict[str, Array], free: dict[str, Array]) -> tuple[Array, Array | None]:
            return judged(program, training, valid_of(free), activity, targets, weights)

        if not place.several:
            (value, found), gradients = jax.value_and_grad(loss, has_aux=True)(state.free)
        else:  # every device runs its share, judges the whole batch, and takes its share of the cotangents back
            read, back = jax.vjp(
                lambda free: activity_of(program, training, valid_of(free), *run, noise, ways), state.free)
            (value, found), (of_read, penalties) = jax.value_and_grad(judge, argnums=(0, 1), has_aux=True)(
                place.together(read, 1), state.free)
            (gradients,) = place.total(back(place.own(of_read, 1)))
            gradients = jax.tree.map(jnp.add, gradients, penalties)
        return gradients, Noted(value, decide(found, targets, valid)[1])

    def of_group(state: State, group: Batches) -> tuple[dict[str, Array], Noted]:
        def add(total: dict[str, Array], now: tuple[Batches, Array]) -> tuple[dict[str, Array], Noted]:
            batch, share = now
            gradients, noted = of_batch(state, batch)
            return {name: total[name] + share * value for name, value in gradients.items()}, noted

        shares = group.mask.sum(1) / jnp.maximum(group.mask.sum(), 1.0)
        return lax.scan(add, jax.tree.map(jnp.zeros_like, state.free), (group, shares))

    def step(state: State, now: tuple[Batches, Array]) -> tuple[State, Noted]:
        group, factor = now
        gradients, noted = (of_batch if group.order.ndim == 1 else of_group)(state, group)
        updates, after = optimizer.update(gradients, state.optimizer, state.free)
        return State(moved(training, state.free, updates, factor), state.frozen, after), noted

    size = len(batches.order) // len(factors)
    if size == 1:  # no loop over one batch
        return lax.scan(step, state, (batches, factors))
    grouped = jax.tree.map(lambda array: array.reshape(-1, size, array.shape[1]), batches)
    state, noted = lax.scan(step, state, (grouped, factors))
    return state, Noted(*(value.reshape(-1) for value in noted))


def evaluate_batches(
    program: Program, training: Training, steps: int, binary: bool, parameters: Mapping[str, Array],
    staged: Staged, order: Array, mask: Array,
) -> tuple[dict[str, Array], Evaluated]:
    """Summed mean rates of each population's neurons, and what each batch gives, without penalties."""
    (source,) = program.inputs
    output, place = judged_output(program, training), staged.place
    spiking = [name for name, bound in program.neurons.items() if bound.neuron.spiking]

    def batch(rates: dict[str, Array], now: tuple[Array, Array]) -> tuple[dict[str, Array], Evaluated]:
        samples, valid = now
        x = staged.activity(samples, steps, binary)
        targets = staged.targets(samples)
        values = forward(program, parameters, zero_state(program, x.shape[1]), {source: x}, ways=place.ways).values
        read = place.together(values[output], 1)
        activity, weights = {output: read.reshape(steps, len(samples), -1)}, shares_of(valid)
        decided, right = decide(scores(program, training, activity), targets, valid)
        own = place.own(valid)
        rates = {name: rates[name] + jnp.tensordot(own, values[name].mean(0), 1) for name in spiking}
        return rates, Evaluated(
            (per_sample(program, training, activity, targets) * weights).sum(), right, decided,
            {label: (value * weights).sum()
             for label, value in measured(program, training, activity, targets).items()},
        )

    zero = {name: jnp.zeros(program.leaving[name], jnp.float32) for name in spiking}
    rates, found = lax.scan(batch, zero, (order, mask))
    return place.total(rates), found
