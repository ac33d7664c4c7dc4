"""Forward through time in NumPy, keeping everything that the reverse may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neuroport.engine.base import Noise
from neuroport.model.layers import Dropout
from neuroport.program.execute import Records
from neuroport.program.lower import Program
from neuroport.program.noise import keep, stream_of
from neuroport.program.schedule import Stepped
from neuroport.program.stepping import Arrays, reaching, step, take_states
from neuroport_reference.layers import LAYERS, Layer

Array = np.ndarray


@dataclass
class Saved:
    """Kept by a forward run, by node: what a stateless node saw, a mask, and a neuron's every step.

    inputs: (T, B, *shape). masks: (B, *shape). steps: per step {"cut.NAME", "s.NAME", "x"}.
    arrays: coefficients and parameters by segment.
    """

    inputs: dict[str, Array] = field(default_factory=dict)
    masks: dict[str, Array] = field(default_factory=dict)
    steps: dict[str, list[dict[str, Array]]] = field(default_factory=dict)
    arrays: dict[Stepped, Arrays] = field(default_factory=dict)


class NumpyRunner:
    """How the reference runs nodes and segments; one instance a run."""

    def __init__(self, program: Program, noise: Noise | None, layers: Mapping[str, Layer] = LAYERS):
        self.program, self.noise, self.layers, self.saved = program, noise, layers, Saved()

    def parallel(self, name: str, parameters: Mapping[str, Array], x: Array) -> Array:
        self.saved.inputs[name] = x
        flat = x.reshape(-1, *x.shape[2:])
        y = self._apply(name, parameters, flat)
        return self._masked(name, y.reshape(*x.shape[:2], *y.shape[1:]))

    def stepped(
        self, segment: Stepped, arrays: Arrays, state: Mapping[str, Array], given: Mapping[str, Array], record: Records,
    ) -> tuple[dict[str, Array], dict[str, Array], dict[tuple[str, str], Array]]:
        self.saved.arrays[segment] = arrays
        neurons = [name for name in segment.nodes if name in self.program.neurons]
        every_cut = {name: self.program.neurons[name].traced.cut for name in neurons}
        carry = take_states(self.program, segment, state)
        seen: dict[str, list[Array]] = {name: [] for name in segment.nodes}
        outputs: dict[str, list[Array]] = {name: [] for name in segment.nodes}
        records: dict[tuple[str, str], list[Array]] = {wanted: [] for wanted in record}
        kept: dict[str, list[dict[str, Array]]] = {name: [] for name in neurons}
        for t in range(len(next(iter(given.values())))):

            def apply(name: str, parameters: Mapping[str, Array], x: Array) -> Array:
                seen[name].append(x)
                return self._masked(name, self._apply(name, parameters, x))

            before = carry
            now = {name: x[t] for name, x in given.items()}
            carry, emitted = step(self.program, segment, apply, arrays, carry, now, every_cut, record)
            for name, y in emitted.outputs.items():
                outputs[name].append(y)
            for wanted in record:
                records[wanted].append(emitted.records[wanted])
            for name in neurons:
                states = self.program.neurons[name].state
                kept[name].append(
                    {**{f"cut.{key}": value for key, value in emitted.cuts[name].items()},
                     **{f"s.{key}": before[f"{name}.{key}"] for key in states},
                     "x": reaching(segment, name, now, before, emitted.outputs)}
                )
        self.saved.steps.update(kept)
        self.saved.inputs.update({name: np.stack(xs) for name, xs in seen.items() if xs})
        return (
            {name: _stack(ys, given) for name, ys in outputs.items()},
            {key: np.stack(value) if isinstance(value, tuple) else value for key, value in carry.items()},
            {wanted: _stack(ys, given) for wanted, ys in records.items()},
        )

    def _apply(self, name: str, parameters: Mapping[str, Array], x: Array) -> Array:
        node = self.program.node(name)
        return self.layers[type(node).__name__].forward(node, parameters, x)

    def _masked(self, name: str, y: Array) -> Array:
        """Dropout: y (..., B, *shape) times its mask, where there is noise."""
        node = self.program.node(name)
        if self.noise is None or not isinstance(node, Dropout) or node.p == 0:
            return y
        if name not in self.saved.masks:
            shape = self.program.leaving[name]
            samples = np.asarray(self.noise.samples, np.uint32)
            kept = keep(stream_of(name), self.noise.seed, np.asarray([self.noise.epoch], np.uint32), samples,
                        np.arange(np.prod(shape), dtype=np.uint32), node.p)
            self.saved.masks[name] = (kept / (1 - node.p)).astype(y.dtype).reshape(len(samples), *shape)
        return y * self.saved.masks[name]


def _stack(steps: list[Array], given: Mapping[str, Array]) -> Array:
    """(T, B, *shape); an empty run keeps its zero steps."""
    if steps:
        return np.stack(steps)
    example = next(iter(given.values()))
    return np.zeros((0, *example.shape[1:]), example.dtype)
