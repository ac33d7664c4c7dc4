"""One workload on several engines: first whether they compute the same, then how fast they train it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuroport import api, registry
from neuroport.bench.timing import Spread, fastest, interleaved, ratios, spread
from neuroport.compare.agreement import NONE, SpikeAgreement, spikes_agree
from neuroport.compare.comparison import ReferenceFailed, machine
from neuroport.compare.processes import Conversation, Failure, Lap, Ready, Trial, engine_process, read_traces, told
from neuroport.errors import EngineUnavailable, Invalid, Problem, listed
from neuroport.model.training import Experiment
from neuroport.program.lower import lower
from neuroport.runtime.prepare import check_fit, load_data

ROUNDS = 7
WARMUP = 3
BATCHES = 4  # of the training set, in a round
EXACT, PLAIN = "float64", "float32"  # the reference's precisions: the definition, and for equal bits


@dataclass(frozen=True)
class Contestant:
    """An engine at one precision; None is the engine's native one."""

    engine: str
    precision: str | None = None

    @property
    def label(self) -> str:
        return self.engine if self.precision is None else f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class Speed:
    """Of one contestant, over rounds. Times are seconds of a step of the optimizer.

    wall, cpu: on the wall's clock, and of all cores together. samples_per_second: of training, by the wall's clock.
    to_fastest: of wall times to those of the fastest contestant, within rounds. first_seconds: compiling and the first
    round. peak_memory: bytes of host memory that the process held at most; None where the system does not say.
    """

    wall: Spread
    cpu: Spread
    samples_per_second: float
    to_fastest: Spread
    first_seconds: float
    peak_memory: int | None


