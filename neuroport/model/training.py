"""How a model is trained: everything that decides how parameters move, and the experiment around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from neuroport.errors import Invalid, InvalidExperiment, Problem, listed
from neuroport.model.augmentation import Augmentation, ChannelShift
from neuroport.model.description import Description, nested, problems_of
from neuroport.model.graph import Model
from neuroport.model.kinds import Kind, Member
from neuroport.model.losses import CrossEntropy, Loss
from neuroport.model.metrics import Metric
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import Input, Output
from neuroport.model.optimizers import Adam, Optimizer
from neuroport.model.regularizers import ParameterRegularizer, Regularizer, SpikeRegularizer
from neuroport.model.schedules import ConstantRate, Schedule, plateau_of


class EarlyStopping(Description):
    """Training ends when ``patience`` epochs in a row brought no better value of ``monitor``.

    Better is more than ``min_delta`` lower (loss) or higher (accuracy), on the validation set.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    patience: int = Field(10, gt=0)
    monitor: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False)


class Training(Description):
    """Everything that decides how parameters move.

    augmentation: random changes of the input, in this order, while training alone.
    learning_rates: factors of the learning rate by parameter name or pattern ("*.tau_mem": 0.1); the first
    that matches counts. clip_norm bounds the gradient's global norm. accumulate: so many batches make one
    step of the optimizer, by the mean gradient over their samples. truncate: the gradient through time is cut
    every so many steps (truncated BPTT); the loss still sees the whole run. checkpoint_steps: only states every so
    many steps are kept for the gradient, "sqrt" for the square root of all, and the steps between run a second time;
    less memory, the same gradient. early_stopping: None trains all epochs.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    loss: Annotated[Loss, Member(Loss)] = CrossEntropy()
    regularizers: tuple[Annotated[Regularizer, Member(Regularizer)], ...] = ()
    metrics: tuple[Annotated[Metric, Member(Metric)], ...] = ()
    optimizer: Annotated[Optimizer, Member(Optimizer)] = Adam()
    schedule: Annotated[Schedule, Member(Schedule)] = ConstantRate()
    augmentation: tuple[Annotated[Augmentation, Member(Augmentation)], ...] = ()
    learning_rates: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    epochs: int = Field(10, gt=0)
    batch_size: int = Field(32, gt=0)
    clip_norm: float | None = Field(None, gt=0)
    accumulate: int = Field(1, gt=0)
    truncate: int | None = Field(None, gt=0)
    checkpoint_steps: int | Literal["sqrt"] | None = None
    early_stopping: EarlyStopping | None = None

    @field_validator("regularizers", "metrics", "augmentation", mode="before")
    @classmethod
    def _in_a_list(cls, value: Any) -> Any:
        """A single one would be taken for the list of its own fields."""
        if isinstance(value, Kind):
            called = type(value).__name__
            raise nested([Problem("", f"is a {called}, no list", f"put it into one: [{called}(...)]")])
        return value

    @field_validator("checkpoint_steps", mode="before")
    @classmethod
    def _steps_or_their_root(cls, value: Any) -> Any:
        number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if value is not None and value != "sqrt" and not number:
            wrong = f"is {value!r}, neither a number of steps nor 'sqrt'"
            raise nested([Problem("", wrong, "give a whole number greater than 0, or 'sqrt'")])
        return value

    def __hash__(self) -> int:
        return hash(self.to_json())

    def rate_factor(self, parameter: str) -> float:
        """The factor of one parameter's learning rate."""
        return next((factor for pattern, factor in self.learning_rates.items() if fnmatchcase(parameter, pattern)), 1.0)

    def problems_with(self, model: Model) -> list[Problem]:
        """What of this training does not fit a model."""
        trainable = [name for name, spec in model.parameters.items() if spec.trainable]
        found = [*self._loss_problems(model), *self._regularizer_problems(model, trainable)]
        found += _unmatched("learning_rates", self.learning_rates, trainable)
        shapes = [node.shape for node in model.nodes.values() if isinstance(node, Input)]
        for index, augmentation in enumerate(self.augmentation):
            if isinstance(augmentation, ChannelShift):
                for shape in shapes:
                    if not -len(shape) <= augmentation.axis < len(shape):
                        wrong = f"is {augmentation.axis}, the input has shape {shape}"
                        mend = f"give an axis from 0 to {len(shape) - 1}, or -1 for the last"
                        found.append(Problem(f"augmentation.{index}.axis", wrong, mend))
            if augmentation.needs_partner and self.loss.targets != "classes":
                wrong = f"mixes samples of one class, the loss {type(self.loss).__name__} knows none"
                found.append(Problem(f"augmentation.{index}", wrong, "leave it out"))
        return [*found, *self._metric_problems(), *self._monitor_problems()]

    def _metric_problems(self) -> Iterable[Problem]:
        labels = [metric.label for metric in self.metrics]
        for index, metric in enumerate(self.metrics):
            if metric.label in labels[:index]:
                yield Problem(f"metrics.{index}", f"a second metric is called {metric.label!r}", "give it a name")
            if metric.targets not in ("any", self.loss.targets):
                wrong = f"measures {metric.targets}, the loss {type(self.loss).__name__} learns {self.loss.targets}"
                yield Problem(f"metrics.{index}", wrong, "take a metric of the loss's targets")

    def _monitor_problems(self) -> Iterable[Problem]:
        """Monitors of an accuracy that the loss does not know."""
        if self.loss.targets == "classes":
            return
        wrong = f"the loss {type(self.loss).__name__} knows no classes and so no accuracy"
        for path, found in (("early_stopping", self.early_stopping), ("schedule", plateau_of(self.schedule))):
            if found is not None and found.monitor == "validation_accuracy":
                yield Problem(f"{path}.monitor", wrong, "take validation_loss")

    def _loss_problems(self, model: Model) -> Iterable[Problem]:
        outputs = [name for name, node in model.nodes.items() if isinstance(node, Output)]
        if self.loss.output is None and len(outputs) > 1:
            mend = f"name one of: {listed(outputs)}"
            yield Problem("loss.output", f"the model has {len(outputs)} outputs", mend)
            return
        if self.loss.output not in (None, *outputs):
            mend = f"the outputs are: {listed(outputs)}"
            yield Problem("loss.output", f"there is no Output {self.loss.output!r}", mend)
            return
        judged = self.loss.output or outputs[0]
        if self.loss.targets == "classes" and len(model.shapes[judged]) != 1:
            wrong = f"classes need an output of one axis, {judged!r} has shape {model.shapes[judged]}"
            yield Problem("loss", wrong, "put Flatten() or Linear before the Output")
        feeding = [edge.source for edge in model.edges if edge.target == judged]
        if self.loss.needs_spikes and not all(_spikes(model, name) for name in feeding):
            wrong = f"first spikes are asked of {judged!r}, which is fed by {listed(feeding)}: no spiking neuron"
            yield Problem("loss", wrong, "end in spiking neurons such as LIF, or choose CrossEntropy(over='mean')")

    def _regularizer_problems(self, model: Model, trainable: list[str]) -> Iterable[Problem]:
        spiking = [name for name in model.nodes if _spikes(model, name)]
        for index, regularizer in enumerate(self.regularizers):
            if isinstance(regularizer, SpikeRegularizer):
                for name in regularizer.nodes or ():
                    if name not in spiking:
                        mend = f"the spiking nodes are: {listed(spiking)}"
                        yield Problem(f"regularizers.{index}.nodes", f"{name!r} does not spike", mend)
            elif isinstance(regularizer, ParameterRegularizer):
                yield from _unmatched(f"regularizers.{index}.parameters", regularizer.parameters, trainable)


