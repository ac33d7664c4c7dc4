"""``neuroport compare``: one experiment on several engines, agreement first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroport.cli.options import Device, Experiment, Imports, Json, Quiet, any_files, engine_lists
from neuroport.cli.output import console, nothing_else, print_json, teller
from neuroport.runtime.imports import import_first


def compare(
    experiment: Experiment,
    engines: Annotated[str, typer.Option(help="Their names, separated by commas.", autocompletion=engine_lists)],
    seeds: Annotated[int, typer.Option(help="How many trainings on each, from the experiment's seed on.")] = 3,
    epochs: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    full: Annotated[bool, typer.Option(
        "--full", help="Train the reference too, which else does one batch and the first steps.")] = False,
    device: Device = None,
    out: Annotated[Path | None, typer.Option(
        help="An empty folder for comparison.json and the runs; if left out, nothing is kept.",
        autocompletion=any_files)] = None,
    picture: Annotated[Path | None, typer.Option(
        help="Draw the screen into this file, .svg or .png.", autocompletion=any_files)] = None,
    imports: Imports = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """One seed on several engines, each in a process of its own: agreement first, then speed and memory.

    Every engine is held to the reference engine. The exit code is 1 where one does not agree with it.
    """
    from neuroport.compare.comparison import compare as compared
    from neuroport.compare.picture import check_picture, write_picture
    from neuroport.compare.screen import screen
    from neuroport.model.training import Experiment
    from neuroport.runtime.overrides import overridden

    with nothing_else():
        if picture is not None:
            check_picture(picture)
        import_first(imports)
        described = overridden(Experiment.load(experiment), epochs, seed)
        say = teller(quiet)
        found = compared(described, engines.split(","), seeds, full, device, out, imports or (), quiet, say)
        if picture is not None:
            write_picture(screen(found), picture, f"neuroport compare {experiment} --engines {engines}")
    if as_json:
        print_json(found.to_data())
    else:
        console().print(screen(found))
    raise typer.Exit(found.exit_code)
