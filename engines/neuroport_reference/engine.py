"""The reference engine: runs the neurons' step itself, reverses it by the tape, in plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroport.engine.base import Engine, Gradients, Noise, Options, Record, RunResult, Trainable
from neuroport.engine.capabilities import FULL, Capabilities, stepping_engine
from neuroport.engine.optimize import KNOWN
from neuroport.program.cotangents import judge
from neuroport.program.execute import Activity, execute, windows
from neuroport.program.lower import Program
from neuroport.program.objective import read_by_objective
from neuroport_reference.layers import LAYERS
from neuroport_reference.precision import with_rounded_operands
from neuroport_reference.reverse import parameter_cotangents
from neuroport_reference.runner import NumpyRunner, Saved

# what arrays are held and summed in; of bfloat16 only the operands of products are
PRECISIONS = {"float64": np.float64, "float32": np.float32, "bfloat16": np.float64}


class ReferenceEngine(Engine):
    """float64 NumPy, written to be read. On request float32, for comparisons bit by bit, or bfloat16: float64 over
    products whose operands are rounded."""

    name = "reference"

    def devices(self) -> list[str]:
        return ["cpu"]

    def capabilities(self, device: str | None = None) -> Capabilities:
        optimizers = {f"optimizer.{name}": FULL for name in KNOWN}
        return Capabilities({**stepping_engine(LAYERS), **optimizers, "truncate": FULL}, precisions=tuple(PRECISIONS))

    def compile(self, program: Program, options: Options) -> ReferenceExecutable:
        return ReferenceExecutable(program, options)

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}


class ReferenceExecutable(Trainable):
    """A program, run segment by segment."""

    def __init__(self, program: Program, options: Options):
        self.program, self.options = program, options
        self.precision = options.precision or "float64"
        self.dtype = PRECISIONS[self.precision]
        self.layers = with_rounded_operands(LAYERS) if self.precision == "bfloat16" else LAYERS

    def load(self, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.asarray(value, self.dtype) for name, value in parameters.items()}

    def export(self, handle: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value.copy() for name, value in handle.items()}

    def init_state(self, batch: int) -> dict[str, np.ndarray]:
        return {name: np.zeros(shape, self.dtype) for name, shape in self.program.state_shapes(batch).items()}

    def run(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], record: Sequence[Record] = ()
    ) -> RunResult:
        activity, _ = self._forward(handle, state, inputs, record, None)
        records: dict[str, dict[str, Any]] = {}
        for (node, what), trace in activity.records.items():
            records.setdefault(node, {})[what] = trace
        outputs = {name: activity.values[name] for name in self.program.outputs}
        return RunResult(outputs, records, activity.state, {"precision": self.precision, "device": "cpu"})

    def gradients(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], targets: np.ndarray,
        weights: np.ndarray | None = None, noise: Noise | None = None,
    ) -> Gradients:
        steps, batch = next(iter(inputs.values())).shape[:2]
        weights = np.full(batch, 1.0 / batch) if weights is None else np.asarray(weights)
        runs, held = [], state
        for window in windows(steps, self.training.truncate):
            now = {name: value[window] for name, value in inputs.items()}
            activity, saved = self._forward(handle, held, now, (), noise)
            runs.append((window, activity.values, saved))
            held = activity.state
        values = {name: np.concatenate([of[name] for _, of, _ in runs])
                  for name in read_by_objective(self.program, self.training)}
        judged = judge(self.program, self.training, values, handle, targets, weights.astype(self.dtype))
        found = {name: judged.parameters.get(name, np.zeros_like(handle[name])) for name in self.program.trainable}
        for window, of, saved in runs:
            cotangents = {name: value[window] for name, value in judged.activity.items()}
            for name, value in parameter_cotangents(self.program, saved, handle, of, cotangents, self.layers).items():
                found[name] = found[name] + value
        return Gradients(judged.loss, found)

    def _forward(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, Any], record: Sequence[Record],
        noise: Noise | None,
    ) -> tuple[Activity, Saved]:
        runner = NumpyRunner(self.program, noise, self.layers)
        given = {name: np.asarray(value, self.dtype) for name, value in inputs.items()}
        held = {name: np.asarray(value, self.dtype) for name, value in state.items()}
        return execute(self.program, runner, handle, held, given, record), runner.saved
