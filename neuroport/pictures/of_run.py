"""All pictures of a run: how it learned, what it decides, what its neurons do, what it is made of."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from neuroport import api
from neuroport.data.packing import unpack
from neuroport.data.splits import Splits
from neuroport.errors import InvalidData, MissingPackage, NotWritten, Problem, UnusableFolder, listed
from neuroport.pictures.confusion import confusion
from neuroport.pictures.curves import training_curves
from neuroport.pictures.graph import graph
from neuroport.pictures.histograms import rates, weights
from neuroport.pictures.membranes import membranes
from neuroport.pictures.raster import raster
from neuroport.program.lower import lower
from neuroport.program.objective import decision, judged_output
from neuroport.runtime.evaluate import evaluate
from neuroport.runtime.prepare import load_data
from neuroport.runtime.run import Run

FORMATS = ("png", "svg", "pdf")
FOLDER = "pictures"


def figures(
    run: Run | str | Path, part: str | None = None, sample: int = 0, engine: str | None = None,
    device: str | None = None, data: Splits | None = None,
) -> dict[str, Any]:
    """A matplotlib Figure of each picture, by name.

    run: a Run or its folder. part: of the data, for decisions, rates and the sample; None: test, or validation
    where there is no test set. sample: whose spikes and potentials are shown. engine: None: the one that trained.
    data: as it was given to ``fit``; without any, what needs data is left out. Raises NeuroportError.
    """
    need_matplotlib()
    run = run if isinstance(run, Run) else Run.load(run)
    model, experiment = run.model, run.experiment
    engines = {} if run.summary is None else {f"on {run.summary['engine']}": run.history}
    found = {"training": training_curves(engines or {"so far": run.history})}
    found["weights"] = weights(run.parameters, initial=api.init(model, experiment.seed))
    found["graph"] = graph(model)
    if data is None and experiment.data is None:
        return found
    data = load_data(experiment) if data is None else data
    part = part or ("validation" if data.test is None else "test")
    judged = evaluate(run, part, engine, device, data)
    if judged.confusion is not None:
        found["confusion"] = confusion(judged.confusion)
    if judged.rates:
        found["rates"] = rates(judged.rates, model.dt)
    if not 0 <= sample < judged.samples:
        wrong = f"there is no sample {sample}, the {part} set holds {judged.samples}"
        raise InvalidData([Problem("sample", wrong, f"give a number from 0 to {judged.samples - 1}")])
    inputs = unpack(data.parts[part], np.array([sample]))
    program, settings = lower(model), experiment.training
    populations = list(program.neurons)
    seen = api.run(model, run.parameters, inputs, judged.engine, populations, device=judged.device)
    outputs = seen.outputs if isinstance(seen.outputs, dict) else {judged_output(program, settings): seen.outputs}
    scored = decision(program, settings, outputs)
    chosen = None if scored is None else int(scored[0].argmax())
    title = _title(data, part, sample)
    found["raster"] = raster(model, seen.records, inputs, seen.outputs, decision=chosen, title=title)
    for name in populations:
        found[f"membranes-{name}"] = membranes(model, run.parameters, seen.records, name, title=title)
    return found


def _title(data: Splits, part: str, sample: int) -> str:
    """Which sample of what: "braille, test sample 0 of class 3"."""
    packed = data.parts[part]
    of_class = f" of class {packed.labels[sample]}" if packed.has_classes else ""
    return f"{data.name}, {part} sample {sample}{of_class}"


def plot(
    run: Run | str | Path, out: str | Path | None = None, format: str = "png", part: str | None = None,
    sample: int = 0, engine: str | None = None, device: str | None = None, data: Splits | None = None,
) -> list[Path]:
    """Draw all pictures of a run into files; see ``figures`` for the arguments. Returns their paths.

    out: a folder; None: "pictures" in the run's own. format: "png", "svg" or "pdf". Raises NeuroportError.
    """
    problems = []
    if format not in FORMATS:
        problems.append(Problem("format", f"there is no format {format!r}", f"give one of: {listed(FORMATS)}"))
    run = run if isinstance(run, Run) else Run.load(run)
    if out is None and run.folder is None:
        problems.append(Problem("out", "is missing, and the run has no folder", 'give a folder, plot(run, "pictures")'))
    if problems:
        raise InvalidData(problems, "request")
    folder = Path(out) if out is not None else run.folder / FOLDER  # type: ignore[operator]
    drawn = figures(run, part, sample, engine, device, data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFolder(f"pictures cannot be written to {folder}: {error.strerror or error}\n"
                             "  mend: choose a folder that you may write to") from None
    paths = []
    for name, figure in drawn.items():
        path = folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.{format}"
        save(figure, path)
        paths.append(path)
    return paths


def save(figure: Any, path: Path) -> None:
    """Write a Figure, in the format of the path's ending. Raises NotWritten."""
    try:
        figure.savefig(path)
    except OSError as error:
        mend = "mend: make room there, or choose a folder that you may write to"
        raise NotWritten(f"{path} cannot be written: {error.strerror or error}\n  {mend}") from None


def need_matplotlib() -> None:
    """Raises MissingPackage where pictures cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise MissingPackage("the package matplotlib is not installed\n  mend: pip install 'neuroport[plot]'")
