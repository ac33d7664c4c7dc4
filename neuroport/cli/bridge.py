"""What the commands of ``neuroport nir`` read: networks in files of several kinds, and what is put into them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroport import registry
from neuroport.cli.described import Described, read_described
from neuroport.cli.output import console
from neuroport.cli.stimulus import Wanted, stimulus
from neuroport.data.packing import unpack
from neuroport.errors import Invalid, InvalidData, Problem, listed
from neuroport.nir.importing import NirWarning, read
from neuroport.program.lower import lower
from neuroport.runtime.prepare import load_data
from neuroport.runtime.run import read_parameters

DESCRIBED = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Reading:
    """How a .nir file is to be read; None: as the file itself says."""

    numerics: str | None = None
    dt: float | None = None
    reset: str | None = None
    time_unit: float | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """What was given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class Given:
    """inputs: (T, B, *shape) by Input node. source: in words. labels: (B,), None where there are none."""

    inputs: Mapping[str, np.ndarray]
    source: str
    labels: np.ndarray | None = None


def is_nir(path: Path) -> bool:
    """Whether a path is neither a run's folder nor a description."""
    return not path.is_dir() and path.suffix.lower() not in DESCRIBED


def network(path: Path, reading: Reading) -> Described:
    """A .nir file under a reading, the folder of a run, or a model with its .safetensors beside it.

    Raises NeuroportError.
    """
    if is_nir(path):
        model, parameters = read(path, **reading.asked)
        said = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                         for name, value in reading.asked.items())
        return Described(model, None, parameters, f"{path.name}, {said}" if said else path.name)
    found = read_described(path)
    if found.parameters is not None:
        return found
    beside = path.with_suffix(".safetensors")
    if not beside.is_file():
        mend = f"put {beside.name} beside it, or give the folder of a run"
        raise InvalidData([Problem(str(path), "describes a model without trained parameters", mend)])
    return Described(found.model, found.experiment, read_parameters(beside), found.source)


def given(wanted: Wanted, described: Described) -> Given:
    """What the options ask for; of a data set a whole part, where no sample is named. Raises NeuroportError."""
    own = described.experiment is not None and described.experiment.data is not None
    of_data = wanted.file is None and wanted.rate is None and (wanted.data is not None or own)
    if not of_data or wanted.sample is not None:
        found = stimulus(wanted, described)
        return Given(found.inputs, found.source, None if found.label is None else np.array([found.label]))
    if wanted.data is not None:
        data = registry.load_data(wanted.data, {})
    else:
        assert described.experiment is not None
        data = load_data(described.experiment)
    part = wanted.part or ("validation" if data.test is None else "test")
    problems = []
    if part not in data.parts:
        problems.append(Problem("--part", f"there is no {part!r} in {data.name}", f"give one of: {listed(data.parts)}"))
    inputs = lower(described.model).inputs
    if len(inputs) != 1:
        wrong = f"the model has {len(inputs)} inputs, a data set feeds one"
        problems.append(Problem("--data", wrong, "give --input FILE.npz with an array for each Input"))
    if problems:
        raise Invalid(problems, "request")
    packed = data.parts[part]
    values = unpack(packed, np.arange(len(packed)))[: wanted.steps]
    labels = np.asarray(packed.labels, np.int64) if packed.has_classes else None
    return Given({next(iter(inputs)): values}, f"{data.name}, all {len(packed)} {part} samples", labels)


@contextmanager
def findings_on_screen() -> Iterator[None]:
    """What was mended on reading a file, as sentences on standard error."""
    errors = console(stderr=True)
    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.simplefilter("always", NirWarning)

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, NirWarning):
                errors.print(f"note: {message}", style="yellow", markup=False, soft_wrap=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def check_writable(option: str, path: Path, endings: tuple[str, ...], overwrite: bool = True) -> None:
    """What keeps a file from being written is said before anything runs. Raises Invalid."""
    problems = []
    if endings and path.suffix.lower() not in endings:
        problems.append(Problem(option, f"{path} has no known ending", f"end it in {' or '.join(endings)}"))
    if not path.parent.is_dir():
        problems.append(Problem(option, f"there is no folder {path.parent}", "make it first"))
    if not overwrite and path.exists():
        problems.append(Problem(option, f"{path} is there already", "choose another name, or replace it: --overwrite"))
    if problems:
        raise Invalid(problems, "request")
