"""``neuroport data``: the data sets at hand, what they hold, and their staging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuroport.cli.options import Imports, Json, Quiet, described_files, examples
from neuroport.cli.output import console, nothing_else, print_json
from neuroport.runtime.imports import import_first

if TYPE_CHECKING:
    from neuroport.data.plan import Plan
    from neuroport.data.report import SetFigures
    from neuroport.data.splits import Splits

SHOWN = 4  # samples in a picture

data = typer.Typer(
    no_args_is_help=True, help="Data sets: what there is, what they hold, staging them.",
    epilog=examples("neuroport data list", "neuroport data info braille",
                    "neuroport data stage examples/spoken_digits.yaml"),
)

Source = Annotated[str, typer.Argument(
    metavar="SOURCE", autocompletion=described_files,
    help="A source's name, such as braille or tonic:SHD; or an experiment's .yaml or .json file, for its data.")]
Options = Annotated[list[str] | None, typer.Option(
    "--option", "-o", metavar="NAME=VALUE",
    help="An option of the source, its value as in YAML. May be given several times.")]
Picture = Annotated[Path | None, typer.Option(
    "--plot", help=f"Draw {SHOWN} samples into this file, .png, .svg or .pdf.")]


@data.command("list", epilog=examples("neuroport data list", "neuroport data list --json"))
def list_sources(as_json: Json = False) -> None:
    """Sources of data that are installed, and the staged sets that the cache keeps."""
    from neuroport import registry
    from neuroport.data import report

    with nothing_else():
        installed = registry.registry().sources.values()
        sources, kept = report.sources((one.info, str(one.origin)) for one in installed), report.kept()
    if as_json:
        print_json({"sources": [asdict(line) for line in sources], "cache": [asdict(line) for line in kept]})
        return
    screen = console()
    screen.print(report.source_table(sources))
    for line in kept:
        screen.print(f"kept: {line.path} ({report.size(line.bytes)})", soft_wrap=True)


@data.command(epilog=examples(
    "neuroport data info braille", "neuroport data info yinyang -o dt=1e-3 --json",
    "neuroport data info examples/spoken_digits.yaml",
))
def info(source: Source, option: Options = None, imports: Imports = None, as_json: Json = False) -> None:
    """What a data set holds: parts, shapes, sizes; rates too, once it has been staged."""
    from neuroport.data import report

    with nothing_else():
        import_first(imports)
        found = report.info(_prepared(source, option))
    _show(found, as_json)


@data.command(epilog=examples(
    "neuroport data stage braille --plot samples.png",
    "neuroport data stage hdf5 -o path=spoken_digits -o dt=10e-3 -o duration=1.0 -o pool=5",
    "neuroport data stage examples/spoken_digits.yaml --json",
))
def stage(
    source: Source, option: Options = None, plot: Picture = None, imports: Imports = None, quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Bin, pack and keep a data set, so that trainings start at once; says what was lost on the way."""
    from neuroport.data import report

    with nothing_else():
        import_first(imports)
        if plot is not None:
            from neuroport.cli.bridge import check_writable

            check_writable("--plot", plot, (".png", ".svg", ".pdf"))
        asked = _prepared(source, option)
        if quiet:
            splits, found = report.stage(asked)
        else:
            with report.bar() as progress:
                splits, found = report.stage(asked, progress)
        if plot is not None:
            _draw(splits, found, plot)
    _show(found, as_json)


def _prepared(source: str, option: list[str] | None) -> Splits | Plan:
    from neuroport import registry

    return registry.registry().prepared(*_asked(source, option))


def _asked(source: str, option: list[str] | None) -> tuple[str, dict[str, Any]]:
    """The source's name and its options: the experiment's, then those given. Raises InvalidExperiment."""
    from neuroport.errors import InvalidExperiment, Problem
    from neuroport.model.training import Experiment

    options: dict[str, Any] = {}
    if source.endswith((".yaml", ".yml", ".json")):
        described = Experiment.load(Path(source)).data
        if described is None:
            raise InvalidExperiment([Problem("data", f"{source} names none", "give a source's name instead")])
        source, options = described.source, dict(described.options)
    return source, {**options, **_read(option or [])}


def _read(given: list[str]) -> Mapping[str, Any]:
    from neuroport.errors import InvalidExperiment, Problem
    from neuroport.model.yaml_text import read_yaml

    found: dict[str, Any] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InvalidExperiment([Problem("--option", f"{item!r} is no NAME=VALUE", "write, say, -o dt=1e-3")])
        found[name] = read_yaml(value)
    return found


def _show(found: SetFigures, as_json: bool) -> None:
    from neuroport.data import report

    if as_json:
        print_json(found.to_data())
        return
    screen = console()
    classes = f", {found.classes} classes" if found.classes else ""
    screen.print(f"[b]{found.name}[/b]{classes}" + (f"\n{found.lost}" if found.lost else ""), soft_wrap=True)
    screen.print(report.part_table(found))
    if found.folder:
        screen.print(f"{'kept in' if found.cached else 'would be kept in'} {found.folder}", soft_wrap=True)


def _draw(splits: Splits, found: SetFigures, path: Path) -> None:
    """A few samples of the test set, or of the training set, beside one another and the rates of that part."""
    from neuroport.data import report
    from neuroport.pictures.of_run import need_matplotlib, save
    from neuroport.pictures.samples import samples

    need_matplotlib()
    part = "test" if "test" in splits.parts else "train"
    activity, labels = report.samples(splits, part, SHOWN)
    title = f"{splits.name}, the first of {len(splits.parts[part]):,} {part} samples"
    (rates,) = [figures.rates for figures in found.parts if figures.part == part]
    spiking = splits.parts[part].layout != "floats"
    save(samples(activity, labels if labels.ndim == 1 else None, splits.dt, title=title,
                 rates=rates if spiking else None), path)
