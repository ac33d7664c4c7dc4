"""What can be simulated: a model, an experiment or a run, told apart by what is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neuroport import registry
from neuroport.errors import InvalidModel, Problem
from neuroport.model.graph import Model
from neuroport.model.training import Experiment
from neuroport.runtime.run import Run, read_parameters


@dataclass(frozen=True, eq=False)
class Described:
    """A model, and what came with it.

    parameters: None where none were trained. source: in words. trained_by: the engine, where that is known and it
    can be used here.
    """

    model: Model
    experiment: Experiment | None
    parameters: Mapping[str, Any] | None
    source: str
    trained_by: str | None = None


def read_described(path: Path) -> Described:
    """A run's folder, an experiment's file or a model's. Raises NeuroportError."""
    if path.is_dir():
        run = Run.load(path)
        return Described(run.model, run.experiment, run.parameters, f"run {path}", _usable(run))
    if path.suffix.lower() == ".nir" and path.is_file():
        mend = f"make a model of it first: neuroport nir import {path} --numerics NAME --dt SECONDS --out NETWORK.yaml"
        raise InvalidModel([Problem(str(path), "is a NIR file, which says no step and no numerics", mend)])
    if _has_model(path):
        experiment = Experiment.load(path)
        return Described(experiment.model, experiment, None, f"experiment {path}")
    return Described(Model.load(path), None, None, f"model {path}")


def _usable(run: Run) -> str | None:
    known = registry.registry()
    name = None if run.summary is None else run.summary.get("engine")
    return name if name in known.names and name not in known.duplicates and not known.obstacle(name) else None


def _has_model(path: Path) -> bool:
    """Whether a file's outermost mapping has the key of an experiment; what is wrong with it is said by its reader."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return False
    return isinstance(data, dict) and "model" in data


def read_parameters_of(place: Path) -> dict[str, Any]:
    """Parameters from a .safetensors file, or the best ones of a run. Raises UnusableFolder."""
    return Run.load(place).parameters if place.is_dir() else read_parameters(place)
