"""The models of the bit tier: every product in them is exact, so that no order and no fused
multiply-add can change a bit.

Forward Euler with time constants of two steps makes every decay and gain a half. Weights are k / 64
with |k| <= 127 (which an engine of 8-bit weights in steps of 1 / 64 holds exactly) and layers see
zeros and ones, so sums are exact in any order. What follows a neuron that does not spike has one
weight a row, a power of two. Inputs are dense, so that nothing fades into the subnormals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from neuroport.engine.base import Options, RunResult
from neuroport.model.graph import Edge, Model, Recurrent
from neuroport.model.layers import AvgPool2d, Conv1d, Conv2d, Delay, Flatten, Linear, Scale, SumPool2d
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLI, CubaLIF, I, Neuron, Threshold
from neuroport.model.nodes import Input, Output
from neuroport.model.numerics import Numerics
from neuroport.program.initialize import generator
from neuroport.program.lower import Program, lower
from neuroport.program.schedule import Loop
from neuroport.testing.cases import Case
from neuroport.testing.clear import GRID, LARGEST, alive, draw_inputs, every_record, search
from neuroport.testing.networks import Build
from neuroport.testing.subject import reference
from neuroport.testing.tiers import SMALLEST

STEPS = 500
EULER = Numerics(discretization="euler")

NEURONS: dict[str, Callable[[float], Neuron]] = {
    "IF": lambda dt: IF(r=0.25),
    "LIF": lambda dt: LIF(tau=2 * dt),
    "LI": lambda dt: LI(tau=2 * dt),
    "CubaLIF": lambda dt: CubaLIF(tau_syn=2 * dt, tau_mem=2 * dt),
    "CubaLI": lambda dt: CubaLI(tau_syn=2 * dt, tau_mem=2 * dt, w_in=2.0),
    "ALIF": lambda dt: ALIF(tau=2 * dt, tau_adapt=2 * dt, beta=0.25),
    "LIF by decay": lambda dt: LIF.from_decay(0.5, r=0.25),
    "Threshold": lambda dt: Threshold(0.5),
    "I": lambda dt: I(r=0.25),
}

NUMERICS: dict[str, Numerics] = {
    "ge": Numerics(comparison="ge"),
    "hard reset": Numerics(reset="hard"),
    "no reset": Numerics(reset="none"),
    "soft reset delayed": Numerics(reset_delay=1),
    "hard reset delayed": Numerics(reset="hard", reset_delay=1),
    "snntorch rule, soft": Numerics(reset_rule="snntorch"),
    "snntorch rule, hard": Numerics(reset_rule="snntorch", reset="hard"),
    "output delayed": Numerics(output_delay=1),
    "multi-spike": Numerics(multi_spike=True),
    "bias on the membrane": Numerics(bias_on="membrane"),
}


def chain(neuron: Neuron, dt: float, back: bool = False, numerics: Numerics | None = None) -> Model:
    """12 inputs, 16 neurons, and 6 more of them or a readout."""
    layers: dict[str, Any] = {"first": Linear(16), "hidden": Recurrent(Linear(16), neuron) if back else neuron}
    if neuron.spiking:
        layers |= {"second": Linear(6), "last": LIF(tau=2 * dt)}
    return Model.sequential(12, dt, layers, EULER if numerics is None else numerics.over(EULER))


def _image(dt: float) -> Model:
    layers = [Conv2d(4, 3, padding=1), LIF(tau=2 * dt), SumPool2d(2), Scale(0.5), Conv2d(4, 2, groups=2),
              IF(r=0.25, numerics=Numerics(reset="hard")), AvgPool2d((1, 2)), Flatten(), Linear(5), LIF(tau=2 * dt)]
    return Model.sequential((2, 6, 6), dt, layers, EULER)


def _signal(dt: float) -> Model:
    layers = [Conv1d(4, 3, stride=2, padding="same"), LIF(tau=2 * dt), Conv1d(4, 2, padding=1, groups=2, dilation=2),
              Threshold(0.5), Flatten(0, 1), Linear(5), LIF(tau=2 * dt)]
    return Model.sequential((2, 9), dt, layers, EULER)


def delayed(dt: float) -> Model:
    """Delays ahead, on a skip and inside a cycle of two populations."""
    nodes = {"input": Input(shape=(12,)), "first": Linear(16), "a": LIF(tau=2 * dt), "across": Linear(16),
             "b": ALIF(tau=2 * dt, tau_adapt=2 * dt, beta=0.25), "back": Linear(16), "output": Output()}
    edges = [
        Edge("input", "first"), Edge("first", "a", 3), Edge("a", "across"), Edge("across", "b", 1),
        Edge("b", "back", 2), Edge("back", "a"), Edge("a", "b", 4), Edge("b", "output"),
    ]
    return Model(nodes=nodes, edges=edges, dt=dt, numerics=EULER)


def waiting(dt: float) -> Model:
    """Delay nodes, uneven ahead and inside a cycle."""
    nodes = {"input": Input(shape=(12,)), "first": Linear(16), "ahead": Delay([(k % 5) * dt for k in range(16)]),
             "a": LIF(tau=2 * dt), "back": Linear(16), "uneven": Delay([(1 + k % 3) * dt for k in range(16)]),
             "output": Output()}
    edges = [Edge("input", "first"), Edge("first", "ahead"), Edge("ahead", "a", 1), Edge("a", "back"),
             Edge("back", "uneven"), Edge("uneven", "a"), Edge("a", "output")]
    return Model(nodes=nodes, edges=edges, dt=dt, numerics=EULER)


def _case(name: str, build: Build, density: float = 0.5, steps: int = STEPS) -> Case:
    return Case(name, build, steps=steps, batch=4, density=density)


DYADIC: list[Case] = [
    *(_case(name, lambda dt, of=of: chain(of(dt), dt)) for name, of in NEURONS.items()),
    *(_case(f"{name}, recurrent", lambda dt, of=of: chain(of(dt), dt, True)) for name, of in NEURONS.items()
      if name != "I"),  # an integrator that feeds itself grows without end
    *(_case(name, lambda dt, of=of: chain(NEURONS["CubaLIF" if of.bias_on == "membrane" else "LIF"](dt), dt, False, of))
      for name, of in NUMERICS.items()),
    _case("convolution and pooling", _image),
    _case("convolution over one axis", _signal),
    _case("delays", delayed),
    _case("Delay nodes", waiting),
]


@dataclass(frozen=True, eq=False)
class Exact:
    """A bit-tier case with its arrays and the float32 reference's results."""

    case: Case
    model: Model
    program: Program
    parameters: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    record: tuple[tuple[str, str], ...]
    result: RunResult


