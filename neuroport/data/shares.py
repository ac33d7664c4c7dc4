"""Which samples train, validate and test: drawn by Philox, equal on every machine and for all time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuroport.data.order import epoch_order
from neuroport.errors import InvalidData, Problem

Parts = dict[str, np.ndarray]


def drawn(
    count: int, shares: Mapping[str, float], seed: int, classes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Parts:
    """Numbers of the samples of each part, ascending; "train" holds what the shares leave.

    shares: of all samples, by the parts' names. classes: (N,), each of which is shared out alike. groups: (N,),
    each of which goes to one part as a whole (all samples of a speaker); the shares are then of groups, at least
    one for each part. Raises InvalidData where a part would be empty.
    """
    if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        wrong = "shares are " + ", ".join(f"{name}={share}" for name, share in shares.items())
        raise InvalidData([Problem("split", wrong, "give shares above 0 that leave something for training")])
    if groups is not None:
        return _by_group(groups, shares, seed)
    order = epoch_order(count, seed, 0)
    sets = [order] if classes is None else [order[classes[order] == label] for label in np.unique(classes)]
    bounds = np.cumsum(list(shares.values()))
    # each class rounds at another point, so that small classes do not all leave the same part empty
    phases = (np.arange(len(sets)) + 0.5) / max(len(sets), 1)
    cuts = [np.split(one, np.floor(bounds * len(one) + phase).astype(int))
            for one, phase in zip(sets, phases, strict=True)]
    found = (np.sort(np.concatenate(part)) for part in zip(*cuts, strict=True))
    return dict(zip((*shares, "train"), found, strict=True))


def _by_group(groups: np.ndarray, shares: Mapping[str, float], seed: int) -> Parts:
    names = np.unique(groups)
    if len(names) <= len(shares):
        wrong = f"{len(names)} groups cannot be shared out over {len(shares) + 1} parts"
        raise InvalidData([Problem("split", wrong, "split by class or by sample instead")])
    order = names[epoch_order(len(names), seed, 0)]
    found, start = {}, 0
    for rest, (name, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
        size = min(max(1, int(share * len(names) + 0.5)), len(names) - start - rest)
        found[name] = np.flatnonzero(np.isin(groups, order[start:start + size]))
        start += size
    return {**found, "train": np.flatnonzero(np.isin(groups, order[start:]))}


def held_out(groups: np.ndarray, chosen: list[int], name: str) -> Parts:
    """The samples of chosen groups validate, all others train. name: of what the groups are, for errors."""
    missing = [group for group in chosen if group not in groups]
    if missing or not chosen:
        wrong = f"holds no {name} {missing[0]}" if missing else f"names no {name}"
        held = ", ".join(map(str, np.unique(groups)))
        raise InvalidData([Problem(f"{name}s", wrong, f"there are: {held}")])
    out = np.isin(groups, chosen)
    if out.all():
        raise InvalidData([Problem(f"{name}s", "hold all samples, which leaves nothing for training", "name fewer")])
    return {"validation": np.flatnonzero(out), "train": np.flatnonzero(~out)}
