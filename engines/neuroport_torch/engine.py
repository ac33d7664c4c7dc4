"""The torch engine: programs on torch tensors, with generated loops where there are some."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroport.api import init
from neuroport.data.packing import Packed
from neuroport.engine.base import Engine, Gradients, Metrics, Noise, Options, Record, RunResult, Trainable
from neuroport.engine.capabilities import FULL, Capabilities, stepping_engine
from neuroport.errors import InvalidData, Problem
from neuroport.model.layers import Window
from neuroport.program.arrays import check_parameters
from neuroport.program.augment import partners_of
from neuroport.program.lower import Program
from neuroport_torch import products
from neuroport_torch.arena import Arena, Fresh
from neuroport_torch.graphs import GRAPH, CudaGraphs, Graphs, way_of_step
from neuroport_torch.kernels.threads import alone
from neuroport_torch.layers import LAYERS
from neuroport_torch.marked import input_way
from neuroport_torch.runner import Compiled
from neuroport_torch.runner import Noise as DeviceNoise
from neuroport_torch.staging import Staged
from neuroport_torch.state import OPTIMIZERS, State
from neuroport_torch.training import evaluate_batches, judge, train_batches

if TYPE_CHECKING:
    from neuroport_torch.module import Network

# what arrays are held and summed in; of bfloat16 only the operands of products are
PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}


class TorchEngine(Engine):
    """PyTorch on CPU and CUDA."""

    name = "torch"

    def devices(self) -> list[str]:
        return [*(f"cuda:{index}" for index in range(torch.cuda.device_count())), "cpu"]

    def capabilities(self, device: str | None = None) -> Capabilities:
        optimizers = {f"optimizer.{kind.__name__}": FULL for kind in OPTIMIZERS}
        features = {**stepping_engine(LAYERS), **optimizers, "truncate": FULL, "checkpointing": FULL}
        return Capabilities(features, precisions=tuple(PRECISIONS))

    def compile(self, program: Program, options: Options) -> TorchExecutable:
        return TorchExecutable(program, options, torch.device(options.device or self.devices()[0]))

    def versions(self) -> dict[str, str]:
        found = {"torch": torch.__version__}
        if products.HAS_NUMBA:
            from importlib.metadata import version

            found["numba"] = version("numba")
        return found


class TorchExecutable(Trainable):
    """A program on one device. Handles are dicts of tensors."""

    def __init__(self, program: Program, options: Options, device: torch.device, fused: bool = True):
        self.program, self.options, self.device = program, options, device
        self.precision = options.precision or "float32"
        self.compiled = Compiled(program, PRECISIONS[self.precision], device, fused, self.precision == "bfloat16")
        # torch's own threads serve windows over images; everything else heavy is cut up in products and kernels
        images = any(isinstance(node, Window) for node in program.model.nodes.values())
        self._alone = device.type == "cpu" and not images
        # how steps of a training run, and what records them where they are replayed
        self.step = "" if options.training is None else way_of_step(self.compiled, options.training)
        self.graphs: Graphs | None = CudaGraphs(device) if self.step == GRAPH else None
        self._arena, self._turn = Arena(), threading.Lock()  # of evaluate and gradients; a training has its own

    def _put(self, value: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A copy on the device."""
        return torch.tensor(np.asarray(value), dtype=dtype or self.compiled.dtype, device=self.device)

    def load(self, parameters: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {name: self._put(value) for name, value in parameters.items()}

    def export(self, handle: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        return {name: value.detach().cpu().numpy().copy() for name, value in handle.items()}

    def init_state(self, batch: int) -> dict[str, torch.Tensor]:
        return self.compiled.zero_state(batch)

    def run(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], record: Sequence[Record] = ()
    ) -> RunResult:
        return alone(self._alone, lambda: self._run(handle, state, inputs, record))

    @torch.no_grad()
    def _run(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], record: Sequence[Record]
    ) -> RunResult:
        ways: dict[str, str] = {}
        activity = self.compiled.run(handle, self._puts(state), self._puts(inputs), Fresh(), list(record), ways=ways)
        records: dict[str, dict[str, Any]] = {}
        for (node, what), trace in activity.records.items():
            records.setdefault(node, {})[what] = trace.cpu().numpy()
        return RunResult(
            {name: activity.values[name].cpu().numpy() for name in self.program.outputs}, records,
            {name: value.cpu().numpy() for name, value in activity.state.items()},
            {"device": str(self.device), "precision": self.precision, "products": ways,
             "input": input_way(self.compiled, self.options.training),
             "loops": self.compiled.describe(), **({"step": self.step} if self.options.training else {})},
        )

    def module(self, parameters: Mapping[str, Any] | None = None, seed: int | None = None) -> Network:
        """The model as a ``torch.nn.Module`` with parameters of its own, for your own torch code: see ``Network``.

        parameters: by "node.parameter", such as ``npt.init`` gives or a run has reached; or seed: that of ``npt.init``,
        0 where nothing is given. Raises InvalidData where parameters do not fit, InvalidModel where a node's name
        cannot be that of a submodule.
        """
        from neuroport_torch.module import Network  # late: it takes torch's compiler along

        if parameters is not None and seed is not None:
            raise InvalidData([Problem("parameters", "are given, and a seed to draw them from", "give one of the two")])
        if parameters is None:
            parameters = init(self.program.model, seed or 0)
        return Network(self.compiled, check_parameters(self.program, parameters))

    def _puts(self, arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        place = {"device": self.device, "dtype": self.compiled.dtype}
        return {name: value.to(**place) if isinstance(value, torch.Tensor) else self._put(value)
                for name, value in arrays.items()}

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free_memory(self) -> int | None:
        return torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else None

    def gradients(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], targets: np.ndarray,
        weights: np.ndarray | None = None, noise: Noise | None = None,
    ) -> Gradients:
        with self._turn:
            return alone(self._alone, lambda: self._gradients(handle, state, inputs, targets, weights, noise))

    @torch.enable_grad()
    def _gradients(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], targets: np.ndarray,
        weights: np.ndarray | None, noise: Noise | None,
    ) -> Gradients:
        self._arena.reset()
        given = self._puts(inputs)
        batch = next(iter(given.values())).shape[1]
        shares = self._put(np.full(batch, 1.0 / batch) if weights is None else weights)
        expected = torch.int64 if self.training.loss.targets == "classes" else None
        leaves = {name: value.detach().clone().requires_grad_(name in self.program.trainable)
                  for name, value in handle.items()}
        trained = {name: leaves[name] for name in self.program.trainable}
        loss, _ = judge(
            self.compiled, self.training, leaves, self._puts(state), given, self._put(targets, expected), shares,
            self._noise(noise), self._arena,
        )
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True) if loss.requires_grad else ()
        zeros = {name: torch.zeros_like(value).cpu().numpy() for name, value in trained.items()}
        return Gradients(float(loss.detach()), {
            **zeros, **{name: g.cpu().numpy().copy() for name, g in zip(trained, found, strict=False) if g is not None}
        })

    def _noise(self, noise: Noise | None) -> DeviceNoise | None:
        if noise is None:
            return None
        return DeviceNoise(noise.seed, *(self._put(one, torch.int64) for one in ([noise.epoch], noise.samples)))

    # --- training ----------------------------------------------------------------------------------

    def init_training(self, handle: Mapping[str, torch.Tensor]) -> State:
        return State.begin(self.program, self.training, dict(handle), self.graphs)

    @torch.no_grad()
    def current(self, training: State) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in training.parameters(self.program).items()}

    def stage(self, packed: Packed) -> Staged:
        return Staged.of(packed, self.compiled.dtype, self.device)

    def train_segment(
        self, training: State, staged: Staged, order: np.ndarray, mask: np.ndarray, factors: np.ndarray,
        noise: tuple[int, int], identities: np.ndarray | None = None, partners: np.ndarray | None = None,
    ) -> tuple[State, Metrics]:
        rows = self._put(order, torch.int64)
        keys = rows if identities is None else self._put(identities, torch.int64)
        mixed = partners_of(self.training, partners)
        others = None if mixed is None else self._put(mixed, torch.int64)
        losses, right = alone(self._alone, lambda: train_batches(
            self.compiled, self.training, training, staged.arrived(), rows, self._put(mask),
            np.asarray(factors, float).tolist(), noise, keys, others,
        ))
        return training, Metrics(_numbers(losses), _numbers(right), np.asarray(mask).sum(1))

    def snapshot(self, training: State) -> dict[str, np.ndarray]:
        return training.snapshot()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> State:
        return State.restored(self.program, self.training, arrays, self.device, self.graphs)

    def evaluate(self, handle: Any, staged: Staged, order: np.ndarray, mask: np.ndarray) -> Metrics:
        with self._turn:
            found = alone(self._alone, lambda: evaluate_batches(
                self.compiled, self.training, dict(handle), staged.arrived(), self._put(order, torch.int64),
                self._put(mask), self._arena,
            ))
        total = max(float(np.asarray(mask).sum()), 1.0)
        return Metrics(
            _numbers(found.losses), _numbers(found.right), np.asarray(mask).sum(1),
            {name: _numbers(value) / total for name, value in found.rates.items()},
            None if found.decisions is None else found.decisions.cpu().numpy(),
            {label: _numbers(value) for label, value in found.extra.items()},
        )


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float64)
