"""What a simulated network is given: arrays from a file, random spikes, or a sample of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroport import registry
from neuroport.cli.described import Described
from neuroport.data.npz import read_array, read_arrays
from neuroport.data.packing import unpack
from neuroport.errors import Invalid, InvalidData, Problem, listed
from neuroport.program.initialize import generator
from neuroport.program.lower import Program, lower
from neuroport.runtime.prepare import load_data

STEPS = 200  # of random spikes


@dataclass(frozen=True)
class Wanted:
    """The options that say what goes in; at most one of file, rate (spikes/s) and data.

    steps: how many, None for as many as there are, of random spikes 200. part, sample: of the data set.
    """

    file: Path | None = None
    rate: float | None = None
    data: str | None = None
    part: str | None = None
    sample: int | None = None
    steps: int | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Stimulus:
    """inputs: (T, B, *shape) by Input node. label: the sample's class, if it has one. source: in words."""

    inputs: dict[str, np.ndarray]
    source: str
    label: int | None = None


def stimulus(wanted: Wanted, described: Described) -> Stimulus:
    """What the options ask for; without any, a sample of the experiment's own data. Raises NeuroportError."""
    program, problems = lower(described.model), []
    given = {"--input": wanted.file, "--poisson": wanted.rate, "--data": wanted.data}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        problems.append(Problem(" and ".join(named), "exclude each other", "give one of them"))
    if wanted.steps is not None and wanted.steps < 1:
        problems.append(Problem("--steps", f"is {wanted.steps}", "give at least 1"))
    of_data = wanted.file is None and wanted.rate is None
    if not of_data and (wanted.sample is not None or wanted.part is not None):
        wrong = f"name a sample of a data set, beside {named[0]}"
        problems.append(Problem("--sample, --part", wrong, "leave them out"))
    if problems:
        raise Invalid(problems, "request")
    if wanted.file is not None:
        return _cut(_from_file(wanted.file, program), wanted.steps)
    if wanted.rate is not None:
        return _poisson(wanted, program)
    return _cut(_of_data(wanted, described, program), wanted.steps)


def _cut(found: Stimulus, steps: int | None) -> Stimulus:
    return Stimulus({name: values[:steps] for name, values in found.inputs.items()}, found.source, found.label)


def _from_file(path: Path, program: Program) -> Stimulus:
    """.npy: one array; .npz: one, or one by the name of each Input. A batch of one may be left out."""
    arrays = {"": read_array(path)} if path.suffix == ".npy" else read_arrays(path)
    if len(arrays) == 1 and len(program.inputs) == 1:
        arrays = {next(iter(program.inputs)): next(iter(arrays.values()))}
    missing = [name for name in program.inputs if name not in arrays]
    if missing:
        held = listed(name or "one array without name" for name in arrays)
        raise InvalidData([Problem(f"{path}: {name}", "is missing", f"the file holds {held}") for name in missing])
    batched = {}
    for name, shape in program.inputs.items():
        values = np.asarray(arrays[name])
        batched[name] = values[:, None] if values.ndim == 1 + len(shape) else values
    return Stimulus(batched, f"{path}")


def _poisson(wanted: Wanted, program: Program) -> Stimulus:
    """0 and 1 (T, 1, *shape): a spike in each step with the probability rate * dt."""
    rate, dt, steps = float(wanted.rate or 0.0), program.model.dt, wanted.steps or STEPS
    if not 0 <= rate * dt <= 1:
        wrong = f"is {rate:g} spikes/s, {rate * dt:g} in a step of {dt:g} s"
        raise Invalid([Problem("--poisson", wrong, f"give 0 to {1 / dt:g} spikes/s")], "request")
    drawn = {name: generator(wanted.seed, f"poisson {name}").random((steps, 1, *shape))
             for name, shape in program.inputs.items()}
    inputs = {name: (values < rate * dt).astype(np.float32) for name, values in drawn.items()}
    return Stimulus(inputs, f"Poisson spikes, {rate:g} a second in each channel")


def _of_data(wanted: Wanted, described: Described, program: Program) -> Stimulus:
    experiment = described.experiment
    own = experiment is not None and experiment.data is not None
    if wanted.data is None and not own:
        mend = "give --input FILE, --poisson RATE (spikes/s), or --data SOURCE with --sample K"
        raise Invalid([Problem("input", f"is missing, and {described.source} names no data", mend)], "request")
    if experiment is not None and experiment.data is not None and wanted.data in (None, experiment.data.source):
        data = load_data(experiment)
    else:
        data = registry.load_data(str(wanted.data), {})
    part, sample = wanted.part or ("validation" if data.test is None else "test"), wanted.sample or 0
    if part not in data.parts:
        raise Invalid([Problem("--part", f"there is no {part!r} in {data.name}", f"give one of: {listed(data.parts)}")],
                      "request")
    packed = data.parts[part]
    if not 0 <= sample < len(packed):
        wrong = f"there is no sample {sample}, the {part} set of {data.name} holds {len(packed)}"
        raise Invalid([Problem("--sample", wrong, f"give a number from 0 to {len(packed) - 1}")], "request")
    if len(program.inputs) != 1:
        wrong = f"the model has {len(program.inputs)} inputs, a data set feeds one"
        raise Invalid([Problem("--data", wrong, "give --input FILE.npz with an array for each Input")], "request")
    label = int(packed.labels[sample]) if packed.has_classes else None
    named = {next(iter(program.inputs)): unpack(packed, np.array([sample]))}
    source = f"{data.name}, {part} sample {sample}" + ("" if label is None else f" of class {label}")
    return Stimulus(named, source, label)
