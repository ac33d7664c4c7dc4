"""A batch that exists as packed bits or as a list of events alone: see ``marked.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from neuroport_torch.products import Events

if TYPE_CHECKING:
    from neuroport_torch.bits_product import StagedBits


class Marked(torch.Tensor):
    """Activity (T, B, *shape) that exists as its marks alone. Its values are NaN, and take no memory."""

    marks: Events | StagedBits

    @staticmethod
    def of(marks: Events | StagedBits, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Marked:
        blank = torch.full((1,), torch.nan, dtype=dtype, device=device)
        found: Marked = torch.Tensor._make_subclass(Marked, blank.expand(shape))
        found.marks = marks
        return found

    def __getitem__(self, window: Any) -> Marked:
        assert window == slice(0, len(self)), "marks are read as a whole"
        return self
