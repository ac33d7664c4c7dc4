"""How fast neuroport and other libraries compute five workloads, on this machine.

    python benchmarks/suite.py                         # all of it, with the scaling; about 12 minutes on 2 cores
    python benchmarks/suite.py --quick                 # three rounds of the most important ones, no scaling
    python benchmarks/suite.py --workloads c d --contestants "neuroport torch" spyx --rounds 20
    python benchmarks/suite.py --write                 # also into results/, with README.md, summary.md and the picture
    python benchmarks/suite.py --device cuda --write   # on a GPU

Workloads: a, one LIF layer; b, Linear and LIF; c, the network 128-512-512-20; d, 256 recurrent neurons; e, a
convolutional network (workload.py). a and b are forward and reverse alone, the others whole training steps.

Every contestant is a process of its own, in its own environment (make_peers.sh). First its outputs at the initial
weights are held to neuroport's float64 reference, stepping as that library says it steps: who claims to agree and
does not is not timed. Then they are measured in turn, a few steps each, while the others sleep; whatever else the
machine does in a round falls on all of them, so ratios within rounds say more than times. Those much slower than the
fastest take part in the first rounds alone. The numbers are a report: no test depends on them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import limits
import machine
import numpy as np
import picture
import report
import scaling
from agreement import Disagrees, References
from contestants import CONTESTANTS, QUICK, Entry
from running import LeftOut, asked, opened
from workload import WORKLOADS, Workload

from neuroport.bench.timing import interleaved
from neuroport.compare.processes import Conversation

RESULTS = Path(__file__).resolve().parent / "results"
LETTERS = {"a": "layer", "b": "linear_lif", "c": "feedforward", "d": "recurrent", "e": "conv"}
GPU_SIZES = {"linear_lif": "linear_lif_16k"}
ROUNDS, WARMUP = 7, 2
SLOW, SLOW_ROUNDS = 5.0, 3  # those that take so many times as long as the fastest take part in so many rounds

Say = Callable[[str], None]


def tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def prepared(
    process: Conversation, entry: Entry, workload: Workload, log: Path, references: References, warmup: int
) -> dict[str, Any]:
    """What a contestant says before it is timed. Raises LeftOut where it learns nothing, Disagrees."""
    ready = asked(process, {"prepare": workload.as_dict(), "warmup": warmup}, log)["ready"]
    wrong = report.not_learning(ready["losses"], workload)
    if wrong:
        raise LeftOut(wrong)
    path = asked(process, {"agree": True}, log)["forward"]
    verdict = None
    if path is not None:
        outputs = np.load(path)
        os.unlink(path)
        verdict = references.verdict(entry, workload, outputs, ready["losses"][0])
    elif entry.numerics is not None:
        raise LeftOut("it shows no outputs, so that nobody knows what it computes")
    return {**ready, "agreement": None if verdict is None else verdict.as_dict(),
            "saved_mib": asked(process, {"memory": True}, log)["saved_mib"]}


def measure(
    names: list[str], workload: Workload, rounds: int, device: str, logs: Path, say: Say = tell
) -> dict[str, Any]:
    """One workload: by contestant what it said, and its answer in each round; and who was left out, and why."""
    references = References()
    ready: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    logged = {name: logs / f"{workload.kind}-{name.replace(' ', '-')}.log" for name in names}
    with ExitStack() as stack:
        processes: dict[str, Conversation] = {}
        for name in names:
            entry = CONTESTANTS[name]
            if workload.kind not in entry.workloads:
                continue
            started = time.perf_counter()
            try:
                process = stack.enter_context(opened(entry, device, logged[name]))
                ready[name] = prepared(process, entry, workload, logged[name], references, WARMUP)
                processes[name] = process
                verdict = (ready[name]["agreement"] or {}).get("words", "a floor")
                say(f"  {name}: {verdict} ({time.perf_counter() - started:.0f} s)")
            except (LeftOut, Disagrees) as reason:
                left_out[name] = f"disagrees: {reason}" if isinstance(reason, Disagrees) else str(reason)
                say(f"  {name} is left out: {left_out[name]}")
        taken: dict[str, list[float]] = {name: [] for name in processes}

        def one(name: str) -> dict[str, Any] | None:
            if name in left_out or report.sits_out(name, taken, SLOW, SLOW_ROUNDS):
                return None
            try:
                answer = asked(processes[name], {"run": workload.steps_per_run}, logged[name])
            except LeftOut as reason:  # the others go on without it
                left_out[name] = f"ended while it was timed: {reason}"
                return None
            taken[name].append(answer["wall_seconds"])
            return answer

        answers = interleaved(list(processes), rounds, one)
    return {"ready": ready, "left_out": left_out,
            "answers": {name: its for name, its in answers.items() if name not in left_out}}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*LETTERS, *LETTERS.values()]
    parser.add_argument("--workloads", nargs="+", choices=known, default=list(LETTERS), metavar="LETTER",
                        help="any of a b c d e")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, metavar="NAME",
                        help=f"any of: {', '.join(CONTESTANTS)}")
    parser.add_argument("--rounds", type=int, help=f"timed runs of each contestant (default: {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="3 rounds of fewer contestants, without the scaling")
    parser.add_argument("--no-scaling", action="store_true", help="without the sweeps in T, B and N")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--write", action="store_true", help="write the report into --out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the report (default: results)")
    parser.add_argument("--report", action="store_true",
                        help="measure nothing: README.md, summary.md and the picture from the .json files in --out")
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = 3 if options.quick else ROUNDS
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    options.contestants = list(dict.fromkeys(options.contestants or (QUICK if options.quick else CONTESTANTS)))
    options.workloads = list(dict.fromkeys(LETTERS.get(name, name) for name in options.workloads))
    return options


def cuda_is_there() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def overview(out: Path) -> None:
    """README.md, summary.md and the picture, from the .json files; the page's picture only from the page's results."""
    report.write_overview(out)
    picture.write(out, picture.PATH if out.resolve() == RESULTS else out / picture.PATH.name)


def main() -> None:
    options = arguments()
    if options.report:
        overview(options.out)
        return
    if options.device == "cuda" and not cuda_is_there():
        raise SystemExit(f"No GPU here: nothing is measured. On a machine with an NVIDIA GPU: {report.GPU_COMMAND}")
    began, where, found = time.perf_counter(), machine.describe(), limits.measured(options.device)
    tell(report.limits_in_words(found))
    logs = machine.ROOT / ".peers" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    if options.write:
        options.out.mkdir(parents=True, exist_ok=True)
    for kind in options.workloads:
        workload = WORKLOADS[GPU_SIZES.get(kind, kind) if options.device == "cuda" else kind]
        tell(f"{kind}: {report.sizes_in_words(workload)}")
        raw = measure(options.contestants, workload, options.rounds, options.device, logs)
        made = report.of_workload({**where, "device": options.device}, found, workload, options.rounds, raw)
        print(report.markdown(made), flush=True)
        if options.write:
            report.write(options.out, f"{kind}_{options.device}", made, report.markdown(made))
    if not options.quick and not options.no_scaling:
        tell("scaling")
        grown = scaling.measure(options.contestants, options.workloads, options.device, logs)
        made = {"machine": where, "scaling": grown}
        print(scaling.markdown(grown))
        if options.write:
            report.write(options.out, f"scaling_{options.device}", made, scaling.markdown(grown))
    if options.write:
        overview(options.out)
    tell(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
