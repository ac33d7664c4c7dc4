"""What HDF5 cannot say by itself stands in attributes, which ``nir`` passes over: true names, None, kinds of text.

HDF5 has no "/" in a name: ``a/b`` is written ``a%2Fb``, in edges too, and its true name kept beside it. None is an
empty data set, or stands behind a value that ``nir`` can read in its place.
"""

from __future__ import annotations

import re
from collections.abc import Container

NAME, KIND = "neuroport_name", "neuroport_kind"
NONE, BYTES = "none", "bytes"
UNICODE = re.compile("[<>]U[0-9]+")  # the dtype of NumPy's own texts


def written_name(name: str, taken: Container[str]) -> str:
    """A name as HDF5 can hold it: the same where it can, else one that is not ``taken``.

    name: without NUL characters and lone surrogates.
    """
    if name and name != "." and "/" not in name:
        return name
    escaped = {"": "%", ".": "%2E"}.get(name, name.replace("/", "%2F"))
    candidate, count = escaped, 1
    while candidate in taken:
        count += 1
        candidate = f"{escaped}%{count}"
    return candidate
