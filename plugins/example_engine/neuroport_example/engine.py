"""The engine: a program forward, segment by segment, and backward the same way in reverse.

Everything that decides a number comes from neuroport: the order of nodes and sums (``execute``), one
step of a segment (``step``) and its reverse (``step_back``). The loops over time are the engine's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.printer import python_function
from neuroport.dynamics.tape import Graph, Tape
from neuroport.engine.base import Engine, Gradients, Noise, Options, Record, RunResult, Trainable
from neuroport.engine.capabilities import FULL, Capabilities, stepping_engine
from neuroport.engine.optimize import KNOWN
from neuroport.program.cotangents import judge
from neuroport.program.execute import execute
from neuroport.program.lower import Program
from neuroport.program.schedule import Parallel, Stepped
from neuroport.program.stepping import Arrays, reaching, step, step_back, take_states
from neuroport.program.wires import undelayed
from neuroport_example.layers import LAYERS, sum_to

Array = np.ndarray


class ExampleEngine(Engine):
    """Plain NumPy in float32."""

    name = "example"

    def devices(self) -> list[str]:
        return ["cpu"]

    def capabilities(self, device: str | None = None) -> Capabilities:
        # the keys of the tables that do the work: a claim cannot outrun the code
        optimizers = {f"optimizer.{name}": FULL for name in KNOWN}
        return Capabilities({**stepping_engine(LAYERS), **optimizers}, precisions=("float32",))

    def compile(self, program: Program, options: Options) -> ExampleExecutable:
        return ExampleExecutable(program, options)


class ExampleExecutable(Trainable):
    """Nothing to compile: the program is interpreted.

    Staging, batches, optimizers and evaluation are ``Trainable``'s, in NumPy; replace them when you
    care for speed.
    """

    def __init__(self, program: Program, options: Options):
        self.program, self.options = program, options

    def load(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.asarray(value, np.float32) for name, value in parameters.items()}

    def export(self, handle: Mapping[str, Array]) -> dict[str, Array]:
        return {name: value.copy() for name, value in handle.items()}

    def init_state(self, batch: int) -> dict[str, Array]:
        return {name: np.zeros(shape, np.float32) for name, shape in self.program.state_shapes(batch).items()}

    def run(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, Array], record: Sequence[Record] = ()
    ) -> RunResult:
        activity = execute(self.program, Forward(self.program), handle, _float32(state), _float32(inputs), record)
        records: dict[str, dict[str, Array]] = {}
        for (node, what), trace in activity.records.items():
            records.setdefault(node, {})[what] = trace
        outputs = {name: activity.values[name] for name in self.program.outputs}
        return RunResult(outputs, records, activity.state)

    def gradients(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, Array], targets: Array,
        weights: Array | None = None, noise: Noise | None = None,
    ) -> Gradients:
        # noise is for Dropout, which this engine does not claim
        batch = next(iter(inputs.values())).shape[1]
        shares = np.full(batch, 1 / batch) if weights is None else weights
        forward = Forward(self.program)
        values = execute(self.program, forward, handle, _float32(state), _float32(inputs)).values
        judged = judge(self.program, self.training, values, handle, targets, np.asarray(shares, np.float32))
        through = backward(self.program, forward, handle, values, judged.activity)
        return Gradients(judged.loss, {name: value + judged.parameters.get(name, 0.0)
                                       for name, value in through.items()})


def _float32(arrays: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(value, np.float32) for name, value in arrays.items()}


class Forward:
    """How nodes and segments run, for ``execute``; it keeps what a reverse pass will read.

    seen: what entered each stateless node, (T, B, *shape). saved: for each neuron, step by step, what
    its reverse reads. arrays: the coefficients and parameters of each stepped segment.
    """

    def __init__(self, program: Program):
        self.program = program
        self.seen: dict[str, Array] = {}
        self.saved: dict[str, list[dict[str, Array]]] = {}
        self.arrays: dict[Stepped, Arrays] = {}

    def apply(self, name: str, parameters: Mapping[str, Array], x: Array) -> Array:
        node = self.program.node(name)
        return LAYERS[type(node).__name__].forward(node, parameters, x)

    def parallel(self, name: str, parameters: Mapping[str, Array], x: Array) -> Array:
        """A stateless node over all T x B at once: one large product, not T small ones."""
        self.seen[name] = x
        y = self.apply(name, parameters, x.reshape(-1, *x.shape[2:]))
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def stepped(
        self, segment: Stepped, arrays: Arrays, state: Mapping[str, Array], given: Mapping[str, Array],
        record: Sequence[Record],
    ) -> tuple[dict[str, Array], dict[str, Array], dict[Record, Array]]:
        """A population, or a cycle of nodes, through time."""
        program, neurons = self.program, [name for name in segment.nodes if name in self.program.neurons]
        keep = {name: program.neurons[name].traced.saved for name in neurons}
        entered: dict[str, list[Array]] = {name: [] for name in segment.nodes}
        saved: dict[str, list[dict[str, Array]]] = {name: [] for name in neurons}
        steps = []

        def apply(name: str, parameters: Mapping[str, Array], x: Array) -> Array:
            entered[name].append(x)
            return self.apply(name, parameters, x)

        carry = take_states(program, segment, state)
        for t in range(len(next(iter(given.values())))):
            before, now = carry, {name: x[t] for name, x in given.items()}
            carry, emitted = step(program, segment, apply, arrays, before, now, keep, record)
            steps.append(emitted)
            for name in neurons:
                traced = program.neurons[name].traced
                reads = {f"cut.{field}": value for field, value in emitted.cuts[name].items()}
                reads |= {f"s.{field}": before[f"{name}.{field}"] for field in traced.reads_state}
                if traced.reads_input:
                    reads["x"] = reaching(segment, name, now, before, emitted.outputs)
                saved[name].append(reads)
        self.saved |= saved
        self.seen |= {name: np.stack(xs) for name, xs in entered.items() if xs}
        self.arrays[segment] = arrays
        return (
            {name: np.stack([emitted.outputs[name] for emitted in steps]) for name in segment.nodes},
            {key: np.stack(value) if isinstance(value, tuple) else value for key, value in carry.items()},
            {wanted: np.stack([emitted.records[wanted] for emitted in steps]) for wanted in record},
        )


def backward(
    program: Program, forward: Forward, parameters: Mapping[str, Array], values: Mapping[str, Array],
    cotangents: Mapping[str, Array],
) -> dict[str, Array]:
    """Cotangents of every trainable parameter, from those of some nodes' outputs (T, B, *shape)."""
    dys = {name: np.zeros_like(value) for name, value in values.items()}
    for name, cotangent in cotangents.items():
        dys[name] += cotangent
    found = {name: np.zeros_like(parameters[name]) for name in program.trainable}

    def transpose(name: str, own: Mapping[str, Array], dy: Array) -> Array:
        node = program.node(name)
        return LAYERS[type(node).__name__].backward(node, own, dy, program.entering[name])

    def weights(name: str, dy: Array) -> None:
        layer, x, own = LAYERS[type(program.node(name)).__name__], forward.seen[name], program.local(name, parameters)
        got = layer.weights(own, x.reshape(-1, *x.shape[2:]), dy.reshape(-1, *dy.shape[2:]))
        for field in got.keys() & {full.rsplit(".", 1)[1] for full in found if full.rsplit(".", 1)[0] == name}:
            found[f"{name}.{field}"] += got[field]

    for segment in reversed(program.segments):
        if isinstance(segment, Parallel):
            name, dy = segment.node, dys[segment.node]
            weights(name, dy)
            dx = transpose(name, program.local(name, parameters), dy.reshape(-1, *dy.shape[2:]))
            dxs = {name: dx.reshape(*dy.shape[:2], *dx.shape[1:])}
        else:
            dxs, of_layers, of_coefficients = _through_time(program, forward, segment, dys, transpose)
            for name, dy in of_layers.items():
                weights(name, dy)
            for name, its in of_coefficients.items():
                for full, value in _of_parameters(program, name, parameters, its).items():
                    found[full] += value
        for name, dx in dxs.items():
            for edge in program.external(segment, name):
                dys[edge.source] += undelayed(dx, edge)
    return found


