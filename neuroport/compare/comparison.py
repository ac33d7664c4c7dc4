"""One experiment on several engines, and what their answers say side by side."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuroport import api, registry
from neuroport.compare.agreement import (
    LOSSES,
    NONE,
    LossAgreement,
    SeedAgreement,
    SpikeAgreement,
    losses_agree,
    seeds_agree,
    spikes_agree,
)
from neuroport.compare.processes import Failure, Share, Task, asked, read_traces
from neuroport.data.splits import Splits
from neuroport.errors import EngineUnavailable, Invalid, NeuroportError, Problem, UnusableFolder, listed
from neuroport.model.training import Experiment
from neuroport.program.lower import lower
from neuroport.runtime.prepare import check_fit, load_data

REPORT = "comparison.json"
SEEDS = 3


class ReferenceFailed(NeuroportError):
    """The reference engine gave no answer, so there is nothing to compare with."""

    exit_code = 1


@dataclass(frozen=True)
class Comparison:
    """What several engines made of one experiment.

    shares: of the reference and of every engine asked for that answered; failures: of the others. spikes,
    losses: against the reference, by engine. measure: which measure of a training ``seeds`` compares, such as
    "test_accuracy"; None where at most one engine trained. asked: the engines, in the order they were named.
    """

    experiment: Experiment
    data: Splits
    reference: str
    asked: tuple[str, ...]
    shares: dict[str, Share]
    failures: dict[str, Failure]
    spikes: dict[str, SpikeAgreement]
    losses: dict[str, LossAgreement]
    measure: str
    seeds: SeedAgreement | None
    machine: str

    def agrees(self, engine: str) -> bool:
        """Whether an engine holds a tier of agreement with the reference, and its first losses are the reference's."""
        return engine in self.spikes and self.spikes[engine].tier != NONE and self.losses[engine].agrees

    def why_not(self, engine: str) -> str:
        """Why an engine does not agree with the reference; "" where it does."""
        if self.agrees(engine):
            return ""
        one, loss = self.spikes[engine], self.losses[engine]
        if one.tier == NONE:
            return one.reason
        return (f"spikes agree, but the loss of batch {loss.batch} differs by {loss.largest:.1%}, "
                f"more than the {LOSSES:.0%} that tipped spikes explain")

    @property
    def all_agree(self) -> bool:
        return not self.failures and all(self.agrees(name) for name in self.spikes)

    @property
    def exit_code(self) -> int:
        """0: all engines answered and agree; otherwise what a command should end with."""
        if self.failures:
            return max(failure.exit_code for failure in self.failures.values())
        return 0 if self.all_agree else 1

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON."""
        engines = {
            name: {
                **asdict(share), "agrees": name == self.reference or self.agrees(name),
                "why_not": "" if name == self.reference else self.why_not(name),
                "spikes": asdict(self.spikes[name]) if name in self.spikes else None,
                "losses": asdict(self.losses[name]) if name in self.losses else None,
            } for name, share in self.shares.items()
        }
        return {
            "experiment": self.experiment.name, "model": self.experiment.model.fingerprint,
            "data": self.data.name, "data_hash": self.data.content_hash, "machine": self.machine,
            "seed": self.experiment.seed, "epochs": self.experiment.training.epochs,
            "held_to": self.reference, "asked": list(self.asked), "agree": self.all_agree, "engines": engines,
            "measure": self.measure, "seeds": None if self.seeds is None else asdict(self.seeds),
            "failures": {name: asdict(failure) for name, failure in self.failures.items()},
        }


def compare(
    experiment: Experiment, engines: Sequence[str], seeds: int = SEEDS, full: bool = False,
    device: str | None = None, out: Path | None = None, imports: Sequence[str] = (), quiet: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> Comparison:
    """Ask each engine in turn, the reference first, and hold the answers together.

    The reference trains the first steps alone, unless ``full``: it is written to be read, not to be quick.
    seeds: so many trainings on every other engine, from the experiment's seed on. out: a folder for the report
    and the runs; None: nothing is kept. imports: the user's files and modules that each process imports.
    say: is told what happens. Raises NeuroportError for a wrong request, ReferenceFailed.
    """
    reference = registry.reference_engine().name
    asked_for = _checked(engines, seeds, reference)
    data = load_data(experiment)
    check_fit(experiment, data)
    order = (reference, *(name for name in asked_for if name != reference))
    runs = "" if out is None else str(_folder(out))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shares: dict[str, Share] = {}
        failures: dict[str, Failure] = {}
        for name in order:
            trains = full or name != reference
            task = Task(
                experiment.to_data(), name, device if name != reference else None, str(place / f"{name}.npz"),
                plain=str(place / f"{name}.float32.npz") if name == reference else "",
                seeds=tuple(range(experiment.seed, experiment.seed + seeds)) if trains else (),
                runs=runs, imports=tuple(imports), quiet=quiet,
            )
            trainings = f", {seeds} training{'s' if seeds > 1 else ''}" if trains else ""
            say(f"{name}: one batch, the first steps{trainings}")
            answer = asked(task)
            if isinstance(answer, Share):
                shares[name] = answer
            elif name == reference:
                raise ReferenceFailed(f"the reference engine {name!r} could not do its share\n  {answer.message}")
            else:
                failures[name] = answer
                say(f"{name} failed: {answer.message.splitlines()[0]}")
        found = _held_together(experiment, data, reference, asked_for, shares, failures, place)
        if out is not None:
            (out / REPORT).write_text(json.dumps(found.to_data(), indent=2) + "\n")
    return found


def _checked(engines: Sequence[str], seeds: int, reference: str) -> tuple[str, ...]:
    """The engines asked for, each once. Raises UnknownEngine, DuplicateEngine, EngineUnavailable or Invalid."""
    known = registry.registry()
    names = tuple(dict.fromkeys(name.strip() for name in engines if name.strip()))
    for name in names:
        obstacle = known.obstacle(name)
        if obstacle:
            raise EngineUnavailable(f'the engine "{name}" cannot be used: {obstacle}')
    problems = []
    if not set(names) - {reference}:
        wrong = f"name no engine to compare with the reference {reference!r}"
        problems.append(Problem("engines", wrong, f"name some of: {listed(known.names)}"))
    if seeds < 1:
        problems.append(Problem("seeds", f"is {seeds}", "give at least 1; 2 or more show a spread"))
    if problems:
        raise Invalid(problems, "comparison")
    return names


def _folder(out: Path) -> Path:
    """The folder for a report. Raises UnusableFolder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise UnusableFolder(f"{out} is not empty\n  mend: choose a new folder, or remove what is in it")
    except OSError as error:
        raise UnusableFolder(f"a comparison cannot be written to {out}: {error.strerror or error}\n"
                             "  mend: choose a folder that you may write to") from None
    return out


