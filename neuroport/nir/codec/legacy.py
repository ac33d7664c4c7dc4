"""A node as another release of nir wrote it, brought to the fields that nir 1.0.8 has, where the intent is clear.

    until 0.0.5    weights, theta (0.0.1), v_th (0.0.3); Linear with a bias, which is Affine since 0.0.6
    until 0.1      a shape of Input and Output that is one number; an Output without any
    until 0.2      CubaLIF without w_in, which is 1; convolutions without input_shape (see ``repair.py``)
    until 1.0.5    IF, LIF and CubaLIF without v_reset, which nir still reads: what it means, the version decides
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from neuroport.errors import Problem
from neuroport.nir.contents import Fields, NirNode

RENAMED = {"weights": "weight", "theta": "v_threshold", "v_th": "v_threshold"}
CONVOLUTION = ("weight", "stride", "padding", "dilation", "groups", "bias")
POOL = ("kernel_size", "stride", "padding")
# what nir 1.0.8 does not read a node without. input_shape and shape: see repair.py
NEEDED = {
    "Affine": ("weight", "bias"), "Linear": ("weight",), "Scale": ("scale",), "Conv1d": CONVOLUTION,
    "Conv2d": CONVOLUTION, "SumPool2d": POOL, "AvgPool2d": POOL, "Delay": ("delay",), "Threshold": ("threshold",),
    "I": ("r",), "IF": ("r", "v_threshold"), "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold"), "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"),
}
Mended = tuple[NirNode, list[str]]  # a node, and in words what was done to it


def mended(node: NirNode) -> Mended:
    """A node with today's names and fields, and what was done to it; the same node where nothing was."""
    words: list[str] = []
    for step in STEPS:
        node, done = step(node)
        words += done
    return node, words


def lacking(node: NirNode, path: str) -> Iterator[Problem]:
    """Fields without which a node means nothing, and which cannot be guessed."""
    for name in NEEDED.get(node.type, ()):
        if name not in node.fields:
            close = ", ".join(node.fields) or "none"
            mend = f"write it, or export the graph again; the fields there: {close}"
            yield Problem(f"{path}.{name}", f"is missing from {node.type}", mend)


def _renamed(node: NirNode) -> Mended:
    needed, words = NEEDED.get(node.type, ()), []
    fields: Fields = {}
    for name, value in node.fields.items():
        new = RENAMED.get(name, name)
        if new != name and new in needed and new not in node.fields and name not in needed:
            words.append(f"{name} is called {new} now")
            fields[new] = value
        else:
            fields[name] = value
    return (_with(node, fields), words) if words else (node, [])


def _affine(node: NirNode) -> Mended:
    if node.type == "Linear" and isinstance(node.fields.get("bias"), np.ndarray):
        return NirNode("Affine", node.fields, node.metadata), ["a Linear with a bias is an Affine"]
    return node, []


def _bias(node: NirNode) -> Mended:
    weight = node.fields.get("weight")
    if node.type not in ("Affine", "Conv1d", "Conv2d") or "bias" in node.fields or not isinstance(weight, np.ndarray):
        return node, []
    axis = -2 if node.type == "Affine" else 0
    if weight.ndim < 2 or weight.dtype.kind not in "biuf":
        return node, []
    zeros = np.zeros(weight.shape[axis], weight.dtype)
    return _with(node, {**node.fields, "bias": zeros}), ["has no bias: zeros"]


def _convolution(node: NirNode) -> Mended:
    absent = [name for name in ("dilation", "groups") if name not in node.fields]
    if node.type not in ("Conv1d", "Conv2d") or not absent:
        return node, []
    fields = {**node.fields, **{name: np.array(1) for name in absent}}
    return _with(node, fields), [f"has no {name}: 1" for name in absent]


def _input_weight(node: NirNode) -> Mended:
    like = node.fields.get("v_leak")
    if node.type not in ("CubaLI", "CubaLIF") or "w_in" in node.fields or not isinstance(like, np.ndarray):
        return node, []
    return _with(node, {**node.fields, "w_in": np.ones_like(like)}), ["has no w_in: 1"]


def _axes(node: NirNode) -> Mended:
    shape = node.fields.get("shape")
    if node.type not in ("Input", "Output") or not isinstance(shape, np.ndarray):
        return node, []
    if shape.ndim or shape.dtype.kind not in "iu":
        return node, []
    return _with(node, {**node.fields, "shape": shape.reshape(1)}), [f"its shape {int(shape)} is the shape ({shape},)"]


def _with(node: NirNode, fields: Fields) -> NirNode:
    return NirNode(node.type, fields, node.metadata)


STEPS: tuple[Callable[[NirNode], Mended], ...] = (_renamed, _affine, _bias, _convolution, _input_weight, _axes)
