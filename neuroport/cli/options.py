"""Arguments and options that several commands share, and what the Tab key completes them with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def examples(*lines: str) -> str:
    """The examples at the foot of a command's help."""
    shown = "\n".join(f"  {line}" for line in lines).replace("[", "\\[")
    return f"[bold]Examples[/bold]\n\n{shown}"


def engine_names(incomplete: str) -> list[str]:
    """The registered engines whose names begin so; none is imported."""
    from neuroport.registry import registry

    return [name for name in registry().names if name.startswith(incomplete)]


def engine_lists(incomplete: str) -> list[str]:
    """The same where engines are listed, ``a,b``: completes the last of them."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in engine_names(last) if name not in before.split(",")]


def described_files(incomplete: str) -> Iterator[str]:
    """Files that can hold a description, and folders on the way to them."""
    return _files(incomplete, (".yaml", ".yml", ".json"))


def python_files(incomplete: str) -> Iterator[str]:
    return _files(incomplete, (".py",))


def safetensors_files(incomplete: str) -> Iterator[str]:
    return _files(incomplete, (".safetensors",))


def array_files(incomplete: str) -> Iterator[str]:
    return _files(incomplete, (".npz", ".npy"))


def any_files(incomplete: str) -> Iterator[str]:
    return _files(incomplete, ("",))


def _files(incomplete: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    start = "" if incomplete.endswith("/") else Path(incomplete).name
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith(start) and (start or not path.name.startswith(".")):
            if path.is_dir():
                yield f"{path}/"
            elif path.name.endswith(suffixes):
                yield str(path)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")]
Engine = Annotated[str | None, typer.Option(
    "--engine", help="The engine; if left out, the first that can.", autocompletion=engine_names)]
EngineOfRun = Annotated[str | None, typer.Option(
    "--engine", help="The engine; if left out, the one that trained the run.", autocompletion=engine_names)]
Device = Annotated[str | None, typer.Option("--device", help="One of the engine's devices; if left out, its first.")]
Precision = Annotated[str | None, typer.Option(
    "--precision", help="float32, float64 or bfloat16 (of products alone); if left out, the engine's own.")]
Imports = Annotated[list[str] | None, typer.Option(
    "--import", metavar="FILE_OR_MODULE", autocompletion=python_files,
    help="Python that defines neurons or losses of your own, imported first. May be given several times.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Experiment = Annotated[Path, typer.Argument(
    metavar="EXPERIMENT", help="The experiment, a .yaml or .json file.", autocompletion=described_files)]
RunFolder = Annotated[Path, typer.Argument(
    metavar="RUN", help="The folder of a run, as training writes it.", autocompletion=any_files)]
