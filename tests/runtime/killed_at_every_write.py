"""A small training, killed before its first write, before its second, ...; run by test_kill_and_resume.py.

Prints, as JSON, how many writes there are, and those after which going on gave another result. It forks, so that
Python starts but once.
"""

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from runtime_case import small_data, small_experiment

import neuroport as npt

POLICY = npt.Checkpoints(every_minutes=1e-9, keep=2)
EXPERIMENT = small_experiment(epochs=2, batch_size=2, early_stopping=npt.EarlyStopping(patience=2))
CALLS = [(os, "fsync"), (os, "replace"), (os, "truncate"), (Path, "unlink"), (Path, "mkdir")]


def train(out):
    npt.fit(EXPERIMENT, "reference", out, data=small_data(16), resume=True, checkpoint=POLICY)


def content(out):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name not in ("seconds", "samples_per_second")}
            for row in rows]
    return [(out / f"{name}.safetensors").read_bytes() for name in ("parameters", "last")], rows


def die_before(number):
    """Let this process be killed before the call of that number, of those that change files."""
    passed = itertools.count()

    def watched(call):
        def instead(*args, **options):
            if next(passed) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)
        return instead

    for owner, name in CALLS:
        setattr(owner, name, watched(getattr(owner, name)))


def killed_at(number, out):
    """Whether the training got as far as that call, in a process of its own."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        die_before(number)
        train(out)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(place):
    train(place / "whole")
    expected, failed, number = content(place / "whole"), [], 0
    while killed_at(number, place / str(number)):
        out = place / str(number)
        train(out)
        if content(out) != expected or list(out.rglob("*.tmp")) or not npt.Run.load(out).summary:
            failed.append(number)
        number += 1
    print(json.dumps({"writes": number, "failed": failed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
