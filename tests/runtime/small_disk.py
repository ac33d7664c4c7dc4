"""A training whose disk fills up, or becomes read-only, under it: run by test_disk.py in a mount namespace of its own.

Mounts a small disk at the place given, and prints as JSON what happened.
"""

import json
import subprocess
import sys
from pathlib import Path

from runtime_case import small_data, small_experiment
from safetensors.numpy import load_file

import neuroport as npt
from neuroport.runtime.checkpoint import Checkpoint
from neuroport.runtime.folder import RunFolder, checkpoint_files

EXPERIMENT = small_experiment(epochs=4)
PAGE = 4096


class After(npt.callbacks.Callback):
    """Does something when an epoch has ended."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def on_epoch(self, row):
        if row["epoch"] == self.epoch:
            self.action()


def mount(place, *options):
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)


def train(out, callbacks=()):
    return npt.fit(EXPERIMENT, "reference", out, callbacks, data=small_data(), resume=True)


def stopped(out, callbacks=()):
    """What a training that cannot write says, and what it leaves."""
    try:
        train(out, callbacks)
    except npt.NeuroportError as error:
        said, code = str(error), error.exit_code
    else:
        return None
    files = checkpoint_files(out)
    rows = (out / "metrics.jsonl").read_bytes() if (out / "metrics.jsonl").exists() else b""
    return {
        "said": said, "exit_code": code, "checkpoints": [file.name for file in files],
        "whole": [Checkpoint.read(file).facts["epoch"] for file in files],
        "parameters": [name for name in ("parameters", "last") if (out / f"{name}.safetensors").exists()
                       and load_file(out / f"{name}.safetensors")],
        "rows": rows.count(b"\n"), "half_a_row": rows[-1:] not in (b"", b"\n"),
        "rests": [file.name for file in out.rglob("*.tmp")],
    }


def goes_on(out, expected):
    """Whether the same command, now that there is room, ends as if there had always been."""
    run = train(out)
    return (out / "last.safetensors").read_bytes() == expected and len(run.history) == EXPERIMENT.training.epochs


def fill(place, free):
    """A file that leaves so many bytes."""
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            file.truncate(ballast.stat().st_size - free)
    return ballast


def full(place, expected):
    """Every amount of room, page by page, until there is enough: something else fails each time."""
    found = []
    for pages in range(1, 100):
        mount(place, "-o", "size=256k")
        ballast = fill(place, pages * PAGE)
        what = stopped(place / "run")
        if what is None:
            break
        ballast.unlink()
        found.append({**what, "goes_on": goes_on(place / "run", expected)})
        subprocess.run(["umount", str(place)], check=True)
    return found


def rows(place, elsewhere):
    """Rows of many lengths until the disk is full; what metrics.jsonl holds then, and how many were written."""
    found = []
    for width in range(300, 1300, 100):
        mount(place, "-o", "size=64k")
        folder, written = RunFolder.create(place / "run", EXPERIMENT), 0
        fill(place, 2 * PAGE)
        try:
            while True:
                folder.add_row({"epoch": written + 1, "words": "-" * width})
                written += 1
        except npt.NotWritten:
            content = (place / "run" / "metrics.jsonl").read_bytes()
        found.append({"written": written, "lines": content.count(b"\n"), "whole": content.endswith(b"\n"),
                      "bytes": len(content)})
        subprocess.run(["umount", str(place)], check=True)
    return found


def read_only(place, expected):
    """After the second of four epochs nothing can be written any more; and then not even begun."""
    mount(place, "-o", "size=1m")
    what = stopped(place / "run", [After(2, lambda: mount(place, "-o", "remount,ro"))])
    begun = stopped(place / "other")
    again = stopped(place / "run")
    mount(place, "-o", "remount,rw")
    return {**what, "begun": begun["said"], "again": again["said"], "goes_on": goes_on(place / "run", expected)}


def main(case, place, elsewhere):
    train(elsewhere)
    expected = (elsewhere / "last.safetensors").read_bytes()
    json.dump({"full": full, "rows": rows, "read_only": read_only}[case](place, expected), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
