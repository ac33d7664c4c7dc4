"""Tactile reading of seven Braille letters: the data set that ships inside the package.

Recordings of 12 capacitive sensors of a fingertip that slides over printed letters, as spikes of
256 steps (Müller-Cleve et al. 2022; this split: Pedersen et al. 2024, github.com/neuromorphs/NIR,
BSD-3-Clause, see LICENSE.NIR beside this file). 980 samples train, 280 validate, 140 test.
"""

from __future__ import annotations

from pathlib import Path

from neuroport.data.npz import load_packed
from neuroport.data.splits import Splits

FILE = Path(__file__).with_name("braille7.npz")


def load() -> Splits:
    """The three parts, (N, 256, 12) of 0/1, seven classes."""
    return load_packed(FILE, "braille")
