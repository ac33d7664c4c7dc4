"""A small training as a process of its own: run by test_kill_and_resume.py.

    killed_training.py ENGINE FOLDER          prints a line at its start, after each piece and after each epoch
    killed_training.py ENGINE FOLDER CASES    trains in FOLDER/0, FOLDER/1, ... and is killed in between

CASES: JSON, for each training its policy and [line, seconds after it] of each kill; after the last it may end. Those
trainings are processes forked from this one, which has imported what they need: Python starts but once.
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from runtime_case import small_data, small_experiment

import neuroport as npt
from neuroport import registry

EPOCHS, PIECES = 4, 3
LINES = 1 + EPOCHS * (PIECES + 1)
PAUSE = 0.01
POLICIES = {
    "epochs": npt.Checkpoints(every_epochs=1),
    "second": npt.Checkpoints(every_epochs=2, keep=1),
    "pieces": npt.Checkpoints(every_epochs=None, every_minutes=1e-9),
}


class Talk(npt.callbacks.Callback):
    """Says where the training is. linger: lines after which it takes its time, so that no kill comes too late."""

    def __init__(self, linger=None, into=sys.stdout):
        self.linger, self.into, self.lines = linger, into, 0

    def on_start(self, plan):
        self.say("start", plan.first_epoch)

    def on_piece(self, piece):
        self.say("piece", piece.epoch, piece.done)

    def on_epoch(self, row):
        self.say("epoch", row["epoch"])

    def say(self, *words):
        print(*words, flush=True, file=self.into)
        self.lines += 1
        time.sleep(60 if self.linger is not None and self.lines > self.linger + 2 else PAUSE)


def experiment(epochs=EPOCHS):
    """Everything that has a memory: moments, a plateau, early stopping, groups of batches, a metric."""
    return small_experiment(
        epochs=epochs, batch_size=2, accumulate=2, early_stopping=npt.EarlyStopping(patience=3),
        optimizer=npt.AdamW(learning_rate=0.05),
        schedule=npt.Warmup(epochs=1, then=npt.Plateau(factor=0.5, patience=1, min_delta=0.2)),
        metrics=(npt.TopK(k=1),),
    )


def train(engine, out, policy="epochs", talk=None):
    npt.fit(experiment(), engine, out, [talk or Talk()], data=small_data(47), resume=True, checkpoint=POLICIES[policy])


def forked(work):
    """A process that does this, and what it says."""
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        os.close(heard)
        try:
            with os.fdopen(said, "w") as into:
                work(into)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(said)
    return child, os.fdopen(heard)


def killed(engine, out, line, later, policy):
    """Start (or go on with) a training, and kill it so many seconds after it has said so many lines."""
    child, heard = forked(lambda into: train(engine, out, policy, Talk(line, into)))
    with heard:
        for _ in range(line):
            assert heard.readline(), "it ended before it could be killed"
        time.sleep(later)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


def ended(engine, out, policy):
    child, heard = forked(lambda into: train(engine, out, policy, Talk(into=into)))
    with heard:
        heard.read()
        _, status = os.waitpid(child, 0)
    assert status == 0, status


def main():
    engine, cases = sys.argv[1], sys.argv[2:]
    if len(cases) == 1:
        return train(engine, cases[0])
    place, cases = Path(cases[0]), json.loads(cases[1])
    registry.engine(engine)  # imports it
    if engine == "torch":
        import torch._dynamo  # noqa: F401  # which torch's optimizers import
    for index, (policy, moments) in enumerate(cases):
        for line, later in moments:
            killed(engine, place / str(index), line, later, policy)
        ended(engine, place / str(index), policy)


if __name__ == "__main__":
    main()
