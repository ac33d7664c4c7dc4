"""The data sources of neuroport itself, through the same hook as anybody's."""

from neuroport.data.source import SourceInfo
from neuroport.hookspecs import hookimpl


@hookimpl
def neuroport_sources() -> list[SourceInfo]:
    return [
        SourceInfo("braille", "neuroport.data.braille:load", "touch of 7 Braille letters, ships with neuroport"),
        SourceInfo("npz", "neuroport.data.npz:own", "your own arrays: x_train, y_train, ... in the file `path`"),
    ]
