"""Callbacks that write a training's rows elsewhere: a table, TensorBoard, Weights & Biases."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neuroport.data.disk import write_atomically
from neuroport.errors import MissingPackage, NotWritten
from neuroport.runtime.callbacks import Callback, Plan
from neuroport.runtime.run import Run


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A row with what is nested in it beside the rest: ``rates/hidden``."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        found |= flat(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


class CSV(Callback):
    """A table with a line for each epoch, whole after each: epoch, losses, accuracies, metrics, rates, speed.

    A file that is there already is replaced; a resumed training goes on in it. Raises NotWritten.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def on_start(self, plan: Plan) -> None:
        self.rows: list[dict[str, Any]] = []
        if plan.first_epoch > 1 and self.path.exists():
            self.rows = [row for row in self._read() if int(row["epoch"]) < plan.first_epoch]
        self._write()

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.rows.append(flat(row))
        self._write()

    def _read(self) -> list[dict[str, Any]]:
        with open(self.path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not all((row.get("epoch") or "").isdecimal() for row in rows):
            raise NotWritten(f"{self.path} holds something else than a table of epochs\n  mend: give another path")
        return rows

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, text.getvalue().encode() if columns else b"")
        except OSError as error:
            raise NotWritten(f"the table {self.path} cannot be written: {error.strerror or error}\n"
                             "  mend: make room there or give another path; the training can go on with "
                             "--resume, fit(..., resume=True)") from error


class TensorBoard(Callback):
    """Curves for TensorBoard, one event file in ``folder``, by the package tensorboardX. Raises MissingPackage."""

    def __init__(self, folder: str | Path):
        self.folder, self.writer = Path(folder), None
        self._package = _needed("tensorboardX", "neuroport[tensorboard]")

    def on_start(self, plan: Plan) -> None:
        again = plan.first_epoch if plan.first_epoch > 1 else None  # what came after a crash is hidden
        self.writer = importlib.import_module(self._package).SummaryWriter(str(self.folder), purge_step=again)

    def on_epoch(self, row: dict[str, Any]) -> None:
        assert self.writer is not None
        for name, value in flat(row).items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()

    def on_end(self, run: Run | None) -> None:
        if self.writer is not None:
            self.writer.close()


class WandB(Callback):
    """A run on Weights & Biases, by the package wandb; ``options`` go to ``wandb.init``. Raises MissingPackage.

    The experiment is its config. For a training that is resumed give ``id=..., resume="allow"``.
    """

    def __init__(self, project: str, **options: Any):
        self.project, self.options, self.run = project, options, None
        self._package = _needed("wandb", "wandb")

    def on_start(self, plan: Plan) -> None:
        config = {"engine": plan.engine, "device": plan.device, **plan.experiment.to_data()}
        wanted = {"project": self.project, "name": plan.name, "config": config, **self.options}
        self.run = importlib.import_module(self._package).init(**wanted)

    def on_epoch(self, row: dict[str, Any]) -> None:
        assert self.run is not None
        self.run.log({name: value for name, value in flat(row).items() if value is not None}, step=row["epoch"])

    def on_end(self, run: Run | None) -> None:
        if self.run is None:
            return
        if run is not None and run.summary is not None:
            self.run.summary.update({name: value for name, value in run.summary.items()
                                     if name.endswith(("_loss", "_accuracy", "_epoch", "_second"))})
        self.run.finish(exit_code=0 if run is not None else 1)


def _needed(package: str, install: str) -> str:
    """The package's name. Raises MissingPackage, before a training has begun, where it is not installed."""
    if find_spec(package) is None:
        raise MissingPackage(f"the package {package} is not installed\n  mend: pip install '{install}'")
    return package