@dataclass(frozen=True)
class Benchmark:
    """What several engines made of one workload, by label.

    ready: of all that were prepared. spikes: against the reference. speeds: of those alone that agree with it.
    failures: of those that gave no answer, such as a model that they cannot run. asked: the contestants in the order
    they were named; named: whether they were, or are all that is installed. steps, samples: in a round.
    """

    experiment: Experiment
    reference: str
    asked: tuple[Contestant, ...]
    named: bool
    rounds: int
    ready: dict[str, Ready]
    spikes: dict[str, SpikeAgreement]
    speeds: dict[str, Speed]
    failures: dict[str, Failure]
    machine: str
    about: str

    @property
    def exit_code(self) -> int:
        """0: whatever was timed agrees, and all that were named answered; otherwise what a command should end with."""
        if self.failures and (self.named or not self.speeds):
            return max(failure.exit_code for failure in self.failures.values())
        return 1 if any(one.tier == NONE for one in self.spikes.values()) else 0

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON."""
        engines = {
            label: {
                **asdict(ready), "spikes": asdict(self.spikes[label]) if label in self.spikes else None,
                "speed": asdict(self.speeds[label]) if label in self.speeds else None,
            } for label, ready in self.ready.items()
        }
        return {
            "experiment": self.experiment.name, "model": self.experiment.model.fingerprint, "about": self.about,
            "machine": self.machine, "held_to": self.reference, "asked": [one.label for one in self.asked],
            "rounds": self.rounds, "batch_size": self.experiment.training.batch_size, "engines": engines,
            "failures": {label: asdict(failure) for label, failure in self.failures.items()},
        }


def bench(
    experiment: Experiment, engines: Sequence[str] | None = None, precisions: Sequence[str | None] = (None,),
    rounds: int = ROUNDS, device: str | None = None, about: str = "", imports: Sequence[str] = (), quiet: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> Benchmark:
    """Hold each engine to the reference, then time those that agree, in turn, a round each.

    Each works in a process of its own, and sleeps while another one is measured. A round trains on the first batches
    once. engines: names; None: all that are installed but the reference, which is written to be read. precisions: by
    name, each on each engine; None: the engine's native one. device: of all but the reference. imports: the user's
    files and modules that each process imports. Raises NeuroportError for a wrong request, ReferenceFailed.
    """
    reference = registry.reference_engine().name
    contestants = _contestants(engines, precisions, rounds, reference)
    data = load_data(experiment)
    check_fit(experiment, data)
    with ExitStack() as open_ones, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def trial(one: Contestant, path: Path, warmup: int) -> dict[str, Any]:
            wanted = None if one.engine == reference else device
            return {"trial": asdict(Trial(experiment.to_data(), one.engine, wanted, one.precision, str(path), BATCHES,
                                          warmup, tuple(imports), quiet))}

        measures = {one.label: measure_of(one.precision) for one in contestants}
        expected = {name: place / f"expected.{name}.npz" for name in dict.fromkeys([*measures.values(), PLAIN])}
        say(f"{reference}: one batch, to hold the others to")
        with engine_process() as process:
            for name, path in expected.items():
                answer = told(process, trial(Contestant(reference, name), path, 0))
                if isinstance(answer, Failure) and name != PLAIN:
                    raise ReferenceFailed(f"the reference engine {reference!r} could not do its share\n  "
                                          f"{answer.message}")
        processes: dict[str, Conversation] = {}
        ready: dict[str, Ready] = {}
        failures: dict[str, Failure] = {}
        for index, one in enumerate(contestants):
            say(f"{one.label}: one batch, {WARMUP} rounds to warm up")
            process = open_ones.enter_context(engine_process())
            answer = told(process, trial(one, place / f"{index}.npz", WARMUP))
            if isinstance(answer, Failure):
                failures[one.label] = answer
                say(f"{one.label} gave no answer: {answer.message.splitlines()[0]}")
            else:
                processes[one.label], ready[one.label] = process, Ready(**answer)
        traces = {one.label: place / f"{index}.npz" for index, one in enumerate(contestants) if one.label in ready}
        spikes = dict(_held(experiment, expected, measures, traces))
        agreeing = [label for label in ready if spikes[label].tier != NONE]
        say(f"{rounds} rounds of {', '.join(agreeing) or 'nobody'}")
        laps = _laps(processes, agreeing, rounds)
    for label, found in laps.items():
        failed = [lap for lap in found if isinstance(lap, Failure)]
        if failed:
            failures[label] = failed[0]
    whole = {label: [lap for lap in found if isinstance(lap, Lap)] for label, found in laps.items()
             if label not in failures}
    return Benchmark(experiment, reference, contestants, engines is not None, rounds, ready, spikes,
                     speeds_of(whole, ready), failures, machine(), about)


def _contestants(
    engines: Sequence[str] | None, precisions: Sequence[str | None], rounds: int, reference: str
) -> tuple[Contestant, ...]:
    """Who is asked, each once. Raises UnknownEngine, DuplicateEngine, EngineUnavailable or Invalid."""
    known = registry.registry()
    problems = []
    if rounds < 1:
        problems.append(Problem("--rounds", f"is {rounds}", "give at least 1; 5 or more show a spread"))
    if engines is None:
        names = tuple(name for name in known.names
                      if name != reference and name not in known.duplicates and not known.obstacle(name))
    else:
        names = tuple(dict.fromkeys(name.strip() for name in engines if name.strip()))
        for name in names:
            obstacle = known.obstacle(name)
            if obstacle:
                raise EngineUnavailable(f'the engine "{name}" cannot be used: {obstacle}')
    able = registry.reference_engine().capabilities().precisions
    for precision in precisions:
        if precision is not None and measure_of(precision) not in able:
            wrong = f"names {precision!r}, in which {reference!r} cannot show what is right"
            problems.append(Problem("--precision", wrong, f"name some of: {listed(able)}"))
    if not names:
        problems.append(Problem("--engines", "name no engine", f"name some of: {listed(known.names)}"))
    if problems:
        raise Invalid(problems, "request")
    wanted = dict.fromkeys(precisions or (None,))
    return tuple(Contestant(name, precision) for name in names for precision in wanted)


def measure_of(precision: str | None) -> str:
    """The reference's precision that a contestant's is held to: fewer bits in products are another definition."""
    return EXACT if precision in (None, EXACT, PLAIN) else precision


def _held(
    experiment: Experiment, expected: Mapping[str, Path], measures: Mapping[str, str], traces: Mapping[str, Path]
) -> Iterator[tuple[str, SpikeAgreement]]:
    """Each contestant against the reference's traces. expected: by precision; measures, traces: by label."""
    program, parameters = lower(experiment.model), api.init(experiment.model, experiment.seed)
    held = {name: read_traces(str(path)) for name, path in expected.items() if path.exists()}
    for label, path in traces.items():
        plain = held.get(PLAIN) if measures[label] == EXACT else None
        yield label, spikes_agree(program, parameters, held[measures[label]], read_traces(str(path)), plain)


def _laps(
    processes: Mapping[str, Conversation], labels: Sequence[str], rounds: int
) -> dict[str, list[Lap | Failure]]:
    def lap(label: str) -> Lap | Failure:
        answer = told(processes[label], {"lap": None})
        return answer if isinstance(answer, Failure) else Lap(**answer)

    return interleaved(labels, rounds, lap)


def speeds_of(laps: Mapping[str, Sequence[Lap]], ready: Mapping[str, Ready]) -> dict[str, Speed]:
    """What the rounds of each contestant say; all have as many."""
    wall = {label: [lap.wall for lap in found] for label, found in laps.items()}
    first = fastest(wall)
    found = {}
    for label, its in laps.items():
        one = ready[label]
        a_step = spread([seconds / one.steps for seconds in wall[label]])
        assert first is not None
        found[label] = Speed(
            a_step, spread([lap.cpu / one.steps for lap in its]), one.samples / (a_step.median * one.steps),
            ratios(wall[label], wall[first]), one.first_seconds, one.peak_memory)
    return found
