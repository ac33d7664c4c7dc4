"""``neuroport train``: from an experiment to a run in a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuroport.cli.options import Device, Engine, Experiment, Imports, Json, Precision, Quiet, any_files
from neuroport.cli.output import console, nothing_else, print_json
from neuroport.runtime.imports import import_first

if TYPE_CHECKING:
    from neuroport.runtime.callbacks import Callback
    from neuroport.runtime.checkpoint import Checkpoints

RUNS = Path("runs")


def train(
    experiment: Experiment,
    engine: Engine = None,
    device: Device = None,
    epochs: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    out: Annotated[Path | None, typer.Option(
        help="Folder for the run; if left out, runs/NAME-ENGINE.", autocompletion=any_files)] = None,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on with the run in that folder, to the same result as if it had never stopped.")] = False,
    checkpoint_epochs: Annotated[int | None, typer.Option(
        help="A checkpoint after every so many epochs; if left out, after each, or by minutes alone.")] = None,
    checkpoint_minutes: Annotated[float | None, typer.Option(
        help="A checkpoint every so many minutes, also within an epoch.")] = None,
    keep: Annotated[int, typer.Option(help="How many of the newest checkpoints are kept.")] = 3,
    log: Annotated[str, typer.Option(
        help="Where else metrics go: some of csv, tensorboard, wandb; separated by commas.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out holds.")] = False,
    precision: Precision = None,
    imports: Imports = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train, and write the run to a folder: experiment, parameters, metrics, checkpoints, summary."""
    from neuroport.model.training import Experiment
    from neuroport.runtime.fit import fit
    from neuroport.runtime.overrides import overridden
    from neuroport.runtime.progress import LiveProgress, report, warnings_on

    errors = console(stderr=True)
    with nothing_else():
        import_first(imports)
        described = overridden(Experiment.load(experiment), epochs, seed, batch_size)
        checkpoints = _checkpoints(checkpoint_epochs, checkpoint_minutes, keep)
        folder = out or _folder("-".join(filter(None, [described.name or experiment.stem, engine])), resume)
        watchers = [*_loggers(log, folder), *([] if quiet else [LiveProgress(errors)])]
        try:
            with warnings_on(errors):
                run = fit(described, engine, folder, watchers, device, resume=resume, checkpoint=checkpoints,
                          overwrite=overwrite, precision=precision)
        except KeyboardInterrupt:
            errors.print(f"stopped; the same command with --resume --out {folder} goes on from the last checkpoint",
                         soft_wrap=True)
            raise typer.Exit(130) from None
    if as_json:
        print_json(run.summary)
    else:
        print(report(run))


def _checkpoints(epochs: int | None, minutes: float | None, keep: int) -> Checkpoints:
    """Minutes alone mean no checkpoint after each epoch."""
    from neuroport.runtime.checkpoint import Checkpoints

    every = {"every_epochs": epochs} if epochs is not None or minutes is not None else {}
    return Checkpoints.parse({**every, "every_minutes": minutes, "keep": keep})


def _loggers(wanted: str, folder: Path) -> list[Callback]:
    """The callbacks that ``--log`` names. Raises Invalid, and MissingPackage where one is not installed."""
    from neuroport.errors import Invalid, Problem
    from neuroport.runtime.loggers import CSV, TensorBoard, WandB

    known: dict[str, Callable[[], Callback]] = {
        "csv": lambda: CSV(folder / "metrics.csv"),
        "tensorboard": lambda: TensorBoard(folder / "tensorboard"),
        "wandb": lambda: WandB("neuroport", dir=str(folder)),
    }
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    problems = [Problem("--log", f"there is no log {name!r}", f"give some of: {', '.join(known)}")
                for name in names if name not in known]
    if problems:
        raise Invalid(problems, "request")
    return [known[name]() for name in dict.fromkeys(names)]


def _folder(name: str, resume: bool) -> Path:
    """Where a run of this name is written: a folder that is not there yet; to resume, the newest one there is."""
    from neuroport.runtime.folder import unused

    if not resume:
        return unused(RUNS / name)
    numbered = {1: RUNS / name} if (RUNS / name).exists() else {}
    for path in RUNS.glob("*"):
        found = re.fullmatch(rf"{re.escape(name)}-(\d+)", path.name)
        if found:
            numbered[int(found[1])] = path
    return numbered[max(numbered)] if numbered else RUNS / name
