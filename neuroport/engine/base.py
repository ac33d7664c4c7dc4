"""The interface between neuroport and an engine. Small: an engine needs ``run``; to train, ``gradients``."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from neuroport.data.packing import Packed, targets_of, unpack
from neuroport.engine.capabilities import Capabilities
from neuroport.engine.optimize import Moments, first_moments, update
from neuroport.errors import NoSuchView
from neuroport.model.training import Training
from neuroport.program.augment import NUMPY as WORDS
from neuroport.program.augment import augmented, needs_partner, partners_of
from neuroport.program.bounds import free_slope, to_free, to_valid
from neuroport.program.lower import Program
from neuroport.program.objective import judged_output, measured, per_sample, scores, step_of

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

    device: a name from ``devices()``; None: the engine's first. precision: None is the engine's native one;
    "float32" and "float64" are what everything is held and summed in. "bfloat16": the operands of every product
    (Linear, Conv1d, Conv2d, also in cycles, and those of the reverse pass: dx = dy W, dW = dy^T x) are rounded to
    bfloat16, nearest, ties to even; sums, biases, membranes, coefficients, surrogates, the optimizer and the parameters
    it moves stay float32, and so are results. The gradient passes straight through the rounding. training: what
    gradients and training are computed for.
    """

    device: str | None = None
    precision: str | None = None
    training: Training | None = None


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
    """Of a run of batches, NumPy. loss: mean per sample of each batch (batches,); correct and count (batches,).

    While training, loss and correct are those of each batch as it was met, before the step that it makes;
    whether dropout acts in what is decided there is the engine's freedom.
    From an evaluation also rates: mean spikes per step of each neuron, by population; decisions: the class
    that each sample is taken for, (batches, B), None where the loss knows no classes; extra: mean of each metric
    per batch (batches,), by its label.
    """

    loss: np.ndarray
    correct: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # the tuple's own count() is of no use here
    rates: Mapping[str, np.ndarray] = MappingProxyType({})
    decisions: np.ndarray | None = None
    extra: Mapping[str, np.ndarray] = MappingProxyType({})


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

    # --- views for other people's code, each of an engine whose framework has that form ------------

    def function(self, record: Sequence[Any] = ()) -> Any:
        """The model as a pure function of arrays of the engine's own framework. Raises NoSuchView where it has none."""
        raise NoSuchView(type(self).__name__, "function", self._views())

    def module(self, parameters: Mapping[str, Any] | None = None, seed: int | None = None) -> Any:
        """The model as a module of the engine's own framework, which holds parameters. Raises NoSuchView likewise."""
        raise NoSuchView(type(self).__name__, "module", self._views())

    def _views(self) -> list[str]:
        """Names of the views that this executable does give."""
        return [name for name in ("function", "module")
                if getattr(type(self), name) is not getattr(Executable, name)]

    def wait(self) -> None:  # noqa: B027  (an engine that blocks anyway has nothing to wait for)
        """Block until everything asked for so far is done."""

    def free_memory(self) -> int | None:
        """Bytes free on the device for data; None where it is the host's memory, or not known."""
        return None

    # --- judging: defaults, batch by batch in NumPy; they need ``Options.training`` -----------------

    @property
    def training(self) -> Training:
        assert self.options.training is not None
        return self.options.training

    def stage(self, packed: Packed) -> Any:
        """A data set onto the device, packed."""
        return packed

    def evaluate(self, handle: Any, staged: Any, order: np.ndarray, mask: np.ndarray) -> Metrics:
        """Loss, decisions, metrics and rates over batches, without training and without penalties."""
        (source,) = self.program.inputs
        spiking = [name for name, bound in self.program.neurons.items() if bound.neuron.spiking]
        losses, correct, decisions = [], [], []
        extra: dict[str, list[float]] = {metric.label: [] for metric in self.training.metrics}
        rates: dict[str, Any] = dict.fromkeys(spiking, 0.0)
        for samples, valid in zip(order, mask, strict=True):
            inputs, targets = {source: unpack(staged, samples)}, targets_of(staged, samples)
            result = self.run(handle, self.init_state(len(samples)), inputs, [(name, "spikes") for name in spiking])
            activity, weights = self._activity(result.outputs), shares_of(valid)
            losses.append(float((per_sample(self.program, self.training, activity, targets) * weights).sum()))
            decided = self.decide(result.outputs)
            correct.append(0.0 if decided is None else float(((decided == targets) * valid).sum()))
            if decided is not None:
                decisions.append(decided)
            for label, values in measured(self.program, self.training, activity, targets).items():
                extra[label].append(float((values * weights).sum()))
            for name in spiking:
                means = np.asarray(result.records[name]["spikes"]).mean(0)  # (B, *shape)
                rates[name] = rates[name] + np.tensordot(valid, means, 1)
        total = max(mask.sum(), 1)
        return Metrics(
            np.array(losses), np.array(correct), mask.sum(1),
            {name: np.asarray(value / total) for name, value in rates.items()},
            np.stack(decisions) if decisions else None,
            {label: np.array(values) for label, values in extra.items()},
        )

    def decide(self, outputs: Mapping[str, Any]) -> np.ndarray | None:
        """The class that each sample of a run is taken for, (B,); None where the loss knows no classes."""
        found = scores(self.program, self.training, self._activity(outputs))
        return None if found is None else np.argmax(np.asarray(found), 1)

    def _activity(self, outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The judged output as the objective reads it, (T, B, N)."""
        name = judged_output(self.program, self.training)
        found = np.asarray(outputs[name])
        return {name: found.reshape(*found.shape[:2], -1)}


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

    def init_training(self, handle: Any) -> Any:
        """The state of a training that starts from these parameters."""
        parameters = {name: np.asarray(value, np.float64) for name, value in self.export(handle).items()}
        free = to_free(self.program, parameters)
        return PlainTraining(parameters, free, first_moments(free))

    def current(self, training: Any) -> Any:
        """The parameters that a training has reached, as a handle."""
        return self.load(training.parameters)

    def train_segment(
        self, training: Any, staged: Any, order: np.ndarray, mask: np.ndarray, factors: np.ndarray,
        noise: tuple[int, int], identities: np.ndarray | None = None, partners: np.ndarray | None = None,
    ) -> tuple[Any, Metrics]:
        """Train on a run of batches.

        order: (batches, B) rows of the staged data. mask: (batches, B), 0 for padding, which may fill whole batches.
        factors: of the learning rate, (steps of the optimizer,); each takes ``Training.accumulate`` batches.
        noise: (seed, epoch). identities: (batches, B), what the samples are called in the whole data set, the
        keys of their noise; None: as in ``order``, since all of it is staged. partners: (batches, B), rows of
        samples to mix with, where an augmentation asks for them. The state handed in may be used up.
        """
        (source,) = self.program.inputs
        losses, correct = [], []
        size = len(order) // len(factors)
        keys = order if identities is None else identities
        mixed = partners_of(self.training, partners)
        others = order if mixed is None else mixed
        for step, factor in enumerate(factors):
            group = slice(step * size, (step + 1) * size)
            handle = self.load(training.parameters)
            total: dict[str, Any] = dict.fromkeys(self.program.trainable, 0.0)
            for samples, valid, key, other in zip(order[group], mask[group], keys[group], others[group], strict=True):
                drawn, targets = Noise(*noise, key), targets_of(staged, samples)
                inputs = {source: self._augmented(staged, samples, drawn, other)}
                state = self.init_state(len(samples))
                found = self.gradients(handle, state, inputs, targets, shares_of(valid), drawn)
                share = float(valid.sum()) / max(float(mask[group].sum()), 1.0)
                total = {name: value + share * np.asarray(found.parameters[name], np.float64)
                         for name, value in total.items()}
                decided = self.decide(self.run(handle, state, inputs).outputs)
                losses.append(found.loss)
                correct.append(0.0 if decided is None else float(((decided == targets) * valid).sum()))
            training = self._moved(training, total, float(factor))
        return training, Metrics(np.array(losses), np.array(correct), mask.sum(1))

    def _augmented(self, staged: Packed, samples: np.ndarray, noise: Noise, others: np.ndarray) -> np.ndarray:
        """Activity of some samples as training sees it, (T, B, *shape)."""
        x = unpack(staged, samples)
        if not self.training.augmentation:
            return x
        partner = unpack(staged, others) if needs_partner(self.training) else None
        return np.asarray(augmented(
            self.training, step_of(self.program), WORDS, x, partner, staged.binary, noise.seed,
            np.array([noise.epoch], np.uint32), np.asarray(noise.samples).astype(np.uint32),
        ))

    def _moved(self, training: PlainTraining, gradients: Mapping[str, Any], factor: float) -> PlainTraining:
        free_gradients = {
            name: value * free_slope(self.program, name, training.parameters[name])
            for name, value in gradients.items()
        }
        optimizer = self.training.optimizer
        rates = {name: optimizer.learning_rate * factor * self.training.rate_factor(name) for name in gradients}
        free, moments = update(
            optimizer, rates, self.training.clip_norm, training.step, training.free, free_gradients, training.moments
        )
        valid = {name: np.asarray(to_valid(self.program, name, value)) for name, value in free.items()}
        return PlainTraining({**training.parameters, **valid}, free, moments, training.step + 1)

    def snapshot(self, training: Any) -> dict[str, np.ndarray]:
        """Everything that a training has reached, as arrays by name: what a checkpoint holds."""
        found = {"step": np.asarray(training.step)}
        for name, value in training.parameters.items():
            found[f"parameters/{name}"] = value
        for name, value in training.free.items():
            first, second = training.moments[name]
            found |= {f"free/{name}": value, f"first/{name}": first, f"second/{name}": second}
        return found

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """The training that ``snapshot`` took; it goes on to equal results, bit by bit on one device."""
        of: dict[str, dict[str, np.ndarray]] = {"parameters": {}, "free": {}, "first": {}, "second": {}}
        for full, value in arrays.items():
            kind, _, name = full.partition("/")
            if name:
                of[kind][name] = value
        moments = {name: (value, of["second"][name]) for name, value in of["first"].items()}
        return PlainTraining(of["parameters"], of["free"], moments, int(arrays["step"]))



def shares_of(valid: np.ndarray) -> np.ndarray:
    """The weights of a batch's samples from its mask (B,): sum 1, or 0 where all of it is padding."""
    return np.asarray(valid, np.float64) / max(float(valid.sum()), 1.0)
