"""Populations as Pallas kernels for GPUs; their plain version is ``stepped.py``, with the same signatures.

One program of the grid owns a block of the B x N neurons and runs all their steps, the state in
registers. The equations are the recorded step's (``dynamics/trace.py``), and so is the reverse: it
reads the saved values of the cut and recomputes the rest.

Pallas' Triton backend is used here alone, as jax 0.10 and 0.11 have it. 0.11 announces that it will go;
where it is gone, ``ways.py`` takes the scan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from neuroport.dynamics.ops import Table
from neuroport.dynamics.printer import python_function
from neuroport.dynamics.trace import recorded
from neuroport.program.bound import BoundNeuron
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.stepping import Arrays, Carry
from neuroport_jax import ops
from neuroport_jax.stepped import Given, unbroadcast

Array = jax.Array
Named = dict[str, Array]

LANES = 128  # neurons of one program of the grid, one a thread; a power of two, as Triton asks
WARPS = LANES // 32
TOGETHER = 4  # steps whose values are read before the first of them is computed: their latencies overlap

# inside a kernel nothing is differentiated
TABLE: Table = {
    **ops.TABLE, "abs": jnp.abs, "detach": lambda x: x, "select": lambda z, a, b: jnp.where(z > 0, a, b),
    "spike": lambda u, surrogate, inclusive: jnp.where(u >= 0 if inclusive else u > 0, 1.0, 0.0).astype(u.dtype),
}


@dataclass(frozen=True)
class Block:
    """The neurons of one program: places in the flattened B x N, and which of them are there."""

    layout: Layout
    lanes: Array
    there: Array

    def read(self, ref: Any, *at: Any) -> Array:
        """One value a neuron, of an array (..., B x N) at ``at``."""
        return triton.load(ref.at[(*at, self.lanes)], mask=self.there, other=0.0)

    def read_own(self, ref: Any) -> Array:
        """One value a neuron, of a coefficient: one for all, or (N,)."""
        if ref.shape == (1,):
            return jnp.broadcast_to(ref[0], (LANES,))
        return triton.load(ref.at[lax.rem(self.lanes, jnp.int32(self.layout.units))], mask=self.there, other=0.0)

    def write(self, ref: Any, value: Any, *at: Any) -> None:
        triton.store(ref.at[(*at, self.lanes)], self.full(value), mask=self.there)

    def full(self, value: Any) -> Array:
        """A value that may be a number of the model, as one a neuron."""
        return jnp.broadcast_to(jnp.asarray(value, self.layout.dtype), (LANES,))


@dataclass(frozen=True)
class Layout:
    """How a population lies in memory: (T, B, *shape) as (T, B x N)."""

    steps: int
    batch: int
    shape: tuple[int, ...]
    dtype: Any

    @property
    def units(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> int:
        return self.batch * self.units

    def flat(self, value: Array) -> Array:
        """(T, B, *shape) -> (T, B x N), (B, *shape) -> (B x N,)."""
        return value.reshape(*value.shape[: value.ndim - 1 - len(self.shape)], self.size)

    def flat_own(self, value: Array) -> Array:
        """A coefficient: (1,) where it is one number, else (N,)."""
        value = jnp.asarray(value, self.dtype)
        return value.reshape(1) if value.size == 1 else jnp.broadcast_to(value, self.shape).reshape(-1)

    def whole(self, value: Array) -> Array:
        return value.reshape(*value.shape[:-1], self.batch, *self.shape)

    def launch(
        self, body: Callable[[Block, dict[str, Any]], None], given: Named, once: Sequence[str],
        each_step: Sequence[str], interpret: bool,
    ) -> Named:
        """Run ``body`` for every block on refs by name, and give what it wrote: (B x N,) and (T, B x N) arrays."""
        names = [*given, *once, *each_step]

        def kernel(*refs: Any) -> None:
            lanes = pl.program_id(0) * LANES + jnp.arange(LANES, dtype=jnp.int32)
            body(Block(self, lanes, lanes < self.size), dict(zip(names, refs, strict=True)))

        def outline(*axes: int) -> Any:
            return jax.ShapeDtypeStruct((*axes, self.size), self.dtype)

        # refs to whole arrays: a block of one would be staged for all steps
        whole = pl.BlockSpec(memory_space=pl.ANY)
        found = pl.pallas_call(
            kernel, out_shape=[*(outline() for _ in once), *(outline(self.steps) for _ in each_step)],
            grid=(pl.cdiv(self.size, LANES),), in_specs=[whole] * len(given),
            out_specs=[whole] * (len(names) - len(given)), interpret=interpret,
            compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=1),
        )(*given.values())
        return dict(zip(names[len(given) :], found, strict=True))

    def through(
        self, read: Callable[[Any], Any], step: Callable[[Any, Any, Any], Any], start: Any, backward: bool = False,
    ) -> Any:
        """start = step(t, what ``read`` gives of some steps from t on, place of t among them), for every t in order."""

        def several(first: Any, count: int, state: Any) -> Any:
            times = [first - k if backward else first + k for k in range(count)]
            values = read(times)
            for k, t in enumerate(times):
                state = step(t, values[k], state)
            return state

        def turn(index: Any, state: Any) -> Any:
            done = index * TOGETHER
            return several(self.steps - 1 - done if backward else done, TOGETHER, state)

        turns, rest = divmod(self.steps, TOGETHER)
        if turns:
            start = lax.fori_loop(0, turns, turn, start)
        return several(rest - 1 if backward else self.steps - rest, rest, start) if rest else start


def kernel_forward(
    program: Program, segment: Stepped, arrays: Arrays, carry: Carry, given: Given,
    keep: Mapping[str, tuple[str, ...]], record: tuple[tuple[str, str], ...] = (), interpret: bool = False,
) -> tuple[Carry, Named, dict[str, Named], dict[tuple[str, str], Array]]:
    """All steps of a population: last carry, output (T, B, *shape), cuts, records."""
    (name,) = segment.nodes
    bound = program.neurons[name]
    traced, layout = bound.traced, _layout(bound, given[name])
    before, after = (python_function(graph, TABLE, "step") for graph in (traced.before, traced.after))
    kept = keep.get(name, ())
    wanted = [what for _, what in record if what != "spikes"]
    last = {field: f"last.{field}" for field in bound.state}
    put = {"out": "out", **{f"cut.{field}": f"cut.{field}" for field in kept},
           **{recorded(what): f"record.{what}" for what in wanted}}

    def body(block: Block, refs: dict[str, Any]) -> None:
        c = _coefficients(block, traced.coefficients, refs)

        def read(times: Sequence[Any]) -> list[Array]:
            return [block.read(refs["x"], t) for t in times]

        def step(t: Any, x: Array, state: Named) -> Named:
            cut = before({**c, **state, "x": x})
            done = after({**c, **cut})
            for key, place in put.items():
                block.write(refs[place], {**cut, **done}[key], t)
            return {f"s.{field}": block.full(done[f"s.{field}"]) for field in bound.state}

        state = layout.through(read, step, {f"s.{field}": block.read(refs[f"s.{field}"]) for field in bound.state})
        for field, place in last.items():
            block.write(refs[place], state[f"s.{field}"])

    inputs = {"x": layout.flat(given[name]), **_states(layout, name, bound, carry),
              **_arrays(layout, arrays, name, traced.coefficients)}
    found = {key: layout.whole(value) for key, value in
             layout.launch(body, inputs, list(last.values()), list(dict.fromkeys(put.values())), interpret).items()}
    records = {(node, what): found["out" if what == "spikes" else f"record.{what}"] for node, what in record}
    return ({f"{name}.{field}": found[place] for field, place in last.items()}, {name: found["out"]},
            {name: {field: found[f"cut.{field}"] for field in kept}}, records)


def kernel_backward(
    program: Program, segment: Stepped, arrays: Arrays, coefficients: Any, parameters: Any, first: Carry,
    given: Given, outputs: Given, cuts: Mapping[str, Given], of_last: Carry, of_outputs: Given,
    interpret: bool = False,
) -> tuple[Any, Any, Carry, Given]:
    """All steps in reverse: cotangents of coefficients, parameters (there are none), first carry and given."""
    (name,) = segment.nodes
    bound = program.neurons[name]
    traced, layout = bound.traced, _layout(bound, given[name])
    reverse, restore = (python_function(graph, TABLE, "reverse") for graph in (traced.reverse, traced.restore))
    first_of = {f"s.{field}": f"first.{field}" for field in bound.state}
    sum_of = {f"c.{key}": f"sum.{key}" for key in traced.trained}

    def body(block: Block, refs: dict[str, Any]) -> None:
        c = _coefficients(block, traced.coefficients, refs)
        at_first = {f"s.{field}": block.read(refs[f"s.{field}"]) for field in traced.reads_state}

        def read(times: Sequence[Any]) -> list[Named]:
            # a state before a step is restored from the cut of the step before
            earlier = [jnp.maximum(times[-1] - 1, 0)] if traced.reads_state else []
            kept = [{f"cut.{field}": block.read(refs[f"cut.{field}"], t) for field in traced.saved}
                    for t in (*times, *earlier)]
            found = []
            for k, t in enumerate(times):
                seen = {**kept[k], "g.out": block.read(refs["g.out"], t)}
                if traced.reads_input:
                    seen["x"] = block.read(refs["x"], t)
                if traced.reads_state:
                    states = restore({**c, **kept[k + 1]})
                    seen.update({f"s.{field}": jnp.where(t > 0, block.full(states[field]), at_first[f"s.{field}"])
                                 for field in traced.reads_state})
                found.append(seen)
            return found

        def step(t: Any, seen: Named, state: Named) -> Named:
            found = reverse({**c, **seen, **{f"g.s.{field}": state[f"s.{field}"] for field in bound.state}})
            block.write(refs["dx"], found["x"], t)
            return {key: block.full(found[key] if key in first_of else state[key] + found[key]) for key in state}

        start = {key: block.read(refs[f"g.{key}"]) for key in first_of}
        start |= {key: jnp.zeros(LANES, layout.dtype) for key in sum_of}
        state = layout.through(read, step, start, backward=True)
        for key, place in {**first_of, **sum_of}.items():
            block.write(refs[place], state[key])

    inputs = {
        "g.out": layout.flat(of_outputs[name]),
        **{f"cut.{field}": layout.flat(cuts[name][field]) for field in traced.saved},
        **({"x": layout.flat(given[name])} if traced.reads_input else {}),
        **{key: value for key, value in _states(layout, name, bound, first).items() if key[2:] in traced.reads_state},
        **{f"g.{key}": value for key, value in _states(layout, name, bound, of_last).items()},
        **_arrays(layout, arrays, name, traced.coefficients),
    }
    found = {key: layout.whole(value) for key, value in
             layout.launch(body, inputs, [*first_of.values(), *sum_of.values()], ["dx"], interpret).items()}
    of_coefficients = {key: unbroadcast(found[sum_of[f"c.{key}"]], value.shape) if f"c.{key}" in sum_of
                       else jnp.zeros_like(value) for key, value in coefficients[name].items()}
    of_first = {f"{name}.{field}": found[f"first.{field}"] for field in bound.state}
    return {name: of_coefficients}, parameters, of_first, {name: found["dx"]}


def _layout(bound: BoundNeuron, x: Array) -> Layout:
    return Layout(x.shape[0], x.shape[1], bound.shape, x.dtype)


def _coefficients(block: Block, names: Sequence[str], refs: Mapping[str, Any]) -> Named:
    return {f"c.{key}": block.read_own(refs[f"c.{key}"]) for key in names}


def _states(layout: Layout, name: str, bound: BoundNeuron, carry: Carry) -> Named:
    return {f"s.{field}": layout.flat(carry[f"{name}.{field}"]) for field in bound.state}


def _arrays(layout: Layout, arrays: Arrays, name: str, names: Sequence[str]) -> Named:
    return {f"c.{key}": layout.flat_own(arrays.coefficients[name][key]) for key in names}