def _spikes(model: Model, name: str) -> bool:
    node = model.nodes[name]
    return isinstance(node, Neuron) and node.spiking


def _unmatched(path: str, patterns: Iterable[str], trainable: list[str]) -> Iterable[Problem]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in trainable):
            mend = f"the trainable parameters are: {listed(trainable)}"
            yield Problem(path, f"{pattern!r} matches no trainable parameter", mend)


class Data(Description):
    """Which data: a source's name and its options."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    source: str
    options: dict[str, Any] = {}


class Experiment(Description):
    """A model, the data it learns, and how. One seed decides initial values, batches and noise."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    name: str = ""
    model: Model
    data: Data | None = None
    training: Training = Training()
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: Any) -> Any:
        try:
            experiment = handler(data)
        except ValidationError as error:
            raise nested(problems_of(error, cls) + _salvaged(data)) from None
        problems = [problem.under("training") for problem in experiment.training.problems_with(experiment.model)]
        if problems:
            raise nested(problems)
        return experiment


def _salvaged(data: Any) -> list[Problem]:
    """What of the readable part of a training does not fit the model, where that can be read."""
    if not isinstance(data, Mapping):
        return []
    try:
        given = data.get("training", {})
        model = data["model"] if isinstance(data["model"], Model) else Model.parse(data["model"])
        kept = given if isinstance(given, Training) else Training.parse(
            {name: given[name] for name in ("loss", "regularizers") if name in given})
    except (KeyError, TypeError, Invalid):
        return []  # reported already
    return [problem.under("training") for problem in kept.problems_with(model)]
