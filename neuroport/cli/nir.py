"""``neuroport nir``: what a NIR file holds, whether two of them behave alike, and the way in and out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from neuroport.cli.options import Device, Imports, Json, Precision, any_files, array_files, engine_lists, examples
from neuroport.cli.output import console, nothing_else, print_json
from neuroport.runtime.imports import import_first

nir = typer.Typer(
    no_args_is_help=True, help="NIR files: what they hold, whether networks behave alike, the way in and out.",
    epilog=examples("neuroport nir info network.nir", "neuroport nir check network.nir other.nir --poisson 100",
                    "neuroport nir import network.nir --numerics norse --dt 1e-4 --reset hard --out network.yaml"),
)

READING = "Numerics of a platform: norse, snntorch, sinabs, spyx, spikingjelly, spinnaker2, nengo"
File = Annotated[Path, typer.Argument(metavar="FILE", help="The .nir file.", autocompletion=any_files)]
Network = "a .nir file, the folder of a run, or a model's .yaml with its .safetensors beside it"
Dt = Annotated[float | None, typer.Option(help="The time step in seconds, which a NIR file does not say.")]
TimeUnit = Annotated[float | None, typer.Option(
    help="Seconds in a unit of the file's times: 1e-3 where they are milliseconds, the value of --dt where steps.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]


@nir.command(epilog=examples("neuroport nir info network.nir", "neuroport nir info network.nir --dt 1e-4 --json"))
def info(file: File, dt: Dt = None, as_json: Json = False) -> None:
    """Nodes, shapes, ranges, findings, and what each platform and engine makes of the file."""
    from neuroport.nir.report import info as of_file
    from neuroport.nir.report import screen

    with nothing_else():
        found = of_file(file, dt)
    if as_json:
        print_json(found.to_data())
    else:
        console().print(screen(found))


@nir.command(epilog=examples(
    "neuroport nir check a.nir b.nir --numerics norse --dt 1e-4 --reset hard --poisson 100",
    "neuroport nir check a.nir --numerics norse,snntorch --dt 1e-4 --reset hard --data braille --plot apart.png",
    "neuroport nir check a.nir --against recorded.npy --node lif1 --input spikes.npy --numerics snntorch --dt 1e-4 "
    "--reset soft",
    "neuroport nir check runs/first exported.nir --engines reference",
))
def check(
    a: Annotated[Path, typer.Argument(metavar="A", help=f"{Network[0].upper()}{Network[1:]}.",
                                      autocompletion=any_files)],
    b: Annotated[Path | None, typer.Argument(
        metavar="B", help="Another; if left out, A again under other numerics, resets or engines.",
        autocompletion=any_files)] = None,
    against: Annotated[Path | None, typer.Option(
        help="A recording in place of B: .npy, .npz by node, or NIR's graph data.", autocompletion=array_files)] = None,
    node: Annotated[str | None, typer.Option(help="Whose an array without a name is.")] = None,
    numerics: Annotated[str | None, typer.Option(help=f"{READING}; two, A,B, where they differ.")] = None,
    dt: Dt = None,
    reset: Annotated[str | None, typer.Option(help="soft or hard; two, A,B, where they differ.")] = None,
    time_unit: TimeUnit = None,
    engines: Annotated[str | None, typer.Option(
        help="The engine; two, A,B, where they differ. If left out, the first that can.",
        autocompletion=engine_lists)] = None,
    device: Device = None,
    precision: Precision = None,
    input: Annotated[Path | None, typer.Option(
        help="Input from .npy or .npz, (steps, batch, ...) or (steps, ...).", autocompletion=array_files)] = None,
    poisson: Annotated[float | None, typer.Option(help="Random input: spikes a second in each channel.")] = None,
    data: Annotated[str | None, typer.Option(
        help="Input from a data source, and its classes; if left out, a run's own.")] = None,
    part: Annotated[str | None, typer.Option(
        help="Which part of the data; if left out, test or else validation.")] = None,
    sample: Annotated[int | None, typer.Option(help="Which sample of the part; if left out, all of it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Time steps; if left out, all there are, 200 of --poisson.")] = None,
    seed: Annotated[int, typer.Option(help="Of random input.")] = 0,
    pair: Annotated[list[str] | None, typer.Option(
        metavar="A=B", help="Nodes that belong together under different names. May be given several times.")] = None,
    tolerance: Annotated[float, typer.Option(
        help="How far from its threshold, as a share of it, a spike that differs may have been.")] = 1e-5,
    plot: Annotated[Path | None, typer.Option(
        help="Draw where they go apart into this file, .png, .svg or .pdf.", autocompletion=any_files)] = None,
    imports: Imports = None,
    as_json: Json = False,
) -> None:
    """One input through two networks, numerics or engines, or against a recording: where do they differ?

    The exit code is 0 where all spikes are equal or differ only by rounding at the threshold, else 1.
    """
    from neuroport.cli import bridge
    from neuroport.cli.stimulus import Wanted
    from neuroport.errors import Invalid, Problem
    from neuroport.nir.checking import check as checked
    from neuroport.nir.recorded import is_recording
    from neuroport.pictures.of_run import need_matplotlib, save

    with nothing_else(), bridge.findings_on_screen():
        _check_request(a, b, against, numerics, reset, engines)
        if not any(bridge.is_nir(path) for path in (a, b) if path) and (numerics or reset or dt or time_unit):
            wrong = "says how a .nir file is read, but a model's own numerics hold"
            raise Invalid([Problem("--numerics, --dt, --reset, --time-unit", wrong, "leave them out")], "request")
        if against is not None and not is_recording(against):
            mend = "give .npy, .npz, or NIR's graph data; a network is given as B"
            raise Invalid([Problem("--against", f"{against} is no recording", mend)], "request")
        if plot is not None:
            bridge.check_writable("--plot", plot, (".png", ".svg", ".pdf"))
            need_matplotlib()
        import_first(imports)
        readings = [bridge.Reading(one, dt, which, time_unit)
                    for one, which in zip(_two(numerics), _two(reset), strict=True)]
        first = bridge.network(a, readings[0])
        second = against or bridge.network(b or a, readings[1])
        recorded = against is not None and against.suffix == ".npz" and input is poisson is data is None
        given = None if recorded and first.experiment is None else bridge.given(
            Wanted(input, poisson, data, part, sample, steps, seed), first)
        found = checked(
            (first.model, first.parameters), second if isinstance(second, Path) else (second.model, second.parameters),
            given and given.inputs, _two(engines), device=device, precision=precision, node=node, pairs=_pairs(pair),
            labels=given and given.labels, tolerance=tolerance,
            names=(first.source, f"recording {second.name}" if isinstance(second, Path) else second.source),
        )
        if plot is not None:
            save(found.figure(), plot)
    if as_json:
        print_json({**found.to_data(), "input": given and given.source, "picture": plot and str(plot)})
    else:
        screen = console()
        screen.print(f"input: {given.source if given else against}", markup=False, soft_wrap=True)
        screen.print(found.report(), markup=False, soft_wrap=True)
        if plot is not None:
            screen.print(f"picture: {plot}", markup=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


@nir.command(epilog=examples(
    "neuroport nir export runs/first", "neuroport nir export runs/first --strict --out mine.nir",
))
def export(
    run: Annotated[Path, typer.Argument(
        metavar="RUN", help="The folder of a run, or a model's .yaml with its .safetensors beside it.",
        autocompletion=any_files)],
    out: Annotated[Path | None, typer.Option(
        help="The file; if left out, network.nir in the run's folder, or beside the model.",
        autocompletion=any_files)] = None,
    numerics: Annotated[str | None, typer.Option(
        help="The platform that will read it, if it is to take our steps there: a preset's name.")] = None,
    strict: Annotated[bool, typer.Option(
        "--strict", help="Refuse what the standard cannot say; else the file's metadata hold it.")] = False,
    overwrite: Overwrite = False,
    imports: Imports = None,
    as_json: Json = False,
) -> None:
    """A trained network as a .nir file."""
    from neuroport.cli import bridge
    from neuroport.nir.exporting import write

    path = out or (run / "network.nir" if run.is_dir() else run.with_suffix(".nir"))
    with nothing_else(), bridge.findings_on_screen():
        import_first(imports)
        described = bridge.network(run, bridge.Reading())
        bridge.check_writable("--out", path, (".nir", ".h5", ".hdf5"), overwrite)
        said = write(path, described.model, described.parameters or {}, numerics=numerics, strict=strict)
    if as_json:
        print_json({"file": str(path), "nodes": len(described.model.nodes), "findings": [asdict(one) for one in said]})
        return
    screen = console()
    for one in said:
        screen.print(f"note: {one}", markup=False, soft_wrap=True)
    screen.print(f"written: {path} ({len(described.model.nodes)} nodes)", markup=False, soft_wrap=True)


@nir.command("import", epilog=examples(
    "neuroport nir import network.nir --numerics norse --dt 1e-4 --reset hard --out network.yaml",
    "neuroport simulate network.yaml --parameters network.safetensors --poisson 100",
))
def import_(
    file: File,
    numerics: Annotated[str | None, typer.Option(help=f"{READING}.")] = None,
    dt: Dt = None,
    reset: Annotated[str | None, typer.Option(
        help="What a spike does: soft (the threshold is subtracted) or hard (to v_reset).")] = None,
    time_unit: TimeUnit = None,
    out: Annotated[Path | None, typer.Option(
        help="The model's .yaml; if left out, named as the file, beside it. Parameters lie beside it, .safetensors.",
        autocompletion=any_files)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """A .nir file as a model, .yaml, with its parameters, .safetensors."""
    from neuroport.cli import bridge
    from neuroport.data.disk import write_atomically
    from neuroport.errors import NotWritten
    from neuroport.runtime.folder import safetensor_bytes

    path = out or file.with_suffix(".yaml")
    beside = path.with_suffix(".safetensors")
    with nothing_else(), bridge.findings_on_screen():
        bridge.check_writable("--out", path, (".yaml", ".yml"), overwrite)
        bridge.check_writable("--out", beside, (), overwrite)
        described = bridge.network(file, bridge.Reading(numerics, dt, reset, time_unit))
        try:
            write_atomically(beside, safetensor_bytes(described.parameters or {}))
            write_atomically(path, described.model.to_yaml().encode())
        except OSError as error:
            mend = "choose a folder that you may write to, on a disk with space left"
            raise NotWritten(f"{path} cannot be written: {error.strerror or error}\n  mend: {mend}") from None
    if as_json:
        print_json({"model": str(path), "parameters": str(beside), "nodes": list(described.model.nodes)})
    else:
        console().print(f"written: {path} and {beside} ({len(described.model.nodes)} nodes)", markup=False,
                        soft_wrap=True)


def _two(given: str | None) -> tuple[str | None, str | None]:
    """``a,b`` as two, one for each side; one for both."""
    parts = [part.strip() or None for part in (given or "").split(",")]
    return (parts[0], parts[-1])


def _check_request(
    a: Path, b: Path | None, against: Path | None, numerics: str | None, reset: str | None, engines: str | None
) -> None:
    from neuroport.errors import Invalid, Problem

    pairs = {"--numerics": numerics, "--reset": reset, "--engines": engines}
    problems = [Problem(name, f"names {value.count(',') + 1} things", "give one, or two: for A, B")
                for name, value in pairs.items() if value and value.count(",") > 1]
    if b is not None and against is not None:
        problems.append(Problem("B and --against", "exclude each other", "give one of them"))
    differ = any(value and len(set(value.split(","))) > 1 for value in pairs.values())
    if b is None and against is None and not differ:
        mend = "give a second file, --against FILE, or two of --numerics, --reset or --engines, as in --engines a,b"
        problems.append(Problem("B", "is missing, and both sides would be the same", mend))
    if problems:
        raise Invalid(problems, "request")


def _pairs(given: list[str] | None) -> dict[str, str]:
    from neuroport.errors import Invalid, Problem

    parts = [item.partition("=") for item in given or ()]
    problems = [Problem("--pair", f"{''.join(part)!r} is no A=B", "write, say, --pair lif1=hidden")
                for part in parts if not all(part)]
    if problems:
        raise Invalid(problems, "request")
    return {ours: theirs for ours, _, theirs in parts}
