"""The interface between neuroport and an engine. Small: an engine needs ``run``; to train, ``gradients``."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from neuroport.data.packing import Packed, unpack
from neuroport.engine.capabilities import Capabilities
from neuroport.engine.optimize import Moments, first_moments, update
from neuroport.model.training import Training
from neuroport.program.bounds import free_slope, to_free, to_valid
from neuroport.program.lower import Program
from neuroport.program.objective import judged_output

INTERFACE = 1
Record = tuple[str, str]  # (node, "spikes" | "v" | "v_pre" | another state)


@dataclass(frozen=True)
class EngineInfo:
    """What the hook ``neuroport_engines`` returns: enough to list an engine without importing it.

    factory: "package.module:Class", an ``Engine``. requires: modules it imports. install: the pip
    line that brings them. interface: version of this file's contract. priority: where no engine is
    named, the highest is tried first. is_reference: the one engine that the conformance kit holds
    all others to.
    """

    name: str
    factory: str
    requires: tuple[str, ...] = ()
    install: str = ""
    interface: int = INTERFACE
    priority: int = 0
    is_reference: bool = False


@dataclass(frozen=True)
class Options:
    """How a program is to be compiled.

    device: a name from ``devices()``; None: the engine's first. precision: None is the engine's
    native one. training: what gradients and training are computed for. factors: the schedule's
    factor of the learning rate at each step of the whole training.
    """

    device: str | None = None
    precision: str | None = None
    training: Training | None = None
    factors: np.ndarray | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run gives. ``outputs``: (T, B, *shape), or a dict of them where the model has several.

    records: by node, then variable, (T, B, *shape). state: to continue from, as the next call's
    ``state``. info: what the engine has to say (device, precision, times).
    """

    outputs: Any
    records: dict[str, dict[str, Any]]
    state: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)


class Noise(NamedTuple):
    """Keys of the random streams of a batch: masks are a function of these and nothing else."""

    seed: int
    epoch: int
    samples: Any  # (B,) indices in the data set


class Gradients(NamedTuple):
    """loss: a number. parameters: d loss / d parameter for every trainable one, NumPy."""

    loss: float
    parameters: dict[str, np.ndarray]


class Metrics(NamedTuple):
    """Sums over batches, NumPy. loss: mean per sample of each batch (batches,); correct and count
    (batches,); rates: mean spikes per step of each neuron, by population (empty while training)."""

    loss: np.ndarray
    correct: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # the tuple's own count() is of no use here
    rates: dict[str, np.ndarray]


class Engine(abc.ABC):
    """Compiles programs for its devices. Instances are made once and hold no global state."""

    name: str

    @abc.abstractmethod
    def devices(self) -> list[str]:
        """Names of the devices at hand, the default first."""

    @abc.abstractmethod
    def capabilities(self, device: str | None = None) -> Capabilities:
        """What it can run there, derived from its own lowering table."""

    @abc.abstractmethod
    def compile(self, program: Program, options: Options) -> Executable:
        """Compile. Called only with what ``capabilities`` covers."""

    def versions(self) -> dict[str, str]:
        """Versions of what decides its numbers and speed."""
        return {}


class Executable(abc.ABC):
    """A compiled program. Arrays that go in and come out are NumPy unless said otherwise."""

    program: Program
    options: Options

    @abc.abstractmethod
    def load(self, parameters: Mapping[str, np.ndarray]) -> Any:
        """Parameters onto the device: a handle."""

    @abc.abstractmethod
    def export(self, handle: Any) -> dict[str, np.ndarray]:
        """The parameters of a handle, float32 or the precision's own."""

    @abc.abstractmethod
    def init_state(self, batch: int) -> dict[str, Any]:
        """Zero states for a batch, by name: see ``Program.state``."""

    @abc.abstractmethod
    def run(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], record: Sequence[Record] = ()
    ) -> RunResult:
        """Run inputs (T, B, *shape) by Input node, from a state; two chunks equal one run.

        Returns arrays of any kind that ``np.asarray`` reads; outputs as a dict by Output node.
        """

    def wait(self) -> None:  # noqa: B027  (an engine that blocks anyway has nothing to wait for)
        """Block until everything asked for so far is done."""


@dataclass(frozen=True)
class PlainTraining:
    """A training's state in NumPy: free values of the trainable parameters and their moments."""

    parameters: dict[str, np.ndarray]
    free: dict[str, np.ndarray]
    moments: Moments
    step: int = 0


