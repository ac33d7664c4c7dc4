"""The data sources of neuroport itself, through the same hook as anybody's."""

from neuroport.data.source import SourceInfo
from neuroport.hookspecs import hookimpl


@hookimpl
def neuroport_sources() -> list[SourceInfo]:
    return [
        SourceInfo("braille", "neuroport.data.braille:load", "touch of 7 Braille letters, ships with neuroport"),
        SourceInfo("npz", "neuroport.data.npz:own", "your own arrays: x_train, y_train, ... in the file `path`"),
        SourceInfo("folder", "neuroport.data.folder:load", "your own .npy and .npz files, a folder for each class"),
        SourceInfo("events", "neuroport.data.event_file:load", "your own recordings as events in the file `path`"),
        SourceInfo("images", "neuroport.data.images:load", "images as spikes (latency, rate) or currents; signals"),
        SourceInfo("hdf5", "neuroport.data.hdf5:load", "spikes in the layout of the Spiking Heidelberg Digits"),
        SourceInfo("yinyang", "neuroport.data.yinyang:load", "points in the yin, the yang or the dots; generated"),
        SourceInfo("mackeyglass", "neuroport.data.mackeyglass:load", "prediction of a chaotic series; generated"),
        SourceInfo("tonic", "neuroport.data.tonic:load", "every data set of the library tonic", member="NAME"),
    ]
