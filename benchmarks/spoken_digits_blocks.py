"""A validation for the spoken digits that differs from training as another day's recordings do.

    python benchmarks/spoken_digits_blocks.py DATA/spoken_digits FOLDER

reads train.h5 alone and writes FOLDER/train.h5 (1,800 recordings) and FOLDER/valid.h5 (600). Of each speaker, how loud,
how long and in which channels a recording is differs most along one direction (a half to two thirds of the variance
within a digit). Of every speaker and digit the quarter at one end of it validates: the loud and long end of speakers 0,
2 and 3, the other end of speakers 1, 4 and 5. So no recording like them was seen in training.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

BANDS, WIDTH = 35, 20  # 700 channels
QUANTILES = (0.25, 0.5, 0.75, 0.95)
LOUD = (0, 2, 3)  # speakers whose loud and long end is held out
SHARE = 4  # a quarter


def features(times: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Of each recording where its spikes lie, when, and how many there are, (N, BANDS + 5)."""
    profile = np.array([np.bincount(np.asarray(one, int) // WIDTH, minlength=BANDS) / len(one) for one in units])
    when = np.array([np.quantile(np.asarray(one, float), QUANTILES) for one in times])
    count = np.array([len(one) for one in times])
    return np.column_stack([np.log(profile + 1e-3), np.log(when), np.log(count)])


def main_direction(found: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Of one speaker's recordings the place along the direction in which they differ most, up to loud, (N,)."""
    means = np.array([found[digits == digit].mean(0) for digit in range(10)])
    rest = found - means[digits]
    weight = np.r_[np.full(BANDS, BANDS**-0.5), np.full(len(QUANTILES), 0.5), 1]  # each of the three counts alike
    left = np.linalg.svd(rest / np.maximum(rest.std(0), 1e-3) * weight, full_matrices=False)[0][:, 0]
    return left * np.sign(np.corrcoef(left, rest[:, -1])[0, 1])


def held_out(found: np.ndarray, digits: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Whether each recording validates, (N,)."""
    out = np.zeros(len(digits), bool)
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        place = main_direction(found[own], digits[own]) * (1 if speaker in LOUD else -1)
        for digit in range(10):
            same = np.flatnonzero(digits[own] == digit)
            out[own[same[np.argsort(-place[same])[: len(same) // SHARE]]]] = True
    return out


def write(path: Path, file: h5py.File, rows: np.ndarray) -> None:
    """Some recordings of a file as a file of their own."""
    with h5py.File(path, "w") as into:
        for name, kind in (("spikes/times", np.float16), ("spikes/units", np.uint16)):
            held = file[name][()]
            column = into.create_dataset(name, (len(rows),), dtype=h5py.vlen_dtype(kind))
            for place, row in enumerate(rows):
                column[place] = held[row]
        for name in ("labels", "extra/speaker"):
            into[name] = file[name][()][rows]
        into["extra/keys"] = file["extra/keys"][()]


def main(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(source / "train.h5") as file:
        digits, speakers = (file[name][()].astype(int) for name in ("labels", "extra/speaker"))
        out = held_out(features(file["spikes/times"][()], file["spikes/units"][()]), digits, speakers)
        write(folder / "train.h5", file, np.flatnonzero(~out))
        write(folder / "valid.h5", file, np.flatnonzero(out))
    print(f"{(~out).sum()} recordings train, {out.sum()} validate")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
