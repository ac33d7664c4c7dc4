"""A training step recorded once and played again: CUDA graphs.

Launching a step's kernels one by one takes the host longer than a small network takes the device. Recorded in a graph
they are one launch. A graph holds addresses, not values: whatever changes from step to step must lie in tensors that
stay where they are, and a number of Python's is what it was when the step was recorded.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch

from neuroport.errors import NeuroportError
from neuroport.model.training import Training
from neuroport_torch.eager import EagerLoop
from neuroport_torch.runner import Compiled

Tensor = torch.Tensor
Tensors = tuple[Tensor, ...]
Work = Callable[[Tensors], Tensors]
Result = TypeVar("Result")

GRAPH = "CUDA graph"
SWITCH = "NEUROPORT_CUDA_GRAPH"
WARM = 3  # steps before one is recorded, in which kernels compile, tiles are measured, libraries set themselves up


def way_of_step(compiled: Compiled, training: Training) -> str:
    """How training steps run there: ``GRAPH``, or "plain: " and the reason."""
    if compiled.device.type != "cuda":
        return f"plain: {compiled.device.type} has no CUDA graphs"
    if os.environ.get(SWITCH) == "0":
        return f"plain: {SWITCH}=0"
    for segment, loop in compiled.loops.items():
        if isinstance(loop, EagerLoop):
            return f"plain: {', '.join(segment.nodes)} without a kernel, step by step"
    if any(wire.lags is not None for wire in compiled.program.wires):
        return "plain: delays that differ between neurons"  # the places they name need not outlive a graph
    for one in (training.loss, *training.regularizers, *training.augmentation):
        if not type(one).__module__.startswith("neuroport."):
            return f"plain: {type(one).__name__} is your own, whether it waits for the device is not known"
    return GRAPH


class Graph(Protocol):
    """Work that was recorded. results: where it leaves them, each time it is replayed."""

    results: Tensors

    def replay(self) -> None: ...


class Graphs(Protocol):
    """What records work on a device. capturable: whether optimizers must be set up for it."""

    capturable: bool

    def aside(self, work: Callable[[], Result]) -> Result:
        """``work()`` done as it is, where recording happens."""

    def record(self, work: Callable[[], Tensors]) -> Graph:
        """The work of ``work()``, none of it done."""


@dataclass
class CudaGraph:
    """A recorded graph of torch's, and the tensors it fills."""

    graph: torch.cuda.CUDAGraph
    results: Tensors

    def replay(self) -> None:
        self.graph.replay()


class CudaGraphs:
    """Recording on a CUDA device, on a stream of its own, as capture demands."""

    capturable = True

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def aside(self, work: Callable[[], Result]) -> Result:
        # on the stream on which it will be recorded: libraries keep handles and workspaces by stream
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            found = work()
        here.wait_stream(self.stream)
        return found

    def record(self, work: Callable[[], Tensors]) -> CudaGraph:
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: another thread may be bringing the next piece of the data meanwhile
            with torch.cuda.device(self.device), torch.cuda.graph(
                graph, stream=self.stream, capture_error_mode="thread_local"
            ):
                results = work()
        except RuntimeError as error:
            raise NeuroportError(
                f"the training step cannot be recorded as a CUDA graph: {error}\n"
                f"  mend: set the environment variable {SWITCH}=0, then steps run one by one"
            ) from error
        return CudaGraph(graph, results)


@dataclass
class Replayed:
    """Work on tensors of fixed shapes: done as it is for a few steps, then recorded and replayed.

    One graph is held at a time. Other shapes, other data or another constant make a new one; shapes that have been met
    need no warming up again.
    """

    graphs: Graphs
    recorded: int = 0  # how often, for tests and the curious
    _met: dict[Hashable, int] = field(default_factory=dict)
    _key: Hashable = None
    _reads: tuple[weakref.ref[Any], ...] = ()
    _inputs: Tensors = ()
    _graph: Graph | None = None

    def __call__(self, work: Work, inputs: Tensors, reads: Iterable[Any] = (), constants: Hashable = ()) -> Tensors:
        """``work(inputs)``.

        inputs: copied to where the graph reads them. reads: objects that the work reads where they lie. constants:
        numbers of Python's that it reads. Whatever else it reads must outlive this object, and stay in its place.
        """
        reads = tuple(reads)
        tensors = (*inputs, *(one for one in reads if isinstance(one, Tensor)))
        shapes = tuple((tuple(one.shape), one.dtype, one.device) for one in tensors)
        same = len(reads) == len(self._reads) and all(one() is now for one, now in zip(self._reads, reads, strict=True))
        if not same or (shapes, constants) != self._key:
            self._graph = None  # first: its memory serves the next one
            self._key, self._reads = (shapes, constants), tuple(map(weakref.ref, reads))
            self._inputs = tuple(map(torch.empty_like, inputs))
        for into, value in zip(self._inputs, inputs, strict=True):
            into.copy_(value)
        met = self._met.get(shapes, 0)
        if met < WARM:
            self._met[shapes] = met + 1
            return self.graphs.aside(lambda: work(self._inputs))
        if self._graph is None:
            held = self._inputs
            self._graph = self.graphs.record(lambda: work(held))
            self.recorded += 1
        self._graph.replay()
        return tuple(one.clone() for one in self._graph.results)