def _through_time(
    program: Program, forward: Forward, segment: Stepped, dys: Mapping[str, Array], transpose: Any
) -> tuple[dict[str, Array], dict[str, Array], dict[str, dict[str, Array]]]:
    """A stepped segment in reverse time: cotangents of what was given to each node and of each layer's
    output (T, B, *shape), and of each neuron's coefficients (B, *shape)."""
    neurons = {name: program.neurons[name] for name in segment.nodes if name in program.neurons}
    reverses = {name: python_function(bound.traced.reverse, ops.NUMPY) for name, bound in neurons.items()}
    zero = {name: np.zeros_like(dys[name][0]) for name in segment.nodes}
    carry: dict[str, Any] = {f"{name}.{field}": zero[name] for name, bound in neurons.items() for field in bound.state}
    carry |= {f"{name}:c.{key}": zero[name] for name, bound in neurons.items() for key in bound.traced.trained}
    carry |= {edge.key: (zero[edge.source],) * edge.delay for edge in segment.internal if edge.delay}
    given, layers = [], []
    for t in reversed(range(len(dys[segment.nodes[0]]))):
        carry, of_given, of_layers = step_back(
            program, segment, transpose, reverses, forward.arrays[segment], carry,
            {name: dys[name][t] for name in segment.nodes}, {name: forward.saved[name][t] for name in neurons},
        )
        given.append(of_given)
        layers.append(of_layers)
    return (
        {name: np.stack([of[name] for of in reversed(given)]) for name in segment.nodes},
        {name: np.stack([of[name] for of in reversed(layers)]) for name in segment.nodes if name not in neurons},
        {name: {key: carry[f"{name}:c.{key}"] for key in bound.traced.trained} for name, bound in neurons.items()},
    )


def _of_parameters(
    program: Program, name: str, parameters: Mapping[str, Array], cotangents: Mapping[str, Array]
) -> dict[str, Array]:
    """From a neuron's coefficients (alpha, gain, ...) to the trainable parameters they come from (tau, ...)."""
    bound, tape = program.neurons[name], Tape()
    nodes = {full: tape.input(full) for full in (*bound.arrays, *bound.biases)}
    coefficients = bound.coefficients(nodes)
    wanted = [full for full in nodes if full in bound.trainable]
    adjoints = tape.backward(
        [(coefficients[key], tape.input(f"g of {key}")) for key in cotangents], [nodes[full] for full in wanted]
    )
    run = python_function(Graph.of(dict(zip(wanted, adjoints, strict=True))), ops.NUMPY)
    of = run({**{full: parameters[full] for full in nodes}, **{f"g of {key}": g for key, g in cotangents.items()}})
    # elementwise, so whatever was broadcast is summed at the end; a constant (no cotangent) is one zero
    batch = next((len(g) for g in cotangents.values()), 1)
    return {full: sum_to(np.broadcast_to(value, (batch, *bound.shape)), parameters[full].shape)
            for full, value in of.items()}
