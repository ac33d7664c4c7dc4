"""The sources "tonic:NAME": every data set of the library tonic, read by tonic's own classes.

tonic is licensed under GPL-3. It is imported where one of its data sets is asked for, and nowhere else.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.data.disk import cache_folder
from neuroport.data.events import TIME_COLUMN, Events, columns
from neuroport.data.options import binning, parts_of
from neuroport.data.paths import expanded
from neuroport.data.plan import Part, Plan
from neuroport.errors import InvalidData, InvalidExperiment, MissingPackage, Problem, listed

MICROSECONDS = 1e-6  # tonic's unit of time
INSTALL = "pip install 'neuroport[data]'"
# what those classes that take `split` call their parts
SPLITS = {
    "SSC": {"train": "train", "validation": "valid", "test": "test"},
    "ThreeET_Eyetracking": {"train": "train", "validation": "val"},
    "EBSSA": {"train": "labelled"},
}
ARCHIVE_NAMES = ("filename", "train_filename", "train_zip", "file_name", "train_images_file")  # its classes' attributes
FOLDERS = {"SMNIST": "smnist"}  # below `save_to`, where it is not the set's name
ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z")
# of classes: what is not theirs to choose in an experiment
OURS = {"self", "save_to", "root", "transform", "target_transform", "transforms", "train", "split"}


class TonicReader:
    """The samples of one of tonic's data sets. ``labels`` are set by ``_number``, from ``raw``: tonic's targets."""

    def __init__(self, dataset: Any, name: str, shape: tuple[int, ...], sort: bool, align: bool,
                 target: Callable[[Any], Any] | None = None):
        self.dataset, self.name, self.shape, self.sort, self.align = dataset, name, shape, sort, align
        self.raw = [(target or _plain)(one) for one in self._targets(target is None)]
        self.labels = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, samples: np.ndarray) -> Events:
        found = [self._events(int(sample)) for sample in samples]
        try:
            return Events.of(found, self.labels[samples], self.shape, MICROSECONDS, self.sort, self.align, samples)
        except InvalidData as error:
            raise InvalidData([problem.under(f"tonic:{self.name}") for problem in error.problems], "events") from None

    def _targets(self, classes: bool) -> Sequence[Any]:
        """What tonic gives as targets, from its list of them, if it has one, else from every sample."""
        if not len(self.dataset):
            raise InvalidData([Problem(f"tonic:{self.name}", "tonic finds no samples", "fetch the files again")])
        first = self._item(0)[1]
        if classes and not _is_class(first):
            wrong = f"its targets are no classes (got {type(first).__name__})"
            mend = f"make class indices of them: neuroport.data.tonic.load({self.name!r}, ..., target=function)"
            raise InvalidData([Problem(f"tonic:{self.name}", wrong, mend)])
        listed_by_tonic: Any = getattr(self.dataset, "targets", ())
        # of some sets the list holds the targets' files
        if len(listed_by_tonic) == len(self) and _is_class(first) and _plain(first) == listed_by_tonic[0]:
            return list(listed_by_tonic)
        return [self._item(index)[1] for index in range(len(self))]

    def _item(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except ImportError as error:
            raise _missing(f"tonic's {self.name}", error) from error
        except Exception as error:
            wrong = f"tonic cannot read it: {type(error).__name__}: {' '.join(str(error).split())}"
            place = f"tonic:{self.name}: sample {index}"
            raise InvalidData([Problem(place, wrong, "fetch the data set's files again")]) from error

    def _events(self, index: int) -> np.ndarray:
        data = self._item(index)[0]
        if isinstance(data, tuple):  # events beside images, say
            data = next((part for part in data if TIME_COLUMN in columns(part)), data)
        if TIME_COLUMN not in columns(data):
            wrong = f"holds no events (got {type(data).__name__})"
            mend = "choose by the class's own options what it reads"
            raise InvalidData([Problem(f"tonic:{self.name}: sample {index}", wrong, mend)])
        return np.asarray(data).reshape(-1)


def _is_class(target: Any) -> bool:
    return isinstance(target, str) or (np.ndim(target) == 0 and np.asarray(target).dtype.kind in "iu")


def _plain(target: Any) -> Any:
    return target if isinstance(target, str) else int(target)


def load(
    name: str, *, path: str | Path = "", dt: float, steps: int | None = None, duration: float | None = None,
    start: float = 0.0, pool: int | list[int] = 1, values: str = "binary", beyond: str = "crop",
    sensor_size: tuple[int, ...] = (), sort: bool = False, align: bool = False, validation: float = 0.1,
    test: float = 0.1, seed: int = 0, by: str = "class", options: Mapping[str, Any] | None = None,
    target: Callable[[Any], int] | None = None, cache: bool = True,
) -> Plan:
    """The sources "tonic:NAME".

    path: where tonic keeps its files, in a folder of the set's name (its ``save_to``); the cache folder, where none
    is given. What is missing there tonic downloads. Samples are (P, H, W) a step, or (channels,). options: of tonic's
    class, such as {first_saccade_only: true}. sensor_size: (W, H, P), of sets that do not say. target: from Python,
    makes a class index of what tonic gives as target. Of sets that have no validation or test part of their own, shares
    are drawn by ``seed``, by "class" (each alike) or "sample". sort, align: see ``Events.of``; the rest:
    ``data.binning.Binning``.

    Raises MissingPackage without tonic, InvalidData with the folder to fill where its files are missing.
    """
    packer = binning(dt=dt, steps=steps, duration=duration, start=start, pool=pool, values=values, beyond=beyond)
    cls = class_of(name)
    where = expanded(path) if path else cache_folder() / "tonic"
    sets = _opened(cls, name, where, dict(options or {}))
    size = sensor_size or getattr(sets["train"], "sensor_size", None)
    readers = {part: TonicReader(one, name, _shape(size), sort, align, target) for part, one in sets.items()}
    classes = _number(readers, name)
    parts = {part: Part.all(reader) for part, reader in readers.items()}
    if "validation" not in parts:
        parts |= parts_of(readers["train"], validation, seed, by, test=0.0 if "test" in parts else test)
    identity = {"source": f"tonic:{name}", "tonic": metadata.version("tonic"), "shape": list(_shape(size)),
                "sort": sort, "align": align, "options": dict(options or {}),
                "targets": {part: reader.labels.tolist() for part, reader in readers.items()} if target else None}
    folder = Path(sets["train"].location_on_system)
    return Plan(name=f"tonic_{name}", parts=parts, packer=packer, classes=classes, identity=identity,
                files=_files(folder), cache=cache)


def names() -> tuple[str, ...]:
    """Every data set of the installed tonic. Raises MissingPackage."""
    return tuple(sorted(_datasets().__all__))


def class_of(name: str) -> Any:
    """tonic's class of a data set. Raises MissingPackage, or InvalidExperiment for a name it does not have."""
    datasets = _datasets()
    if name not in datasets.__all__:
        close = next((known for known in datasets.__all__ if known.lower() == name.lower()), "")
        mend = f"did you mean 'tonic:{close}'? " if close else ""
        mend += f"tonic has {listed(sorted(datasets.__all__), 30)}"
        raise InvalidExperiment([Problem("data.source", f"tonic has no data set {name!r}", mend)])
    return getattr(datasets, name)