def _held_together(
    experiment: Experiment, data: Splits, reference: str, asked_for: tuple[str, ...], shares: dict[str, Share],
    failures: dict[str, Failure], place: Path,
) -> Comparison:
    program, parameters = lower(experiment.model), api.init(experiment.model, experiment.seed)
    expected = read_traces(str(place / f"{reference}.npz"))
    plain_file = place / f"{reference}.float32.npz"
    plain = read_traces(str(plain_file)) if plain_file.exists() else None
    others = [name for name in asked_for if name in shares and name != reference]
    spikes = {name: spikes_agree(program, parameters, expected, read_traces(str(place / f"{name}.npz")), plain)
              for name in others}
    losses = {name: losses_agree(shares[reference].first_losses, shares[name].first_losses) for name in others}
    measure = measured(experiment, data)
    values = {name: [one.summary[measure] for one in share.trainings] for name, share in shares.items()
              if share.trainings}
    resolution = 1 / len(data.test or data.validation) if measure.endswith("accuracy") else 0.0
    return Comparison(
        experiment, data, reference, asked_for, shares, failures, spikes, losses, measure,
        seeds_agree(values, resolution) if values else None, machine(),
    )


def measured(experiment: Experiment, data: Splits) -> str:
    """What trainings are compared by: accuracy, of a loss on traces the loss; on the test set, if there is one."""
    part = "validation" if data.test is None else "test"
    return f"{part}_{'accuracy' if experiment.training.loss.targets == 'classes' else 'loss'}"


def machine() -> str:
    return f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
