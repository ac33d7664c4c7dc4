"""The jax engine: programs as jit-compiled XLA computations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax

from neuroport.data.packing import Packed
from neuroport.engine.base import Engine, Gradients, Metrics, Noise, Options, Record, RunResult, Trainable
from neuroport.engine.capabilities import FULL, Capabilities, stepping_engine
from neuroport.program.augment import partners_of
from neuroport.program.bounds import to_free
from neuroport.program.lower import Program
from neuroport_jax.compiled import Compiled
from neuroport_jax.devices import Place, places
from neuroport_jax.function import Function, function_of
from neuroport_jax.layers import LAYERS
from neuroport_jax.optimizers import OPTIMIZERS, optimizer_of
from neuroport_jax.run import forward
from neuroport_jax.training import (
    Batches,
    Staged,
    State,
    evaluate_batches,
    loss_and_scores,
    named,
    outline,
    train_batches,
    unnamed,
    valid_parameters,
)
from neuroport_jax.ways import described, of_convolutions


class JaxEngine(Engine):
    """XLA on CPU, GPU and TPU; float32, products in bfloat16 where asked for.

    Several devices of a kind share out the samples of each batch.
    """

    name = "jax"

    def devices(self) -> list[str]:
        return list(places())

    def capabilities(self, device: str | None = None) -> Capabilities:
        optimizers = {f"optimizer.{kind.__name__}": FULL for kind in OPTIMIZERS}
        features = {**stepping_engine(LAYERS), **optimizers, "truncate": FULL, "several_devices": FULL}
        return Capabilities(features, precisions=("float32", "bfloat16"))

    def compile(self, program: Program, options: Options) -> JaxExecutable:
        known = places()
        return JaxExecutable(program, options, known[options.device or next(iter(known))])

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "optax": optax.__version__}


class JaxExecutable(Trainable):
    """A program whose functions compile on their first use, once a shape."""

    def __init__(self, program: Program, options: Options, place: Place):
        self.program, self.options = program, options
        self.place = replace(place, precision=options.precision or "float32")
        self._latest: Any = None  # an array of what was dispatched last; a device computes in that order

    def _put(self, value: Any, dtype: Any = jnp.float32) -> jax.Array:
        return self.place.put(value, dtype)

    def load(self, parameters: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        return {name: self._put(value) for name, value in parameters.items()}

    def export(self, handle: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in handle.items()}

    def init_state(self, batch: int) -> dict[str, jax.Array]:
        return {name: self._put(np.zeros(shape)) for name, shape in self.program.state_shapes(batch).items()}

    @cached_property
    def _run(self) -> Any:
        def run(handle: Any, state: Any, inputs: Any, record: tuple[Record, ...]) -> Any:
            activity = forward(self.program, handle, state, inputs, record, ways=self.place.ways)
            return {name: activity.values[name] for name in self.program.outputs}, activity.records, activity.state

        return Compiled(run, static=(3,))

    def run(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], record: Sequence[Record] = ()
    ) -> RunResult:
        given = {name: self._put(value) for name, value in inputs.items()}
        held = {name: self._put(value) for name, value in state.items()}
        outputs, traces, after = self._run(handle, held, given, tuple(record))
        self._latest = min(outputs.values(), key=lambda value: value.size)
        records: dict[str, dict[str, Any]] = {}
        for (node, what), trace in traces.items():
            records.setdefault(node, {})[what] = trace
        return RunResult(outputs, records, after, {
            "precision": self.place.precision, "device": self.place.name, "compile_seconds": self._run.seconds,
            "segments": described(self.program, self.place.ways),
            "convolutions": of_convolutions(self.program, self.place.ways),
        })

    def function(self, record: Sequence[Any] = ()) -> Function:
        """The model as a pure function ``(parameters, state, inputs) -> (outputs, state)``, for your own jax code.

        It can be traced by jax.jit, vmapped and differentiated in reverse, with respect to all three. parameters:
        by "node.parameter", such as ``npt.init`` gives. state: of the run before, or None for zeros. inputs:
        (T, B, *shape), or a dict of them by Input node. Gives the outputs likewise, (T, B, *shape), and the state
        after the last step. With ``record``, as in ``npt.run``, records by node and variable come third. Arrays
        are float32; segments run as suits the device that this was compiled for. Raises InvalidData, while jax
        traces, where shapes or names do not fit.
        """
        return function_of(self.program, self.place.ways, record)

    @property
    def compile_seconds(self) -> float:
        """What tracing and compiling took so far."""
        made = (vars(self).get(name) for name in ("_run", "_gradients", "_train", "_evaluate"))
        return sum(function.seconds for function in made if function is not None)

    def wait(self) -> None:
        jax.block_until_ready(self._latest)

    def free_memory(self) -> int | None:
        return self.place.free_memory()

    @cached_property
    def _gradients(self) -> Any:
        def gradients(handle: Any, state: Any, inputs: Any, targets: Any, weights: Any, seed: Any, noise: Any) -> Any:
            trained = {name: handle[name] for name in self.program.trainable}
            keys = None if noise is None else (seed, *noise)

            def loss(trained: Any) -> Any:
                return loss_and_scores(
                    self.program, self.training, {**handle, **trained}, state, inputs, targets, weights, keys,
                    self.place.ways,
                )[0]

            return jax.value_and_grad(loss)(trained)

        return Compiled(gradients, static=(5,))

    def gradients(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], targets: np.ndarray,
        weights: np.ndarray | None = None, noise: Noise | None = None,
    ) -> Gradients:
        given = {name: self._put(value) for name, value in inputs.items()}
        batch = next(iter(given.values())).shape[1]
        held = {name: self._put(value) for name, value in state.items()}
        shares = self._put(np.full(batch, 1.0 / batch) if weights is None else weights)
        keys = None if noise is None else (
            self._put([noise.epoch], jnp.uint32), self._put(noise.samples, jnp.uint32))
        loss, found = self._gradients(
            handle, held, given, self._put(targets, None), shares, noise.seed if noise else None, keys
        )
        return Gradients(float(loss), {name: np.asarray(value) for name, value in found.items()})

    # --- training: one program a run of batches ----------------------------------------------------

    @cached_property
    def _optimizer(self) -> optax.GradientTransformation:
        return optimizer_of(self.training)

    def init_training(self, handle: Mapping[str, jax.Array]) -> State:
        free = {name: self._put(value) for name, value in to_free(self.program, self.export(handle)).items()}
        frozen = {name: jnp.copy(value) for name, value in handle.items() if name not in free}
        state: State = self.place.tree(State(free, frozen, self._optimizer.init(free)))
        return state

    def current(self, training: State) -> dict[str, jax.Array]:
        valid = valid_parameters(self.program, training.free, training.frozen)
        return {name: jnp.copy(valid[name]) for name in self.program.parameters}

    def snapshot(self, training: State) -> dict[str, np.ndarray]:
        # copies: views of a CPU's buffers would keep the next segment from taking these over
        return {name: np.array(value) for name, value in named(training).items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> State:
        held = unnamed(arrays, outline(self.program, self._optimizer))
        # copies: on a CPU the device may share memory with what it is given
        state: State = self.place.tree(jax.tree.map(np.array, held))
        return state

    def stage(self, packed: Packed) -> tuple[Staged, int, bool]:
        values, labels = (self.place.share_out(part) for part in (packed.values, packed.labels))
        return Staged(values, labels, self.place), packed.steps, packed.binary

    @cached_property
    def _train(self) -> Any:
        def train(
            steps: int, binary: bool, state: State, staged: Staged, batches: Batches, factors: Any, seed: int,
            epoch: Any,
        ) -> Any:
            def work(state: State, staged: Staged, batches: Batches, factors: Any, epoch: Any) -> Any:
                return train_batches(
                    self.program, self.training, self._optimizer, steps, binary, state, staged, batches, factors,
                    seed, epoch,
                )

            every = self.place.apart(work, False, True, False, False, False)
            return every(state, staged, batches, factors, epoch)

        # the old state's buffers become the new one's: nothing is copied between segments
        return Compiled(train, static=(0, 1, 6), donate=(2,))

    def train_segment(
        self, training: State, staged: Any, order: np.ndarray, mask: np.ndarray, factors: np.ndarray,
        noise: tuple[int, int], identities: np.ndarray | None = None, partners: np.ndarray | None = None,
    ) -> tuple[State, Metrics]:
        data, steps, binary = staged
        seed, epoch = noise
        mixed, padded = partners_of(self.training, partners), self.place.padded
        batches = Batches(
            self._put(padded(order), jnp.int32), self._put(padded(mask, 0.0)),
            self._put(padded(order if identities is None else identities), jnp.int32),
            None if mixed is None else self._put(padded(mixed), jnp.int32),
        )
        training, noted = self._train(
            steps, binary, training, data, batches, self._put(factors), seed, self._put([epoch], jnp.uint32)
        )
        self._latest = noted.loss
        return training, Metrics(np.asarray(noted.loss), np.asarray(noted.right), np.asarray(mask).sum(1))

    @cached_property
    def _evaluate(self) -> Any:
        def evaluate(steps: int, binary: bool, handle: Any, staged: Staged, order: Any, mask: Any) -> Any:
            def work(handle: Any, staged: Staged, order: Any, mask: Any) -> Any:
                return evaluate_batches(self.program, self.training, steps, binary, handle, staged, order, mask)

            return self.place.apart(work, False, True, False, False)(handle, staged, order, mask)

        return Compiled(evaluate, static=(0, 1))

    def evaluate(self, handle: Any, staged: Any, order: np.ndarray, mask: np.ndarray) -> Metrics:
        data, steps, binary = staged
        padded = self.place.padded
        rates, found = self._evaluate(
            steps, binary, handle, data, self._put(padded(order), jnp.int32), self._put(padded(mask, 0.0)))
        total = max(float(np.asarray(mask).sum()), 1.0)
        return Metrics(
            np.asarray(found.loss), np.asarray(found.right), np.asarray(mask).sum(1),
            # jax sorts dicts by name; these are in the program's order, and in the training's
            {name: np.asarray(rates[name]) / total for name in self.program.neurons if name in rates},
            None if found.decisions is None else np.asarray(found.decisions)[:, : order.shape[1]],
            {metric.label: np.asarray(found.extra[metric.label]) for metric in self.training.metrics},
        )
