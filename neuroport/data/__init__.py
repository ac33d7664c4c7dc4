"""Data sets: sources, bit packing, the order of samples."""

from neuroport.data.packing import Packed, stage, unpack
from neuroport.data.source import SourceInfo, Splits, split, splits

__all__ = ["Packed", "SourceInfo", "Splits", "split", "splits", "stage", "unpack"]
