"""A program on torch: how nodes and segments run, for ``program.execute``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from neuroport_loops.loop_source import parts_of

from neuroport.model.layers import Dropout, Linear
from neuroport.model.nodes import Input
from neuroport.program.execute import Activity, Records, execute
from neuroport.program.lower import Program
from neuroport.program.noise import keep, stream_of
from neuroport.program.schedule import Population, Stepped
from neuroport.program.stepping import Arrays
from neuroport_torch import products
from neuroport_torch.along import owing, taken_along
from neuroport_torch.arena import Arena
from neuroport_torch.eager import EagerLoop
from neuroport_torch.exact import exact_in_bfloat16
from neuroport_torch.layers import LAYERS, ROUNDED
from neuroport_torch.marks import Marked, Owed, Product
from neuroport_torch.ops import table
from neuroport_torch.stepped import TimeLoop, run_segment

Tensor = torch.Tensor
HAS_TRITON = find_spec("triton") is not None
OLDEST = (8, 0)  # compute capability: kernels are compiled and tested from here on


class Noise(NamedTuple):
    """``engine.base.Noise`` with its arrays on the device, int64. epoch: (1,)."""

    seed: int
    epoch: Tensor
    samples: Tensor


def language(device: torch.device) -> str | None:
    """What kernels for a device are written in; None where there are none, and segments run step by step."""
    if device.type == "cpu" and products.HAS_NUMBA:
        return "numba"
    if device.type == "cuda" and HAS_TRITON and torch.cuda.get_device_capability(device) >= OLDEST:
        return "triton"
    return None


class Compiled:
    """A program with a time loop for each of its segments."""

    def __init__(
        self, program: Program, dtype: torch.dtype, device: torch.device, fused: bool = True, rounded: bool = False,
    ):
        """rounded: whether the operands of products are rounded to bfloat16, of a program in float32."""
        self.program, self.dtype, self.device, self.fused = program, dtype, device, fused
        self.table = table(dtype)
        self.rounded, self.layers = rounded, ROUNDED if rounded else LAYERS
        self.exact, self.written_in = exact_in_bfloat16(program), language(device)
        self.loops: dict[Stepped, TimeLoop] = {
            segment: self._loop(segment, fused) for segment in program.segments if isinstance(segment, Stepped)
        }
        self.along = taken_along(program, [
            segment.nodes[0] for segment, loop in self.loops.items() if getattr(loop, "takes_along", False)])

    def _loop(self, segment: Stepped, fused: bool) -> TimeLoop:
        """A generated kernel where there is one for this device and these nodes, else the plain loop."""
        parts = parts_of(self.program, segment) if fused else None
        if parts is not None and self.written_in == "numba":
            from neuroport_torch.kernels.loop import FusedLoop
            from neuroport_torch.kernels.population_along import PopulationAlong

            if isinstance(segment, Population):
                return PopulationAlong(self.program.neurons[segment.nodes[0]], self.dtype)
            return FusedLoop(self.program, segment, parts, self.dtype, self.rounded)
        if parts is not None and self.written_in == "triton":
            from neuroport_torch.kernels.triton_loop import TritonLoop, fits
            from neuroport_torch.kernels.triton_population import TritonPopulation

            if isinstance(segment, Population):
                return TritonPopulation(self.program.neurons[segment.nodes[0]], self.dtype)
            if fits(self.program, segment):
                return TritonLoop(self.program, segment, parts, self.dtype, self.rounded)
        return EagerLoop(self.program, segment, self.table, self.layers)

    def describe(self) -> dict[str, str]:
        """How each segment runs through time, by its nodes."""
        return {", ".join(segment.nodes): type(loop).__name__ for segment, loop in self.loops.items()}

    def run(
        self, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor], inputs: Mapping[str, Tensor],
        arena: Arena, record: Records = (), masks: Mapping[str, Tensor] | None = None,
        ways: dict[str, str] | None = None, wanted: Collection[str] | None = None,
    ) -> Activity:
        """Differentiable in the parameters. masks: of dropout. ways: filled with the way each product was taken.
        wanted: nodes whose outputs are asked for, None for all."""
        runner = Runner(self, arena, dict(masks or {}), {} if ways is None else ways, wanted)
        return execute(self.program, runner, parameters, state, inputs, record, wanted)

    def masks(self, noise: Noise | None) -> dict[str, Tensor]:
        """What each dropout multiplies a batch by, (B, *shape); nothing where there is no noise."""
        if noise is None:
            return {}
        return {name: self._mask(name, node, noise) for name, node in self.program.model.nodes.items()
                if isinstance(node, Dropout) and node.p > 0}

    def _mask(self, name: str, node: Dropout, noise: Noise) -> Tensor:
        """(B, *shape): 0 where a unit is silenced, else 1 / (1 - p)."""
        shape, device = self.program.leaving[name], self.device
        units = torch.arange(int(torch.Size(shape).numel()), device=device)
        kept = keep(stream_of(name), noise.seed, noise.epoch, noise.samples, units, node.p, int)
        return (kept.to(self.dtype) * (1 / (1 - node.p))).reshape(-1, *shape)

    def zero_state(self, batch: int) -> dict[str, Tensor]:
        return {name: torch.zeros(shape, dtype=self.dtype, device=self.device)
                for name, shape in self.program.state_shapes(batch).items()}


class Runner:
    """One run."""

    def __init__(
        self, compiled: Compiled, arena: Arena, masks: dict[str, Tensor], ways: dict[str, str],
        wanted: Collection[str] | None = None,
    ):
        self.compiled, self.program, self.arena = compiled, compiled.program, arena
        self.masks, self.ways, self.wanted = masks, ways, wanted
        self.owing = owing(compiled.along, wanted)

    def parallel(self, name: str, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        node, marks = self.program.node(name), None
        if isinstance(x, Marked):
            if isinstance(node, Input):
                return x
            x, marks = x.as_subclass(Tensor), x.marks
        rows = x.flatten(0, 1)
        owed = Product() if name in self.owing else None
        if isinstance(node, Linear):
            y, way = products.linear(
                rows, parameters["weight"], parameters.get("bias"), self.arena, self.compiled.rounded,
                name in self.compiled.exact, marks, owed)
            self.ways[name] = way
        else:
            y = self.compiled.layers[type(node).__name__].apply(node, parameters, rows)
        y = y.reshape(*x.shape[:2], *y.shape[1:])
        if owed is not None and owed.due:
            return Owed.standing_for(owed, y)
        return y * self.masks[name] if name in self.masks else y

    def stepped(
        self, segment: Stepped, arrays: Arrays, state: Mapping[str, Tensor], given: Mapping[str, Tensor],
        record: Records,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[tuple[str, str], Tensor]]:
        of = self.compiled
        return run_segment(
            of.program, segment, of.loops[segment], of.table, of.layers, arrays, state,
            {name: x.as_subclass(Tensor) for name, x in given.items()}, tuple(record), self.masks, self.arena,
            self._along(segment, given, record),
        )

    def _along(self, segment: Stepped, given: Mapping[str, Tensor], record: Records) -> dict[str, Any]:
        """What a population's kernel takes along in this run: the product before it, the marks of its spikes."""
        (name, *_) = segment.nodes
        plan, x = self.compiled.along.get(name), given.get(name)
        if plan is None or x is None:
            return {}
        kept = self.wanted is None or name in self.wanted or any(node == name for node, _ in record)
        rows, leaving = x.shape[:2].numel(), self.program.leaving
        large = all(rows * leaving[name][0] * leaving[reader][0] >= products.LARGE for reader in plan.readers)
        marked = bool(plan.readers) and large and not kept
        product = x.product if isinstance(x, Owed) else None
        return {"product": product, "marked": marked} if marked or product is not None else {}
