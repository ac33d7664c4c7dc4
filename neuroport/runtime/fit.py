"""Training from an experiment to a run, on any engine."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroport import registry
from neuroport.choose import Choice, Wanted, choose
from neuroport.data.splits import Splits
from neuroport.engine.base import Engine, Options, Trainable
from neuroport.errors import InvalidExperiment, Problem, UnsupportedModel
from neuroport.model.training import Experiment
from neuroport.program.arrays import check_parameters
from neuroport.program.initialize import init
from neuroport.program.lower import lower
from neuroport.runtime import resume as resuming
from neuroport.runtime.callbacks import Callback, Plan, tell_end
from neuroport.runtime.checkpoint import EVERY_EPOCH, Checkpoints, Keeper
from neuroport.runtime.claim import Claim
from neuroport.runtime.course import Course
from neuroport.runtime.folder import RunFolder
from neuroport.runtime.prepare import check_fit, load_data
from neuroport.runtime.reached import Reached
from neuroport.runtime.run import Run
from neuroport.version import __version__


def fit(
    experiment: Experiment, engine: str | Engine | None = None, out: str | Path | None = None,
    callbacks: Sequence[Callback] = (), device: str | None = None, data: Splits | None = None,
    resume: bool = False, checkpoint: Checkpoints | None = EVERY_EPOCH, memory: int | None = None,
    parameters: Mapping[str, Any] | None = None, overwrite: bool = False, precision: str | None = None,
) -> Run:
    """Train, pick the best parameters on the validation set, judge those once on the test set.

    engine, device: names; None: the first that can, or those of the run that is resumed. out: a folder for the
    run; None: nothing is written. data: your own, in place of the experiment's. resume: go on with the run in
    ``out`` from its newest checkpoint, to the same result as if it had never stopped; where no run was begun
    there, one is; where it has ended, it is returned. checkpoint: when to write them; None: never. memory: bytes
    that the data may take on the device; None: half of what is free. What does not fit is streamed, to equal batches.
    parameters: to start from, by "node.parameter"; None: those that the experiment's seed draws. overwrite: the run
    that ``out`` holds makes room for this one. precision: None: the engine's own, or that of the run that is resumed;
    "bfloat16" rounds the operands of products and leaves all else in float32, parameters too.

    One process at a time trains in a folder. A run that is resumed goes on from what it was begun from; parameters that
    are given once more must be those.

    Raises NeuroportError: InvalidExperiment, InvalidData, UnsupportedModel, CannotResume and others before
    anything runs; TrainingDiverged where a loss is no number, NotWritten where the disk is full.
    """
    _check_arguments(experiment, out, resume, checkpoint)
    with Claim() as claim:
        if resume and out is not None and Path(out).is_dir():
            claim.take(Path(out))  # before its checkpoints are read
        return _fit(experiment, engine, out, callbacks, device, data, resume, checkpoint, memory, parameters, overwrite,
                    precision, claim)


def _fit(
    experiment: Experiment, engine: str | Engine | None, out: str | Path | None, callbacks: Sequence[Callback],
    device: str | None, data: Splits | None, resume: bool, checkpoint: Checkpoints | None, memory: int | None,
    parameters: Mapping[str, Any] | None, overwrite: bool, precision: str | None, claim: Claim,
) -> Run:
    was = resuming.held(out) if resume and out is not None else None
    if was is not None:
        engine, device, precision = was.chosen(engine, device, precision)
    data = load_data(experiment) if data is None else data
    check_fit(experiment, data)
    choice = _choose(experiment, data, engine, device, precision)
    origin = _origin(experiment, data, choice)
    given = None if parameters is None else check_parameters(lower(experiment.model), parameters)
    if was is not None:
        resuming.check(was, experiment, origin, len(data.train), given)
        given = was.start
        if was.finished(experiment):
            return Run.load(was.path)
    executable = _compile(experiment, choice)
    start = init(experiment.model, experiment.seed) if given is None else given
    held = None if was is None else was.checkpoint
    reached = Reached() if held is None else Reached.of(held)
    folder = None
    if out is not None:
        folder = RunFolder.create(out, experiment, overwrite, claim, given) if was is None else RunFolder.reopen(
            was.path, experiment, reached.history)
    keeper = Keeper(folder, checkpoint) if folder is not None and checkpoint is not None else None
    course = Course(experiment, executable, data, folder, callbacks, origin, keeper, reached, memory)
    plan = Plan(
        experiment.name or "training", choice.name, choice.device, experiment.training.epochs, len(data.train),
        experiment, reached.epoch + 1, data.steps, data.shape,
    )
    try:
        for callback in callbacks:
            callback.on_start(plan)
        course.train(start, held)
        summary = _summary(course, origin)
        if folder is not None:
            folder.write_summary(summary)
        place = None if folder is None else folder.path
        run = Run(experiment, reached.best, course.last, summary, reached.history, place)
    except BaseException as failure:
        try:
            tell_end(callbacks, None)
        except Exception as error:
            failure.add_note(f"and then a callback failed in on_end: {error!r}")
        raise
    tell_end(callbacks, run)
    return run


def _check_arguments(experiment: object, out: object, resume: bool, checkpoint: object) -> None:
    problems = []
    if not isinstance(experiment, Experiment):
        wrong = f"is no Experiment (got {type(experiment).__name__})"
        problems.append(Problem("experiment", wrong, "give Experiment.load('experiment.yaml')"))
    if resume and out is None:
        problems.append(Problem("out", "is missing: there is no folder to resume", "give the run's folder, out=..."))
    if checkpoint is not None and not isinstance(checkpoint, Checkpoints):
        wrong = f"is no Checkpoints (got {type(checkpoint).__name__})"
        problems.append(Problem("checkpoint", wrong, "give Checkpoints(every_epochs=5), or None"))
    if problems:
        raise InvalidExperiment(problems)


def _choose(
    experiment: Experiment, data: Splits, engine: str | Engine | None, device: str | None, precision: str | None
) -> Choice:
    """The engine to train with. Raises UnsupportedModel with every gap."""
    program, training = lower(experiment.model), experiment.training
    wanted = Wanted(program, device, precision, training, min(training.batch_size, len(data.train)))
    return choose(registry.registry(), wanted, engine)


def _compile(experiment: Experiment, choice: Choice) -> Trainable:
    options = Options(choice.device, choice.precision, experiment.training)
    executable = choice.engine.compile(lower(experiment.model), options)
    if not isinstance(executable, Trainable):
        gap = Problem("training", "gradients, declared but not there: a fault of the engine")
        raise UnsupportedModel(choice.name, [gap])
    return executable


def _origin(experiment: Experiment, data: Splits, choice: Choice) -> dict[str, Any]:
    """Who trains what: equal for trainings that give equal results."""
    return {
        "engine": choice.name, "device": choice.device, "precision": choice.precision,
        "experiment": resuming.fingerprint(experiment), "data_hash": data.content_hash,
        "versions": {"neuroport": __version__, "python": platform.python_version(), "numpy": np.__version__,
                     **choice.engine.versions()},
    }


def _summary(course: Course, origin: dict[str, Any]) -> dict[str, Any]:
    experiment = course.experiment
    return {
        **{name: origin[name] for name in ("engine", "device", "precision")},
        "seed": experiment.seed, "epochs": experiment.training.epochs, **course.results(),
        "data": course.data.name, "model": experiment.model.fingerprint,
        **{name: origin[name] for name in ("experiment", "data_hash", "versions")},
    }