class Trainable(Executable):
    """An executable that gives gradients. The rest has defaults here, step by step in NumPy."""

    @abc.abstractmethod
    def gradients(
        self, handle: Any, state: Mapping[str, Any], inputs: Mapping[str, np.ndarray], targets: np.ndarray,
        weights: np.ndarray | None = None, noise: Noise | None = None,
    ) -> Gradients:
        """Gradient of the training's objective with respect to every trainable parameter.

        weights: of the samples, (B,), sum 1; None: equal. noise: None leaves dropout out.
        """

    @property
    def training(self) -> Training:
        assert self.options.training is not None
        return self.options.training

    def init_training(self, handle: Any) -> Any:
        """The state of a training that starts from these parameters."""
        parameters = {name: np.asarray(value, np.float64) for name, value in self.export(handle).items()}
        free = to_free(self.program, parameters)
        return PlainTraining(parameters, free, first_moments(free))

    def current(self, training: Any) -> Any:
        """The parameters that a training has reached, as a handle."""
        return self.load(training.parameters)

    def stage(self, packed: Packed) -> Any:
        """A data set onto the device, packed."""
        return packed

    def train_segment(
        self, training: Any, staged: Any, order: np.ndarray, mask: np.ndarray, noise: tuple[int, int]
    ) -> tuple[Any, Metrics]:
        """Train on a run of batches.

        order: (batches, B) indices of samples. mask: (batches, B), 0 for padding. noise: (seed, epoch).
        """
        (source,) = self.program.inputs
        losses, correct = [], []
        for samples, valid in zip(order, mask, strict=True):
            weights = valid / valid.sum()
            inputs = {source: unpack(staged, samples)}
            handle = self.load(training.parameters)
            found = self.gradients(
                handle, self.init_state(len(samples)), inputs, staged.labels[samples], weights, Noise(*noise, samples)
            )
            outputs = self.run(handle, self.init_state(len(samples)), inputs).outputs
            right = self.decide(outputs) == staged.labels[samples]
            training = self._moved(training, found.parameters)
            losses.append(found.loss)
            correct.append(float((right * valid).sum()))
        return training, Metrics(np.array(losses), np.array(correct), mask.sum(1), {})

    def _moved(self, training: PlainTraining, gradients: Mapping[str, np.ndarray]) -> PlainTraining:
        free_gradients = {
            name: np.asarray(value, np.float64) * free_slope(self.program, name, training.parameters[name])
            for name, value in gradients.items()
        }
        factor = 1.0 if self.options.factors is None else float(self.options.factors[training.step])
        free, moments = update(
            self.training.optimizer, factor, self.training.clip_norm,
            training.step, training.free, free_gradients, training.moments,
        )
        valid = {name: np.asarray(to_valid(self.program, name, value)) for name, value in free.items()}
        return PlainTraining({**training.parameters, **valid}, free, moments, training.step + 1)

    def evaluate(self, handle: Any, staged: Any, order: np.ndarray, mask: np.ndarray) -> Metrics:
        """Loss, decisions and rates over batches, without training."""
        (source,) = self.program.inputs
        spiking = [name for name, bound in self.program.neurons.items() if bound.neuron.spiking]
        losses, correct = [], []
        rates: dict[str, Any] = dict.fromkeys(spiking, 0.0)
        for samples, valid in zip(order, mask, strict=True):
            inputs = {source: unpack(staged, samples)}
            result = self.run(handle, self.init_state(len(samples)), inputs, [(name, "spikes") for name in spiking])
            outputs = np.asarray(result.outputs[judged_output(self.program, self.training)])
            per_sample = self.training.loss.per_sample(outputs, staged.labels[samples])
            losses.append(float((per_sample * valid).sum() / valid.sum()))
            correct.append(float(((self.decide(result.outputs) == staged.labels[samples]) * valid).sum()))
            for name in spiking:
                means = np.asarray(result.records[name]["spikes"]).mean(0)  # (B, *shape)
                rates[name] = rates[name] + np.tensordot(valid, means, 1)
        total = max(mask.sum(), 1)
        return Metrics(np.array(losses), np.array(correct), mask.sum(1),
                       {name: np.asarray(value / total) for name, value in rates.items()})

    def decide(self, outputs: Mapping[str, Any]) -> np.ndarray:
        """The class that each sample of a run is taken for, (B,)."""
        judged = np.asarray(outputs[judged_output(self.program, self.training)])
        return np.asarray(np.argmax(np.asarray(self.training.loss.scores(judged)), 1))
