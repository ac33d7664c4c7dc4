"""A Loop as two generated functions, on the CPU numba's: of neurons, Linear, Scale, Dropout and Delay."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import prod
from typing import Any

import torch
from neuroport_loops.load import load
from neuroport_loops.loop_source import GROUP, TILE_COLUMNS, Key, Part, Source, forward_source, reverse_source
from torch.nn import functional

from neuroport.dynamics.trace import recorded
from neuroport.model.layers import Scale
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.stepping import Arrays
from neuroport.program.wires import delayed
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.population import as_array, flat, full, over_time, place_for, written_over
from neuroport_torch.kernels.threads import over
from neuroport_torch.marks import in_lanes
from neuroport_torch.precision import bfloat16
from neuroport_torch.stepped import Past, Ran, Record, Reversed, Tensors

Tensor = torch.Tensor


class FusedLoop:
    """The segment of a cycle. What is kept and how it is laid out holds for every kind of kernel."""

    restores = True

    def __init__(
        self, program: Program, segment: Stepped, parts: list[Part], dtype: torch.dtype, rounded: bool = False,
    ):
        """rounded: whether the operands of products are rounded to bfloat16."""
        self.program, self.segment, self.parts, self.rounded = program, segment, parts, rounded
        self.dtype = str(dtype).removeprefix("torch.")
        self.neurons = {part.name: part.traced for part in parts if part.traced is not None}
        self.steps = self.neurons
        self.sizes = [prod(program.leaving[part.name]) for part in parts]
        self.sizes += [prod(program.entering[part.name]) for part in parts]
        edges = segment.internal
        self._forward = cache(lambda given, written: forward_source(parts, edges, given, written, self.dtype, rounded))
        self._reverse = cache(lambda cotangents: reverse_source(parts, edges, cotangents, self.dtype, rounded))
        self._lags = cache(self._lags_on)  # copied to a device once, not in every run

    def forward(
        self, arrays: Arrays, state: Tensors, given: Tensors, keep: Mapping[str, tuple[str, ...]],
        record: tuple[Record, ...], masks: Tensors, arena: Arena,
    ) -> Ran:
        example = next(iter(given.values()))
        steps, batch = example.shape[:2]
        sources = {(name, what): (name, recorded(what))
                   for name, what in record if what != "spikes"}
        written = [(name, full(key)) for name, keys in keep.items() for key in keys] + list(sources.values())
        written = list(dict.fromkeys(written))

        def fresh(name: str, what: str = "") -> Tensor:
            return place_for(what, (steps, batch, *self.program.leaving[name]), example, arena)

        outputs = {part.name: fresh(part.name) for part in self.parts}
        made = {place: fresh(*place) for place in written}
        after = {f"{name}.{key}": written_over(state[f"{name}.{key}"])
                 for name, traced in self.neurons.items() for key in traced.state}
        values = self._constants(arrays, masks, example)
        values |= {("y", name): over_time(value) for name, value in outputs.items()}
        values |= {("given", name): over_time(value) for name, value in given.items()}
        values |= {("w", name, what.replace(".", "_")): over_time(value) for (name, what), value in made.items()}
        values |= {("line", edge.key): over_time(state[edge.key]) for edge in self.segment.internal if edge.delay}
        values |= {("s", *key.rsplit(".", 1)): flat(value) for key, value in after.items()}
        self._run("forward", self._forward(tuple(given), tuple(written)), steps, batch, values)

        for edge in self.segment.internal:
            if edge.delay:
                after[edge.key] = delayed(outputs[edge.source], state[edge.key], edge)[1].clone()
        return Ran(
            outputs, {name: {key: made[name, full(key)] for key in keys} for name, keys in keep.items()},
            {place: outputs[place[0]] if place[1] == "spikes" else made[sources[place]] for place in record}, after,
        )

    def reverse(self, arrays: Arrays, past: Past, cotangents: Tensors, masks: Tensors, arena: Arena) -> Reversed:
        example = next(iter(cotangents.values()))
        steps, batch = example.shape[:2]

        def fresh(shape: tuple[int, ...]) -> Tensor:
            return arena.empty((steps, batch, *shape), example.dtype, example.device)

        given = {part.name: fresh(self.program.entering[part.name]) for part in self.parts}
        stateless = {part.name: fresh(self.program.leaving[part.name]) for part in self.parts if part.kind != "neuron"}
        sums = {name: {key: example.new_zeros((batch, *self.program.leaving[name])) for key in traced.trained}
                for name, traced in self.neurons.items()}
        of_start = {f"{name}.{key}": written_over(past.of_after[f"{name}.{key}"])
                    for name, traced in self.neurons.items() for key in traced.state}
        values = self._constants(arrays, masks, example)
        values |= {("gy", name): over_time(value) for name, value in cotangents.items()}
        values |= {("gx", name): over_time(value) for name, value in given.items()}
        values |= {("dy", name): over_time(value) for name, value in stateless.items()}
        for name, traced in self.neurons.items():
            values |= {("w", name, full(key).replace(".", "_")): over_time(past.cuts[name][key])
                       for key in (*traced.saved, *traced.bits)}
            values |= {("first", name, key): flat(past.start[f"{name}.{key}"]) for key in traced.reads_state}
            values |= {("gs", name, key): flat(of_start[f"{name}.{key}"]) for key in traced.state}
            values |= {("acc", name, key): flat(value) for key, value in sums[name].items()}
            if traced.reads_input:
                values["x", name] = over_time(past.read[name]["x"])
        self._run("reverse", self._reverse(tuple(cotangents)), steps, batch, values)
        return Reversed(given, stateless, sums, of_start)

    def _run(self, name: str, source: Source, steps: int, batch: int, values: Mapping[Key, Tensor]) -> None:
        kernel = load(source.text, name)
        tail = [as_array(values[key]) for key in source.keys]
        over(batch, GROUP, lambda lo, hi: kernel(steps, lo, hi, *self.sizes, *tail))

    def _constants(self, arrays: Arrays, masks: Tensors, example: Tensor) -> dict[Key, Tensor]:
        """Coefficients, parameters and lags in the layouts that the kernels read, on the example's device."""
        found: dict[Key, Tensor] = {
            ("lags", edge.key): self._lags(edge.key, example.device)
            for edge in self.segment.internal if edge.lags is not None}
        for name, traced in self.neurons.items():
            shape = self.program.leaving[name]
            found |= {("c", name, key): flat(arrays.coefficients[name][key].expand(shape))
                      for key in traced.coefficients}
        for part in self.parts:
            node, own = self.program.node(part.name), arrays.parameters.get(part.name, {})
            if part.kind == "product":
                weight = own["weight"].detach()
                found |= {(key, part.name): value for key, value in self._matrices(weight).items()}
                found["bias", part.name] = flat(own["bias"]) if "bias" in own else example.new_zeros(len(weight))
            elif part.kind == "factor":
                found["factor", part.name] = self._factor(node, own, masks.get(part.name), part.name, example)
        return found

    def _lags_on(self, key: str, device: torch.device) -> Tensor:
        (edge,) = (edge for edge in self.segment.internal if edge.key == key and edge.lags is not None)
        return flat(torch.as_tensor(edge.lags.steps, device=device).expand(self.program.leaving[edge.source]))

    def _matrices(self, weight: Tensor) -> Tensors:
        """A product's weights as the kernels read them, forward and in reverse."""
        weight = bfloat16(weight) if self.rounded else weight
        padded = functional.pad(weight, (0, -weight.shape[1] % TILE_COLUMNS))
        chunks = padded.view(len(weight), -1, TILE_COLUMNS).transpose(0, 1).contiguous()
        return {"rows": in_lanes(weight), "chunks": chunks}

    def _factor(self, node: Any, own: Tensors, mask: Tensor | None, name: str, example: Tensor) -> Tensor:
        """What a node multiplies by, (M,)."""
        given = own.get("scale", node.scale) if isinstance(node, Scale) else mask
        # a number is filled in on the device: copied there, it would be waited for
        factor = given if isinstance(given, Tensor) else example.new_full((), 1.0 if given is None else given)
        return flat(factor.expand(example.shape[1], *self.program.leaving[name]))
