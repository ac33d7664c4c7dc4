"""A throwaway engine with batch size 1, no gradients and 8-bit weights passes the kit with what it declares."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from neuroport_reference.runner import NumpyRunner

from neuroport.engine.base import Engine, Executable, Options, Record, RunResult
from neuroport.engine.capabilities import Capabilities, Level, Support, stepping_engine
from neuroport.model.layers import Convolution, Linear
from neuroport.program.execute import execute
from neuroport.program.lower import Program
from neuroport.testing import EngineConformance

STEP, LARGEST = 1 / 64, 127  # what one weight of 8 bits can hold: k / 64


class ChipEngine(Engine):
    """A neuromorphic chip, imagined: one sample at a time, weights in 8 bits, LIF and LI alone."""

    name = "chip"

    def devices(self) -> list[str]:
        return ["chip:0"]

    def capabilities(self, device: str | None = None) -> Capabilities:
        features = stepping_engine(["Input", "Output", "Linear", "Conv2d", "Flatten"], training=False)
        del features["neuron.*"]
        features |= {f"neuron.{name}": features["loop"] for name in ("LIF", "LI")}
        features["multi_spike.true"] = Support(Level.IMPOSSIBLE, "one spike line a neuron")
        return Capabilities(features, precisions=("float32",), max_batch=1, weight_bits=8)

    def compile(self, program: Program, options: Options) -> Executable:
        return ChipExecutable(program, options)


class ChipExecutable(Executable):
    """NumPy in float32, with the weights rounded on their way in."""

    def __init__(self, program: Program, options: Options):
        self.program, self.options = program, options

    def load(self, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: self._held(name, np.asarray(value, np.float32)) for name, value in parameters.items()}

    def _held(self, name: str, value: np.ndarray) -> np.ndarray:
        owner, field = name.rsplit(".", 1)
        if field != "weight" or not isinstance(self.program.node(owner), (Linear, Convolution)):
            return value
        stored = np.clip(np.round(value / STEP), -LARGEST, LARGEST).astype(np.int8)
        return stored.astype(np.float32) * np.float32(STEP)

    def export(self, handle: Any) -> dict[str, np.ndarray]:
        return {name: value.copy() for name, value in handle.items()}

    def init_state(self, batch: int) -> dict[str, np.ndarray]:
        return {name: np.zeros(shape, np.float32) for name, shape in self.program.state_shapes(batch).items()}

    def run(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], record: Sequence[Record] = ()
    ) -> RunResult:
        assert all(x.shape[1] == 1 for x in inputs.values()), "the chip holds one sample"
        held = {name: np.asarray(value, np.float32) for name, value in state.items()}
        given = {name: np.asarray(value, np.float32) for name, value in inputs.items()}
        activity = execute(self.program, NumpyRunner(self.program, None), handle, held, given, record)
        records: dict[str, dict[str, np.ndarray]] = {}
        for (node, what), trace in activity.records.items():
            records.setdefault(node, {})[what] = trace
        return RunResult({name: activity.values[name] for name in self.program.outputs}, records, activity.state)


class TestChip(EngineConformance):
    engine_factory = ChipEngine
