"""Going on with a run: what its folder holds, and whether what is asked for now is the same training."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroport import registry
from neuroport.engine.base import Engine
from neuroport.errors import CannotResume, Problem
from neuroport.model.training import Experiment
from neuroport.runtime.checkpoint import BrokenCheckpoint, Checkpoint
from neuroport.runtime.course import steps_per_epoch
from neuroport.runtime.folder import EXPERIMENT, START, checkpoint_files, held_files
from neuroport.runtime.run import read_parameters, read_summary


class ResumeWarning(UserWarning):
    """A checkpoint that is not whole was passed over, or versions have changed since."""


@dataclass(frozen=True)
class Held:
    """What a run's folder holds.

    checkpoint: the newest whole one, None before the first. summary: None before the training has ended.
    start: the parameters that it was given to start from; None: those that its seed draws.
    """

    path: Path
    experiment: Experiment
    checkpoint: Checkpoint | None
    summary: dict[str, Any] | None
    start: dict[str, np.ndarray] | None = None

    @property
    def origin(self) -> Mapping[str, Any]:
        """Who trained it on what, as far as that is known."""
        return self.checkpoint.facts if self.checkpoint is not None else self.summary or {}

    def chosen(
        self, engine: str | Engine | None, device: str | None, precision: str | None
    ) -> tuple[str | Engine | None, str | None, str | None]:
        """Engine, device and precision as they are asked for, those of the run where nothing is."""
        trained_by = self.origin.get("engine")
        if engine is None and trained_by in registry.registry().names:
            engine = trained_by
        named = engine.name if isinstance(engine, Engine) else engine
        if named == trained_by:
            device, precision = device or self.origin.get("device"), precision or self.origin.get("precision")
        return engine, device, precision

    def finished(self, experiment: Experiment) -> bool:
        """Whether the training asked for has ended already."""
        return self.summary is not None and experiment.training.epochs == self.experiment.training.epochs


def held(out: str | Path) -> Held | None:
    """What there is to go on with in a folder; None where no run was begun there, which is said.

    Raises CannotResume, UnusableFolder and InvalidExperiment.
    """
    path = Path(out)
    files = held_files(path)
    if not files:
        _announce(f"nothing to resume in {path}")
        return None
    if EXPERIMENT not in files:
        wrong = f"is missing (found {', '.join(files)})"
        raise CannotResume([Problem(str(path / EXPERIMENT), wrong, "choose a new folder")])
    summary = read_summary(path)
    start = read_parameters(path / START) if START in files else None
    found = Held(path, Experiment.load(path / EXPERIMENT), _newest(path, summary is not None), summary, start)
    if found.checkpoint is None and found.summary is None:
        _announce(f"the run in {path} has no checkpoint yet")
    return found


def _announce(why: str) -> None:
    print(f"neuroport: {why}, training starts from the beginning", file=sys.stderr)


def _newest(path: Path, ended: bool) -> Checkpoint | None:
    """The newest checkpoint that is whole. Raises CannotResume where there are some, none is, and one is needed."""
    files = checkpoint_files(path)
    for file in files:
        try:
            return Checkpoint.read(file)
        except BrokenCheckpoint as error:
            if file is not files[-1]:
                sentence = f"{error}; the training goes on from the checkpoint before it"
                warnings.warn(sentence, ResumeWarning, stacklevel=4)
    if files and not ended:
        mend = f"train anew in another folder; the best parameters so far may still be in {path}"
        raise CannotResume([Problem(str(files[0].parent), "holds checkpoints, and none of them is whole", mend)])
    return None


def check(
    was: Held, experiment: Experiment, origin: Mapping[str, Any], samples: int,
    parameters: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Whether a run can go on as it is asked to now. samples: of the training set. parameters: given to start from.

    origin: as a checkpoint holds it. Raises CannotResume with every difference; warns of other versions.
    """
    problems = [*_settings(was, experiment, samples), *_origin(was, origin), *_start(was, parameters)]
    if problems:
        raise CannotResume(problems, f"continuation of {was.path}")
    then, now = was.origin.get("versions", origin["versions"]), origin["versions"]
    changed = [f"{name} {then.get(name)} then, {now.get(name)} now" for name in {**then, **now}
               if then.get(name) != now.get(name)]
    if changed and not was.finished(experiment):
        sentence = f"{was.path} was begun with other versions, its numbers may differ from here on"
        warnings.warn(f"{sentence}: {', '.join(changed)}", ResumeWarning, stacklevel=3)


