"""Training from an experiment to a run, on any engine."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuroport import registry
from neuroport.choose import Choice, Wanted, choose
from neuroport.data.source import Splits
from neuroport.engine.base import Engine, Options, Trainable
from neuroport.errors import InvalidData, InvalidExperiment, Problem, UnsupportedModel
from neuroport.model.training import CrossEntropy, Experiment
from neuroport.program.lower import lower
from neuroport.program.objective import judged_output
from neuroport.runtime.callbacks import Callback, Plan
from neuroport.runtime.course import Course
from neuroport.runtime.folder import RunFolder
from neuroport.runtime.run import Run
from neuroport.version import __version__


def fit(
    experiment: Experiment, engine: str | Engine | None = None, out: str | Path | None = None,
    callbacks: Sequence[Callback] = (), device: str | None = None, data: Splits | None = None,
) -> Run:
    """Train, pick the best parameters on the validation set, judge those once on the test set.

    engine, device: names; None: the first that can. out: a folder for the run; None: nothing is written.
    data: your own, in place of the experiment's. Raises NeuroportError: InvalidExperiment, InvalidData,
    UnsupportedModel and others before anything runs, TrainingDiverged where a loss is no number.
    """
    if not isinstance(experiment, Experiment):
        wrong = f"is no Experiment (got {type(experiment).__name__})"
        raise InvalidExperiment([Problem("experiment", wrong, "give Experiment.load('experiment.yaml')")])
    data = load_data(experiment) if data is None else data
    check_fit(experiment, data)
    executable, choice = _compile(experiment, data, engine, device)
    folder = None if out is None else RunFolder.create(out, experiment)
    place = None if folder is None else folder.path
    started = time.perf_counter()
    plan = Plan(
        experiment.name or "training", choice.name, choice.device, experiment.training.epochs, len(data.train)
    )
    run = None
    try:
        for callback in callbacks:
            callback.on_start(plan)
        course = Course(experiment, executable, data, folder, callbacks)
        course.train()
        summary = {
            "engine": choice.name, "device": choice.device, "precision": choice.precision, "seed": experiment.seed,
            "epochs": experiment.training.epochs, **course.results(),
            "seconds": round(time.perf_counter() - started, 3),
            "data": data.name, "data_hash": data.content_hash, "model": experiment.model.fingerprint,
            "versions": _versions(choice.engine),
        }
        if folder is not None:
            folder.write_summary(summary)
        run = Run(experiment, course.best, course.last, summary, course.history, place)
    finally:
        for callback in callbacks:
            callback.on_end(run)
    return run


def load_data(experiment: Experiment) -> Splits:
    """The data that an experiment names. Raises InvalidExperiment or InvalidData."""
    if experiment.data is None:
        mend = "add `data: {source: braille}`, or give fit(..., data=npt.data.splits(train=(x, y), ...))"
        raise InvalidExperiment([Problem("data", "is missing", mend)])
    return registry.load_data(experiment.data.source, experiment.data.options)


def check_fit(experiment: Experiment, data: Splits) -> None:
    """Whether model and data fit together. Raises InvalidData with every problem."""
    program, training = lower(experiment.model), experiment.training
    problems = []
    if len(program.inputs) != 1:
        wrong = f"the model has {len(program.inputs)} inputs, a data set feeds one"
        problems.append(Problem("model", wrong, "train a model with a single Input"))
    for name, shape in program.inputs.items():
        if shape != data.shape and len(program.inputs) == 1:
            wrong = f"expects {shape} a step, the data has {data.shape}"
            problems.append(Problem(f"model.nodes.{name}", wrong, f"give the Input shape={data.shape}"))
    judged = program.outputs[judged_output(program, training)]
    if isinstance(training.loss, CrossEntropy) and judged[0] < data.classes:
        wrong = f"has {judged[0]} outputs, the data has {data.classes} classes"
        problems.append(Problem("model", wrong, f"end in a layer of {data.classes}, such as Linear({data.classes})"))
    if problems:
        raise InvalidData(problems, f"data {data.name!r} for this model")


def _compile(
    experiment: Experiment, data: Splits, engine: str | Engine | None, device: str | None
) -> tuple[Trainable, Choice]:
    """The executable, and the engine that was chosen for it. Raises UnsupportedModel with every gap."""
    program, training = lower(experiment.model), experiment.training
    wanted = Wanted(program, device, None, training, min(training.batch_size, len(data.train)))
    choice = choose(registry.registry(), wanted, engine)
    steps = math.ceil(len(data.train) / training.batch_size)
    factors = training.schedule.factors(steps, training.epochs)
    executable = choice.engine.compile(program, Options(choice.device, choice.precision, training, factors))
    if not isinstance(executable, Trainable):
        gap = Problem("training", "gradients, declared but not there: a fault of the engine")
        raise UnsupportedModel(choice.name, [gap])
    return executable, choice


def _versions(engine: Engine) -> dict[str, str]:
    """Versions of what computes."""
    return {"neuroport": __version__, "python": platform.python_version(), "numpy": np.__version__, **engine.versions()}
