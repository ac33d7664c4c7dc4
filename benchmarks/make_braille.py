"""Writes the Braille data that ships inside the package, from the recordings in the shared folder.

    python benchmarks/make_braille.py ../shared/data/braille

The folder holds braille7.npz (x_train, y_train, x_val, ...; samples (N, 256, 12) of 0/1) and its licence.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from neuroport.data.braille import FILE
from neuroport.data.npz import read_arrays, save_packed
from neuroport.data.splits import splits


def main(folder: Path) -> None:
    arrays = read_arrays(folder / "braille7.npz")
    named = {"train": "train", "validation": "val", "test": "test"}
    pairs = {part: (arrays[f"x_{short}"], arrays[f"y_{short}"]) for part, short in named.items()}
    data = splits(**pairs, name="braille")
    save_packed(FILE, data)
    shutil.copy(folder / "LICENSE.NIR", FILE.with_name("LICENSE.NIR"))
    print(f"{FILE}: {FILE.stat().st_size / 1e6:.2f} MB, content {data.content_hash}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
