"""Comparisons, one for each tier of agreement. No claim without its tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroport.compare.agreement import VOLTAGES as VOLTAGES

# norm tier: ||a - ref|| / ||ref|| per tensor, as with VOLTAGES
GRADIENTS = 1e-4
PARAMETERS = 1e-3
LOSSES = 1e-5

# gradients of products in bfloat16: a cotangent that lies next to the boundary between two bfloat16 rounds apart after
# another order of sums, by the whole spacing, 2**-8 of it; a tensor's norm moves by a part of that
ROUNDED_GRADIENTS = 2.0**-10

SMALLEST = 2.0**-120  # well above float32's subnormals, also after a multiplication by a coefficient


def distance(found: Any, expected: Any) -> float:
    """||found - expected|| / ||expected||; of an expected zero, ||found|| itself."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert a.shape == b.shape, f"has shape {a.shape}, expected {b.shape}"
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / (size or 1.0)


def near(found: Mapping[str, Any], expected: Mapping[str, Any], bound: float, what: str) -> None:
    """Every tensor within a bound of the norm tier."""
    assert set(found) == set(expected), f"{what}: got {sorted(found)}, expected {sorted(expected)}"
    far = {name: distance(found[name], expected[name]) for name in expected}
    far = {name: value for name, value in far.items() if not value <= bound}  # NaN is far
    assert not far, f"{what}, relative distance above {bound}: " + ", ".join(
        f"{name} {value:.2e}" for name, value in far.items()
    )


def equal(found: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """Every tensor equal bit by bit, but for the sign of a zero."""
    assert set(found) == set(expected), f"{what}: got {sorted(found)}, expected {sorted(expected)}"
    for name, right in expected.items():
        a, b = np.asarray(found[name]), np.asarray(right)
        assert a.shape == b.shape, f"{what}, {name}: has shape {a.shape}, expected {b.shape}"
        if not np.array_equal(a, b):
            differ = np.argwhere(a != b)
            first = tuple(int(index) for index in differ[0])
            raise AssertionError(
                f"{what}, {name}: {len(differ)} of {a.size} values differ, the first at {first}: "
                f"{a[first]!r}, expected {b[first]!r}"
            )


def flat(records: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Records by "node.variable"."""
    return {f"{node}.{what}": np.asarray(trace).copy() for node, its in records.items() for what, trace in its.items()}


def no_subnormals(values: Mapping[str, np.ndarray]) -> None:
    """The bit tier holds where nothing is so small that a machine may flush it to zero."""
    for name, value in values.items():
        tiny = (value != 0) & (np.abs(value) < SMALLEST)
        assert not tiny.any(), f"{name} comes within reach of the subnormals: a fault of the kit's networks"
