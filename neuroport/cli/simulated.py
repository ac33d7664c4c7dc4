"""A simulated network: how its populations spiked, what it decided, its traces and its raster plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from neuroport import api
from neuroport.cli.described import Described, read_parameters_of
from neuroport.cli.stimulus import Stimulus
from neuroport.engine.base import RunResult
from neuroport.errors import NotWritten
from neuroport.pictures import raster
from neuroport.pictures.of_run import save
from neuroport.program.lower import Program, lower
from neuroport.program.objective import judged_output, scores
from neuroport.runtime.activity import saturated, silent


@dataclass(frozen=True, eq=False)
class Simulated:
    """One run. parameters: where they come from, in words. asked: the records that were asked for."""

    described: Described
    given: Stimulus
    parameters: str
    asked: Sequence[str]
    found: RunResult

    @property
    def program(self) -> Program:
        return lower(self.described.model)

    @property
    def outputs(self) -> Mapping[str, np.ndarray]:
        """(T, B, *shape) by Output node."""
        found = self.found.outputs
        return found if isinstance(found, dict) else {next(iter(self.program.outputs)): found}

    @property
    def populations(self) -> list[dict[str, Any]]:
        """How the neurons of each population behaved, over all steps and samples."""
        program, rows = self.program, []
        for name, bound in program.neurons.items():
            row: dict[str, Any] = {"name": name, "type": type(bound.neuron).__name__, "shape": list(bound.shape)}
            if bound.neuron.spiking:
                spikes = np.asarray(self.found.records[name]["spikes"])
                each = {name: spikes.mean((0, 1), dtype=np.float64)}
                rate = float(each[name].mean())
                row |= {"spikes": float(spikes.sum(dtype=np.float64)), "spikes_per_step": rate,
                        "spikes_per_second": rate / self.described.model.dt,
                        "silent": silent(each)[name], "saturated": saturated(program, each)[name]}
            rows.append(row)
        return rows

    @property
    def decision(self) -> list[int] | None:
        """The class that each sample is taken for; None where no experiment says how classes are read."""
        if self.described.experiment is None:
            return None
        program, training = self.program, self.described.experiment.training
        name = judged_output(program, training)
        values = np.asarray(self.outputs[name])
        scored = scores(program, training, {name: values.reshape(*values.shape[:2], -1)})
        return None if scored is None else [int(one) for one in np.argmax(np.asarray(scored), 1)]

    @property
    def shape(self) -> tuple[int, int]:
        """Steps and batch."""
        steps, batch = next(iter(self.given.inputs.values())).shape[:2]
        return steps, batch

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON, without the traces."""
        (steps, batch), info = self.shape, self.found.info
        return {
            **{name: info[name] for name in ("engine", "device", "precision")}, "source": self.described.source,
            "parameters": self.parameters, "input": self.given.source, "steps": steps, "batch": batch,
            "dt": self.described.model.dt, "populations": self.populations, "decision": self.decision,
            "class": self.given.label,
        }

    def traces(self) -> dict[str, np.ndarray]:
        """"inputs.NODE", "outputs.NODE" and the records asked for as "NODE.VARIABLE", each (T, B, *shape)."""
        records = {f"{node}.{what}": values for node, its in self.found.records.items() for what, values in its.items()
                   if {node, what, f"{node}.{what}"} & set(self.asked)}
        return {**{f"inputs.{name}": values for name, values in self.given.inputs.items()},
                **{f"outputs.{name}": values for name, values in self.outputs.items()}, **records}


def simulated(
    described: Described, given: Stimulus, parameters: Path | None, seed: int, record: Sequence[str],
    engine: str | None, device: str | None,
) -> Simulated:
    """Run a network on what it is given. record: none: the spikes. Raises NeuroportError."""
    if parameters is not None:
        held, whose = read_parameters_of(parameters), f"parameters of {parameters}"
    elif described.parameters is not None:
        held, whose = dict(described.parameters), "trained parameters"
    else:
        held, whose = api.init(described.model, seed), f"initial parameters of seed {seed}"
    spikes = [f"{name}.spikes" for name, bound in lower(described.model).neurons.items() if bound.neuron.spiking]
    asked = list(record) or spikes
    wanted = list(dict.fromkeys([*asked, *spikes]))
    found = api.run(described.model, held, given.inputs, engine or described.trained_by, wanted, device=device)
    return Simulated(described, given, whose, asked, found)


def lines(of: Simulated) -> list[str | Table]:
    """What is printed for people."""
    about, (steps, batch) = of.to_data(), of.shape
    where = f"{about['engine']} ({about['device']}, {about['precision']})"
    length = f"{steps} steps of {1e3 * of.described.model.dt:g} ms" + (f", batch of {batch}" if batch > 1 else "")
    found: list[str | Table] = [
        escape(f"{of.described.source}, {of.parameters}, on {where}"), escape(f"input: {of.given.source}; {length}"),
        population_table(about["populations"]),
    ]
    if about["decision"] is not None:
        right = "" if of.given.label is None else f" (true class: {of.given.label})"
        found.append(f"decision: class {', '.join(map(str, about['decision']))}{right}")
    return found


def population_table(populations: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("population")
    table.add_column("type")
    for heading in ("neurons", "spikes", "spikes/s each", "silent", "saturated"):
        table.add_column(heading, justify="right")
    for row in populations:
        counts = ["do not spike"]
        if "spikes" in row:
            counts = [f"{row['spikes']:,.0f}", f"{row['spikes_per_second']:.3g}", str(row["silent"]),
                      str(row["saturated"])]
        table.add_row(escape(row["name"]), row["type"], str(prod(row["shape"])), *counts)
    return table


def write_traces(of: Simulated, path: Path) -> None:
    """Raises NotWritten."""
    try:
        np.savez_compressed(path, **of.traces())  # type: ignore[arg-type]  # no trace is called allow_pickle
    except OSError as error:
        raise NotWritten(f"{path} cannot be written: {error.strerror or error}\n  mend: make room there") from None


def draw(of: Simulated, path: Path) -> None:
    """Raises NotWritten."""
    decided = of.to_data()["decision"]
    save(raster(of.described.model, of.found.records, of.given.inputs, of.found.outputs,
                decision=None if decided is None else decided[0], title=of.given.source), path)