def _datasets() -> Any:
    try:
        import tonic.datasets
    except ImportError as error:
        raise _missing("this source", error) from error
    return tonic.datasets


def _missing(who: str, error: ImportError) -> MissingPackage:
    module = (error.name or "tonic").partition(".")[0]
    line = INSTALL if module == "tonic" else f"pip install {module}"
    return MissingPackage(f"{who} needs the package {module}, which is not installed\n  mend: {line}")


def _opened(cls: Any, name: str, where: Path, options: dict[str, Any]) -> dict[str, Any]:
    """tonic's objects of the parts that a class has."""
    takes = inspect.signature(cls.__init__).parameters
    known = [option for option in takes if option not in OURS]
    problems = [Problem(f"data.options.options.{option}", f"tonic's {name} has no such option",
                        f"its options are: {', '.join(known) or 'none'}") for option in options if option not in known]
    problems += [Problem(f"data.options.options.{option}", "is missing", f"tonic's {name} needs it")
                 for option in known if takes[option].default is inspect.Parameter.empty and option not in options]
    if problems:
        raise InvalidExperiment(problems)
    place = {"root" if "root" in takes else "save_to": str(where)}
    ways: dict[str, dict[str, Any]] = {"train": {}}
    if "train" in takes:
        ways = {"train": {"train": True}, "test": {"train": False}}
    elif "split" in takes:
        ways = {part: {"split": word} for part, word in SPLITS.get(name, {"train": "train"}).items()}
    return {part: _open(cls, name, where, {**place, **way, **options}) for part, way in ways.items()}


def _open(cls: Any, name: str, where: Path, options: dict[str, Any]) -> Any:
    """One object of tonic's, which downloads what is missing. Its progress goes to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return cls(**options)
    except ImportError as error:
        raise _missing(f"tonic's {name}", error) from error
    except (Exception, SystemExit) as error:  # DVSLip ends the process where its file is missing
        said = " ".join(str(error).split())
        what = f"{type(error).__name__}: {said}" if said else type(error).__name__
        archive = next((found for name_of_it in ARCHIVE_NAMES if (found := getattr(cls, name_of_it, None))), None)
        url = getattr(cls, "url", None) or getattr(cls, "base_url", None)
        folder = where / FOLDERS.get(name, name)
        mend = f"put its files into {folder}" + (f", among them {archive}" if archive else "")
        mend += f"; they come from {url}" if url else "; tonic's documentation says where they come from"
        wrong = f"tonic could neither find nor download it: {what}"
        raise InvalidData([Problem(f"tonic:{name}", wrong, mend)]) from error


def _shape(sensor_size: Sequence[int] | None) -> tuple[int, ...]:
    """Of one step: (P, H, W) of a camera, (channels,) of a line of sensors."""
    if not sensor_size or len(sensor_size) != 3:
        mend = "give sensor_size: [width, height, polarities]"
        raise InvalidExperiment([Problem("data.options.sensor_size", "is not said by tonic for this set", mend)])
    width, height, polarities = (int(one) for one in sensor_size)
    return (width,) if height == 1 and polarities == 1 else (polarities, height, width)


def _number(readers: Mapping[str, TonicReader], name: str) -> int:
    """Give all readers class indices; returns how many classes there are."""
    raw = [one for reader in readers.values() for one in reader.raw]
    texts = {isinstance(one, str) for one in raw}
    if len(texts) > 1:
        raise InvalidData([Problem(f"tonic:{name}", "its targets are texts and numbers", "give target=function")])
    if texts == {False}:
        for reader in readers.values():
            reader.labels = np.array(reader.raw, np.int64)
        return int(max(raw)) + 1
    number = {one: index for index, one in enumerate(sorted(set(raw)))}
    for reader in readers.values():
        reader.labels = np.array([number[one] for one in reader.raw], np.int64)
    return len(number)


def _files(folder: Path) -> dict[str, Path]:
    """What tonic reads; not the archives it was unpacked from, as far as anything else is there."""
    every = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return {name: file for name, file in every.items() if not name.endswith(ARCHIVES)} or every
