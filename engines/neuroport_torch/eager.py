"""A segment's time loop step by step in torch: any device, any node. The plain version of the kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from neuroport.dynamics.ops import Table
from neuroport.dynamics.printer import python_function
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.stepping import Arrays, step, step_back, take_states
from neuroport_torch.arena import Arena
from neuroport_torch.layers import LAYERS, Layer
from neuroport_torch.stepped import Past, Ran, Record, Reversed, Tensors

Tensor = torch.Tensor


class EagerLoop:
    """Runs ``stepping.step`` and ``stepping.step_back`` on tensors."""

    restores = False

    def __init__(
        self, program: Program, segment: Stepped, table: Table, layers: Mapping[str, Layer] = LAYERS,
    ):
        self.program, self.segment, self.layers = program, segment, layers
        self.neurons = [name for name in segment.nodes if name in program.neurons]
        self.steps = {name: program.neurons[name].traced for name in self.neurons}
        self.reverses = {name: python_function(program.neurons[name].traced.reverse, table, "reverse")
                         for name in self.neurons}

    def forward(
        self, arrays: Arrays, state: Tensors, given: Tensors, keep: Mapping[str, tuple[str, ...]],
        record: tuple[Record, ...], masks: Tensors, arena: Arena,
    ) -> Ran:
        outputs: dict[str, list[Tensor]] = {name: [] for name in self.segment.nodes}
        cuts: dict[str, dict[str, list[Tensor]]] = {name: {key: [] for key in keys} for name, keys in keep.items()}
        records: dict[Record, list[Tensor]] = {wanted: [] for wanted in record}
        apply = self._layers(masks, lambda layer, node, own, x, shape: layer.apply(node, own, x))
        carry = take_states(self.program, self.segment, state)
        for now in self._steps(given):
            carry, emitted = step(self.program, self.segment, apply, arrays, carry, now, keep, record)
            for name, y in emitted.outputs.items():
                outputs[name].append(y)
            for name, keys in cuts.items():
                for key, steps in keys.items():
                    steps.append(emitted.cuts[name][key])
            for wanted, steps in records.items():
                steps.append(emitted.records[wanted])
        example = next(iter(given.values()))

        def stacked(name: str, steps: list[Tensor]) -> Tensor:
            shape = (example.shape[1], *self.program.leaving[name])
            into = arena.empty((len(steps), *shape), example.dtype, example.device)
            return torch.stack([value.expand(shape) for value in steps], out=into) if steps else into

        return Ran(
            {name: stacked(name, steps) for name, steps in outputs.items()},
            {name: {key: stacked(name, steps) for key, steps in keys.items()} for name, keys in cuts.items()},
            {wanted: stacked(wanted[0], steps) for wanted, steps in records.items()},
            {key: torch.stack(value) if isinstance(value, tuple) else value.clone() for key, value in carry.items()},
        )

    def reverse(self, arrays: Arrays, past: Past, cotangents: Tensors, masks: Tensors, arena: Arena) -> Reversed:
        example = next(iter(cotangents.values()))
        carry = self._last_cotangents(example, past.of_after)
        zeros = {name: example.new_zeros((example.shape[1], *self.program.leaving[name]))
                 for name in self.segment.nodes}
        transpose = self._layers(masks, lambda layer, node, own, dy, shape: layer.transpose(node, own, dy, shape), True)
        read = [{} for _ in range(len(example))]
        for name, of in past.read.items():
            for now, saved in zip(read, self._steps(of, len(example)), strict=True):
                now[name] = saved
        given: dict[str, list[Tensor]] = {name: [] for name in self.segment.nodes}
        stateless: dict[str, list[Tensor]] = {name: [] for name in self.segment.nodes if name not in self.neurons}
        of_outputs = self._steps(cotangents)
        for t in reversed(range(len(example))):
            carry, of_given, of_stateless = step_back(
                self.program, self.segment, transpose, self.reverses, arrays, carry, {**zeros, **of_outputs[t]}, read[t]
            )
            for name, value in of_given.items():
                given[name].append(value)
            for name, value in of_stateless.items():
                stateless[name].append(value)
        coefficients = {name: {key: carry[f"{name}:c.{key}"] for key in self.program.neurons[name].traced.trained}
                        for name in self.neurons}
        return Reversed(
            {name: torch.stack(steps[::-1]) for name, steps in given.items() if steps},
            {name: torch.stack(steps[::-1]) for name, steps in stateless.items() if steps}, coefficients,
            {key: carry[key] for key in past.of_after},
        )

    def _last_cotangents(self, example: Tensor, of_after: Tensors) -> dict[str, Any]:
        """Those of the states; of lines zeros: what they hold after the run counts as cotangent of what was sent."""
        batch = example.shape[1]
        carry: dict[str, Any] = {}
        for name in self.neurons:
            bound = self.program.neurons[name]
            zero = example.new_zeros((batch, *bound.shape))
            carry.update({f"{name}.{key}": of_after[f"{name}.{key}"] for key in bound.state})
            carry.update({f"{name}:c.{key}": zero for key in bound.traced.trained})
        for edge in self.segment.internal:
            if edge.delay:
                carry[edge.key] = (example.new_zeros((batch, *self.program.leaving[edge.source])),) * edge.delay
        return carry

    def _layers(self, masks: Tensors, run: Callable[..., Tensor], reverse: bool = False) -> Callable[..., Tensor]:
        """A function of ``stepping.Apply`` over the lowering table, dropout's masks included."""

        def masked(name: str, value: Tensor) -> Tensor:
            return value * masks[name] if name in masks else value

        def apply(name: str, own: Mapping[str, Tensor], value: Tensor) -> Tensor:
            node = self.program.node(name)
            value = masked(name, value) if reverse else value
            found = run(self.layers[type(node).__name__], node, own, value, self.program.entering[name])
            return found if reverse else masked(name, found)

        return apply

    @staticmethod
    def _steps(values: Mapping[str, Tensor], count: int = 0) -> list[Tensors]:
        """Arrays over time as one dict a step; ``unbind`` makes all views at once."""
        if not values:
            return [{} for _ in range(count)]
        views = [value.unbind(0) for value in values.values()]
        return [dict(zip(values, now, strict=True)) for now in zip(*views, strict=True)]
