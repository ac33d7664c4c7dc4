"""Data sets: sources, encoding and binning, bit packing, the cache, the order of samples."""

from neuroport.data.binning import Binning
from neuroport.data.encode import Analog, Current, Delta, Latency, Rate
from neuroport.data.events import Events
from neuroport.data.packer import Packer
from neuroport.data.packing import Packed, unpack
from neuroport.data.plan import Part, Plan
from neuroport.data.source import SourceInfo
from neuroport.data.splits import Splits, split, splits
from neuroport.data.staging import stage
from neuroport.data.tally import StagingReport

__all__ = [
    "Analog", "Binning", "Current", "Delta", "Events", "Latency", "Packed", "Packer", "Part", "Plan", "Rate",
    "SourceInfo", "Splits", "StagingReport", "split", "splits", "stage", "unpack",
]
