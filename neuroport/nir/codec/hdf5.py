"""NIR's HDF5 files, read and written whole on h5py: ``load`` and ``save``.

The layout, as nir 1.0.8 has it: ``/version``, a text, and ``/node``, a group. A node is a group with the text ``type``,
an array or a text for each field, and where it has any the group ``metadata``. A graph (type NIRGraph) has the
group ``nodes`` and ``edges``, texts of shape (edges, 2). What goes beyond that is in ``marks.py``.
"""

from __future__ import annotations

from pathlib import Path

from neuroport.errors import InvalidData
from neuroport.nir.codec.limits import LIMITS, Limits
from neuroport.nir.codec.reading import read_file
from neuroport.nir.codec.repair import repaired
from neuroport.nir.codec.writing import write_file
from neuroport.nir.contents import NirFile

COMPRESSION = 4  # gzip's level


def load(path: str | Path, *, repair: bool = True, limits: Limits = LIMITS) -> NirFile:
    """What a NIR file holds: every node and field, known or not, in the file's order, dtypes and shapes.

    repair: mend what nir 1.0.8 refuses where the intent is clear, and say so in ``findings``; what is not clear is an
    error. False gives the file as it is. limits: what a file may ask for; more is refused before it is read.
    Raises InvalidData.
    """
    file = Path(path).expanduser()
    content = read_file(file, limits)
    if not repair:
        return content
    try:
        return repaired(content)
    except InvalidData as error:
        raise InvalidData(error.problems, f"NIR file {file}") from None


def save(path: str | Path, content: NirFile, *, compression: int | None = COMPRESSION) -> None:
    """Write a NIR file, whole or not at all: ``load`` gives the same contents back, bit by bit.

    Where nir 1.0.8 has a node for everything in it, nir 1.0.8 reads it too. compression: gzip's level for larger
    arrays, 0 to 9, or None. Raises InvalidData for what HDF5 cannot hold, NotWritten where the disk does not take it.
    """
    write_file(Path(path).expanduser(), content, compression)
