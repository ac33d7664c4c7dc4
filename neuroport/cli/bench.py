"""``neuroport bench``: how fast the installed engines train one workload here, agreement first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from neuroport.cli.options import Device, Imports, Json, Quiet, any_files, described_files, engine_lists
from neuroport.cli.output import console, nothing_else, print_json, teller
from neuroport.runtime.imports import import_first


def sizes(incomplete: str) -> list[str]:
    """The built-in workloads whose names begin so."""
    from neuroport.bench.sizes import SIZES

    return [name for name in SIZES if name.startswith(incomplete)]


def bench(
    experiment: Annotated[Path | None, typer.Argument(
        metavar="[EXPERIMENT]", help="The experiment, a .yaml or .json file; if left out, a built-in workload.",
        autocompletion=described_files)] = None,
    size: Annotated[str | None, typer.Option(
        help="The built-in workload: small, feedforward, recurrent or convolutional; feedforward if left out.",
        autocompletion=sizes)] = None,
    engines: Annotated[str | None, typer.Option(
        help="Their names, separated by commas; if left out, all that are installed but the reference.",
        autocompletion=engine_lists)] = None,
    precision: Annotated[str | None, typer.Option(
        help="One or several, separated by commas, such as float32,bfloat16; if left out, each engine's own.")] = None,
    rounds: Annotated[int, typer.Option(help="How many times each is timed, in turn.")] = 7,
    device: Device = None,
    picture: Annotated[Path | None, typer.Option(
        help="Draw the screen into this file, .svg or .png.", autocompletion=any_files)] = None,
    imports: Imports = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """One workload on all engines, each in a process of its own: agreement first, then speed.

    An engine that does not agree with the reference is not timed, and the exit code is 1. One that cannot run the
    model is listed with all that it lacks.
    """
    from neuroport.bench.benchmark import bench as measured
    from neuroport.bench.screen import screen
    from neuroport.bench.sizes import DEFAULT, SIZES, sized
    from neuroport.compare.picture import check_picture, write_picture
    from neuroport.errors import Invalid, Problem
    from neuroport.model.training import Experiment

    with nothing_else(), tempfile.TemporaryDirectory() as folder:
        if experiment is not None and size is not None:
            wrong = f"is given beside the experiment {experiment}"
            raise Invalid([Problem("--size", wrong, "leave one of them out")], "request")
        if picture is not None:
            check_picture(picture)
        import_first(imports)
        if experiment is None:
            name = size or DEFAULT
            described = sized(name, Path(folder))
            one = SIZES[name]
            about = f"built-in workload {name}: {one.about}, {one.steps} steps, batch {one.batch}, random spikes"
        else:
            described, about = Experiment.load(experiment), f"experiment {experiment}"
        say = teller(quiet)
        names = None if engines is None else engines.split(",")
        found = measured(described, names, _several(precision), rounds, device, about, imports or (), quiet, say)
        if picture is not None:
            asked = "" if engines is None else f" --engines {engines}"
            write_picture(screen(found), picture, f"neuroport bench {experiment or f'--size {name}'}{asked}")
    if as_json:
        print_json(found.to_data())
    else:
        console().print(screen(found))
    raise typer.Exit(found.exit_code)


def _several(precision: str | None) -> list[str | None]:
    found: list[str | None] = [one.strip() for one in (precision or "").split(",") if one.strip()]
    return found or [None]
