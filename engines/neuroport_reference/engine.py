"""The reference engine: runs the neurons' step itself, reverses it by the tape, in plain NumPy."""

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
from neuroport.program.execute import Activity, execute
from neuroport.program.lower import Program
from neuroport.program.objective import objective, read_by_objective
from neuroport_reference.layers import LAYERS
from neuroport_reference.reverse import parameter_cotangents
from neuroport_reference.runner import NumpyRunner, Saved

PRECISIONS = {"float64": np.float64, "float32": np.float32}


class ReferenceEngine(Engine):
    """float64 NumPy, written to be read. float32 on request, for comparisons bit by bit."""

    name = "reference"

    def devices(self) -> list[str]:
        return ["cpu"]

    def capabilities(self, device: str | None = None) -> Capabilities:
        optimizers = {f"optimizer.{name}": FULL for name in KNOWN}
        return Capabilities({**stepping_engine(LAYERS), **optimizers}, precisions=tuple(PRECISIONS))

    def compile(self, program: Program, options: Options) -> ReferenceExecutable:
        return ReferenceExecutable(program, options)

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}


class ReferenceExecutable(Trainable):
    """A program, run segment by segment."""

    def __init__(self, program: Program, options: Options):
        self.program, self.options = program, options
        self.dtype = PRECISIONS[options.precision or "float64"]

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
        return RunResult(outputs, records, activity.state, {"precision": np.dtype(self.dtype).name, "device": "cpu"})

    def gradients(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], targets: np.ndarray,
        weights: np.ndarray | None = None, noise: Noise | None = None,
    ) -> Gradients:
        batch = next(iter(inputs.values())).shape[1]
        weights = np.full(batch, 1.0 / batch) if weights is None else np.asarray(weights, np.float64)
        activity, saved = self._forward(handle, state, inputs, (), noise)
        loss, cotangents = self._loss(activity, targets, weights.astype(self.dtype))
        found = parameter_cotangents(self.program, saved, handle, activity.values, cotangents)
        return Gradients(loss, found)

    def _forward(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, Any], record: Sequence[Record],
        noise: Noise | None,
    ) -> tuple[Activity, Saved]:
        runner = NumpyRunner(self.program, noise)
        given = {name: np.asarray(value, self.dtype) for name, value in inputs.items()}
        held = {name: np.asarray(value, self.dtype) for name, value in state.items()}
        return execute(self.program, runner, handle, held, given, record), runner.saved

    def _loss(
        self, activity: Activity, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The objective, recorded and reversed on the tape: its value and the cotangents of the activity."""
        names = read_by_objective(self.program, self.training)
        flat = {name: activity.values[name].reshape(*activity.values[name].shape[:2], -1) for name in names}
        tape = Tape()
        nodes = {name: tape.input(f"activity.{name}") for name in names}
        total = objective(self.program, self.training, nodes, tape.input("targets"), tape.input("weights"))
        found = tape.backward([(total, tape.input("one"))], list(nodes.values()))
        graph = Graph.of({"loss": total, **dict(zip(names, found, strict=True))})
        values = python_function(graph, ops.NUMPY, "objective")(
            {**{f"activity.{name}": value for name, value in flat.items()},
             "targets": np.asarray(targets), "weights": weights, "one": np.ones((), self.dtype)}
        )
        cotangents = {name: np.broadcast_to(values[name], flat[name].shape).reshape(activity.values[name].shape)
                      for name in names}
        return float(values["loss"]), {name: value.astype(self.dtype) for name, value in cotangents.items()}
