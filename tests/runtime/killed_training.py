"""A small training as a process of its own, to be killed: run by test_kill_and_resume.py.

Prints a line at its start, after each piece and after each epoch. With ``--linger N`` it takes its time two lines
after the Nth, so that a kill meant for the moments after that line never comes too late.
"""

import argparse
import sys
import time

from runtime_case import small_data, small_experiment

import neuroport as npt

EPOCHS, PIECES = 5, 4
LINES = 1 + EPOCHS * (PIECES + 1)
PAUSE = 0.01
POLICIES = {
    "epochs": npt.Checkpoints(every_epochs=1),
    "second": npt.Checkpoints(every_epochs=2, keep=1),
    "pieces": npt.Checkpoints(every_epochs=None, every_minutes=1e-9),
}


class Talk(npt.callbacks.Callback):
    def __init__(self, linger):
        self.linger, self.lines = linger, 0

    def on_start(self, plan):
        self.say("start", plan.first_epoch)

    def on_piece(self, piece):
        self.say("piece", piece.epoch, piece.done)

    def on_epoch(self, row):
        self.say("epoch", row["epoch"])

    def say(self, *words):
        print(*words, flush=True)
        self.lines += 1
        time.sleep(60 if self.linger is not None and self.lines > self.linger + 2 else PAUSE)


def experiment(epochs=EPOCHS):
    """Everything that has a memory: moments, a plateau, early stopping, groups of batches, a metric."""
    return small_experiment(
        epochs=epochs, batch_size=2, accumulate=2, early_stopping=npt.EarlyStopping(patience=4),
        optimizer=npt.AdamW(learning_rate=0.05),
        schedule=npt.Warmup(epochs=1, then=npt.Plateau(factor=0.5, patience=1, min_delta=0.2)),
        metrics=(npt.TopK(k=1),),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("out")
    parser.add_argument("--linger", type=int)
    parser.add_argument("--policy", choices=POLICIES, default="epochs")
    asked = parser.parse_args()
    npt.fit(experiment(), asked.engine, asked.out, [Talk(asked.linger)], data=small_data(63), resume=True,
            checkpoint=POLICIES[asked.policy])


if __name__ == "__main__":
    sys.exit(main())
