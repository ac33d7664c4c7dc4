"""Data sets: sources, bit packing, the order of samples."""

from neuroport.data.packing import Packed, stage, unpack
from neuroport.data.source import SourceInfo, Splits, splits

__all__ = ["Packed", "SourceInfo", "Splits", "splits", "stage", "unpack"]