@cache
def exact(case: Case, dt: float, batch: int) -> Exact:
    """A case's arrays, and what the reference makes of them in float32; made once a process."""
    model = case.build(dt)
    program = lower(model)
    executable = reference().compile(program, Options(precision="float32"))
    record = every_record(program)

    def attempt(seed: int) -> Exact | None:
        parameters = dyadic_parameters(program, seed)
        inputs = draw_inputs(program, case.steps, batch, case.density, seed)
        result = executable.run(executable.load(parameters), executable.init_state(batch), inputs, record)
        fading = any(_fades(trace) for traces in result.records.values() for trace in traces.values())
        if fading or not alive(program, result):
            return None
        return Exact(case, model, program, parameters, inputs, record, result)

    return search(attempt, case.name)[0]  # type: ignore[no-any-return]


def _fades(trace: np.ndarray) -> bool:
    return bool(((trace != 0) & (np.abs(trace) < SMALLEST)).any())


def dyadic_parameters(program: Program, seed: int) -> dict[str, np.ndarray]:
    """Weights k / 64 and biases k / 64; one power of two a row where analog values arrive."""
    found = {}
    cyclic = {name for segment in program.segments if isinstance(segment, Loop) for name in segment.nodes}
    for name, spec in program.parameters.items():
        owner, field = name.rsplit(".", 1)
        random = generator(seed, name)
        if field == "weight" and _reads_analog(program, owner):
            sizes = np.where(random.random(spec.shape[0]) < 0.5, -0.25, 0.5)
            value = np.zeros(spec.shape)
            value[np.arange(spec.shape[0]), random.permutation(spec.shape[0]) % spec.shape[1]] = sizes
        else:
            # more negative than positive where spikes come back, so that no cycle runs away
            low, high = (-LARGEST, LARGEST // 2) if owner in cyclic else (-LARGEST * 3 // 4, LARGEST)
            value = random.integers(low, high + 1, spec.shape) / GRID
        found[name] = value.astype(np.float32)
    return found


def _reads_analog(program: Program, name: str) -> bool:
    sources = [edge.source for edge in program.incoming[name]]
    return any(source in program.neurons and not program.neurons[source].neuron.spiking for source in sources)