def fingerprint(experiment: Experiment) -> str:
    """A name for all of an experiment but the number of its epochs, which may grow."""
    same = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": 1})})
    return hashlib.blake2b(same.to_yaml().encode(), digest_size=16).hexdigest()


def _settings(was: Held, experiment: Experiment, samples: int) -> Iterator[Problem]:
    then, now = dict(_leaves(was.experiment.to_data())), dict(_leaves(experiment.to_data()))
    for path in {**then, **now}:
        if then.get(path) == now.get(path):
            continue
        if path == "training.epochs":
            yield from _epochs(was, experiment, samples)
            continue
        wrong = f"is {_said(now, path)} now, and {_said(then, path)} in the run"
        yield Problem(path, wrong, f"take the run's own {was.path / EXPERIMENT}, or train anew in another folder")


def _epochs(was: Held, experiment: Experiment, samples: int) -> Iterator[Problem]:
    """More epochs are the same training as long as the learning rates of the first ones are."""
    then, now = was.experiment.training, experiment.training
    steps = steps_per_epoch(then, samples)
    before, after = (one.schedule.factors(steps, one.epochs) for one in (then, now))
    wrong = f"are {now.epochs} now, and {then.epochs} in the run"
    if now.epochs < then.epochs:
        yield Problem("training.epochs", wrong, "give as many or more")
    elif not np.array_equal(before, after[: len(before)]):
        wrong += f", and the schedule {type(then.schedule).__name__} depends on how many there are"
        yield Problem("training.epochs", wrong, "train anew in another folder, with all the epochs that you want")
    elif was.checkpoint is None and was.summary is not None:
        yield Problem("training.epochs", f"{wrong}, which has no checkpoint to go on from", "train anew")


def _origin(was: Held, origin: Mapping[str, Any]) -> Iterator[Problem]:
    then = was.origin
    mend = (f"go on with the run's own, --engine {then.get('engine')} --device {then.get('device')}; judge what it has "
            f"reached, `neuroport evaluate {was.path} --engine {origin['engine']}`; or train anew in another folder")
    for name in ("engine", "device", "precision"):
        if then.get(name, origin[name]) != origin[name]:
            wrong = f"is {origin[name]} now, and {then[name]} in the run: its numbers would differ from here on"
            yield Problem(name, wrong, mend)
    if then.get("data_hash", origin["data_hash"]) != origin["data_hash"]:
        yield Problem("data", "holds other samples than the run was begun with",
                      "give the same data, or train anew in another folder")
    same_version = then.get("versions", {}).get("neuroport") == origin["versions"]["neuroport"]  # writes YAML alike
    if was.checkpoint is not None and same_version and then["experiment"] != fingerprint(was.experiment):
        yield Problem(was.checkpoint.name, f"is of another experiment than the {EXPERIMENT} beside it", "remove it")


def _start(was: Held, given: Mapping[str, np.ndarray] | None) -> Iterator[Problem]:
    """Parameters that a run is given once more are those that it was begun from. Without any it goes on as it was."""
    if given is None:
        return
    mend = "leave them out to go on with the run, or train anew in another folder"
    if was.start is None:
        yield Problem("parameters", "are given now, and the run was begun from what its seed draws", mend)
        return
    for name in sorted({**was.start, **given}):
        if name not in given or name not in was.start or not np.array_equal(was.start[name], given[name]):
            yield Problem(f"parameters.{name}", "is not what the run was begun from", mend)


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Plain data as paths and values."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    empty = True
    for key, value in inner:
        empty = False
        yield from _leaves(value, f"{path}.{key}" if path else str(key))
    if empty:
        yield path, data


def _said(data: Mapping[str, Any], path: str) -> str:
    return f"{data[path]!r:.60}" if path in data else "absent"
