"""What users call: engines, compile, init, run, gradients. Everything returned is NumPy."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroport import registry
from neuroport.choose import Choice, Wanted, choose
from neuroport.engine.base import Engine, Executable, Gradients, Options, RunResult, Trainable
from neuroport.errors import InvalidExperiment, InvalidModel, NeuroportError, Problem, UnsupportedModel
from neuroport.model.graph import Model
from neuroport.model.losses import CrossEntropy, Loss
from neuroport.model.regularizers import Regularizer
from neuroport.model.training import Training
from neuroport.program import initialize
from neuroport.program.arrays import Given, check_run
from neuroport.program.formulas import check_formulas
from neuroport.program.lower import Program, lower

CACHED = 16  # executables that run() and gradients() keep


@dataclass(frozen=True)
class EngineRecord:
    """An installed engine, for people and JSON.

    version: of its distribution. versions: of what computes. state: "ready", "unavailable" or
    "duplicate"; reason: why it is not ready, and the mend. default: what runs where none is named.
    """

    name: str
    distribution: str
    version: str
    state: str
    devices: tuple[str, ...] = ()
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    default: bool = False


def engines() -> list[EngineRecord]:
    """Every registered engine in the default order. Imports those that are usable, to list their devices."""
    found: list[EngineRecord] = []
    known = registry.registry()
    for one in known.engines:
        about = (one.info.name, one.origin.distribution, one.origin.version)
        try:
            engine = known.engine(one.info.name)
            devices, versions = tuple(engine.devices()), engine.versions()
        except Exception as error:  # a stranger's engine must not hide the others
            state = "duplicate" if one.info.name in known.duplicates else "unavailable"
            reason = str(error) if isinstance(error, NeuroportError) else f"{type(error).__name__}: {error}"
            found.append(EngineRecord(*about, state, reason=reason))
            continue
        first = not any(record.default for record in found)
        found.append(EngineRecord(*about, "ready", devices, versions=versions, default=first))
    return found


def compile(
    model: Model, engine: str | Engine | None = None, device: str | None = None, precision: str | None = None,
    training: Training | None = None,
) -> Executable:
    """A model compiled for an engine; with ``training``, for gradients and training too.

    engine: a name; None: the first of the default order that can, which is printed. device, precision:
    names; None: the engine's own. precision "bfloat16": operands of products are rounded to it, all else is
    float32 (``engine.base.Options``). Raises UnsupportedModel with every gap before anything runs, and the
    engine's other errors.
    """
    program = _lower(model)
    _check_training(training, model)
    batch = None if training is None else training.batch_size
    choice = _choose(Wanted(program, device, precision, training, batch), engine)
    return _compile(choice, program, training)


def init(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Initial parameters, float32 by "node.parameter"; equal for equal (seed, name, shape) on every engine."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        wrong = f"is no seed (got {seed!r:.60})"
        raise InvalidExperiment([Problem("seed", wrong, "give an integer from 0 to 2**32 - 1")])
    _lower(model)
    return initialize.init(model, int(seed))


def run(
    model: Model, parameters: Mapping[str, Any], inputs: Any, engine: str | Engine | None = None,
    record: Sequence[Any] = (), state: Mapping[str, Any] | None = None, device: str | None = None,
    precision: str | None = None,
) -> RunResult:
    """Run a model over ``inputs``, (T, B, *shape) or a dict of them by Input node.

    record: "node.variable", (node, variable), "node" for all its variables, or "variable" of every node
    that has it. state: ``.state`` of the run before, to continue; None: zeros. Returns ``.outputs``
    (T, B, *shape), a dict by Output node where there are several; ``.records[node][variable]``
    (T, B, *shape); ``.state``; ``.info``. Raises InvalidData with every problem.
    """
    program = _lower(model)
    given = check_run(program, parameters, inputs, state, record)
    choice = _choose(Wanted(program, device, precision, None, given.batch), engine)
    executable = _cached(choice, program, None)
    found = executable.run(executable.load(given.parameters), _start(executable, given), given.inputs, given.record)
    outputs = {name: np.asarray(value) for name, value in found.outputs.items()}
    records = {node: {what: np.asarray(value) for what, value in its.items()} for node, its in found.records.items()}
    return RunResult(
        next(iter(outputs.values())) if len(outputs) == 1 else outputs, records,
        {name: np.asarray(value) for name, value in found.state.items()}, _info(choice, found.info),
    )


def gradients(
    model: Model, parameters: Mapping[str, Any], inputs: Any, targets: Any, loss: Loss | str | None = None,
    engine: str | Engine | None = None, regularizers: Sequence[Regularizer] = (),
    state: Mapping[str, Any] | None = None, device: str | None = None, precision: str | None = None,
) -> Gradients:
    """Loss and its gradient with respect to every trainable parameter; dropout is left out.

    targets: class indices (B,), or traces (T, B, *shape), as the loss asks. loss: CrossEntropy() where
    not given. Returns ``.loss``, the mean over the batch plus penalties, and ``.parameters`` by
    "node.parameter". Raises InvalidData with every problem.
    """
    program = _lower(model)
    training = Training(loss=CrossEntropy() if loss is None else loss, regularizers=tuple(regularizers))
    _check_training(training, model)
    given = check_run(program, parameters, inputs, state, (), targets, training.loss)
    choice = _choose(Wanted(program, device, precision, training, given.batch), engine)
    executable = _cached(choice, program, training)
    if not isinstance(executable, Trainable):
        gap = Problem("training", "gradients, declared by the engine but not there")
        raise UnsupportedModel(choice.name, [gap])
    found = executable.gradients(
        executable.load(given.parameters), _start(executable, given), given.inputs, given.targets
    )
    return Gradients(float(found.loss), {name: np.asarray(value) for name, value in found.parameters.items()})


def _lower(model: Any) -> Program:
    if not isinstance(model, Model):
        mend = "give a Model, such as Model.load('model.yaml') or an experiment's .model"
        raise InvalidModel([Problem("model", f"is no Model (got {type(model).__name__})", mend)])
    return lower(model)


def _check_training(training: Any, model: Model) -> None:
    if training is None:
        return
    if not isinstance(training, Training):
        wrong = f"is no Training (got {type(training).__name__})"
        raise InvalidExperiment([Problem("training", wrong, "give Training(...), or an experiment's .training")])
    problems = training.problems_with(model)
    if problems:
        raise InvalidExperiment([problem.under("training") for problem in problems])
    check_formulas(lower(model), training)


def _choose(wanted: Wanted, engine: str | Engine | None) -> Choice:
    return choose(registry.registry(), wanted, engine)


def _compile(choice: Choice, program: Program, training: Training | None) -> Executable:
    return choice.engine.compile(program, Options(choice.device, choice.precision, training))


_executables: OrderedDict[Any, Executable] = OrderedDict()


def _cached(choice: Choice, program: Program, training: Training | None) -> Executable:
    """The executable of an equal call before, or a new one; the oldest unused make room."""
    # models compare by content and by class: a neuron redefined under its old name is another one
    key = (choice.engine, choice.device, choice.precision, program.model, training)
    try:
        found = _executables.pop(key, None)
    except TypeError:  # a user's loss that has no hash
        return _compile(choice, program, training)
    if found is None:
        found = _compile(choice, program, training)
    _executables[key] = found
    while len(_executables) > CACHED:
        _executables.popitem(last=False)
    return found


def _start(executable: Executable, given: Given) -> Mapping[str, Any]:
    return executable.init_state(given.batch) if given.state is None else given.state


def _info(choice: Choice, said: Mapping[str, Any]) -> dict[str, Any]:
    return {**said, "engine": choice.name, "device": choice.device, "precision": choice.precision}
