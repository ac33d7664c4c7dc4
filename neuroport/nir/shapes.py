"""The shapes that flow through a graph: into and out of every node, without batch and time.

Inferred here, since nir 1.0.8 is wrong for kernels that are not square, groups and "same" with a stride. A convolution
or a pool of kernel k, stride s, padding p and dilation d makes floor((n + 2 p - d (k - 1) - 1) / s) + 1 of n, as those
of PyTorch do; "same" makes ceil(n / s); "valid" is p = 0. Dimensions of Flatten count from the first of the shape,
negative ones from the end, as in torch.flatten without a batch. Edges into one node add up: their shapes are equal.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroport.nir.contents import Finding, NirGraph, NirNode

Shape = tuple[int, ...]

# types whose parameters have the shape of what flows through; w_in and v_reset may be missing
ELEMENTWISE: Mapping[str, tuple[str, ...]] = {
    "Scale": ("scale",), "Delay": ("delay",), "Threshold": ("threshold",), "I": ("r",),
    "IF": ("r", "v_threshold", "v_reset"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
}
CONVOLUTIONS = {"Conv1d": 1, "Conv2d": 2}  # axes of space
POOLS = ("SumPool2d", "AvgPool2d")
MOST_AXES, LARGEST = 32, 1 << 62  # of a shape; larger ones overflow what they are stored as
KNOWN = frozenset(ELEMENTWISE) | {"Input", "Output", "NIRGraph", "Affine", "Linear", "Flatten", *CONVOLUTIONS, *POOLS}


class Unfit(Exception):
    """A node that no shape fits, in words."""


@dataclass(frozen=True)
class Shapes:
    """By path (``NirGraph.walk``): the shapes into and out of each node, None where nothing says them.

    findings: what does not fit together, and where.
    """

    into: dict[str, Shape | None] = field(default_factory=dict)
    out: dict[str, Shape | None] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def infer(graph: NirGraph, arriving: Shape | None = None) -> Shapes:
    """The shapes within a graph.

    A node that says its own shape has it; the others take what arrives over their edges. arriving: at an Input that
    says no shape, of a graph that has one Input.
    """
    return _Inference(graph, arriving).shapes()


def own_shape(node: NirNode) -> Shape | None:
    """The shape that a node takes in, as its own fields say it; None where they do not. Raises Unfit."""
    if node.type in ("Input", "Output"):
        return _sizes(node, "shape")
    if node.type in ELEMENTWISE:
        shape = parameter_shape(node)
        return None if shape is None or 1 in shape or shape == () else shape  # such an axis takes any size
    if node.type in ("Affine", "Linear"):
        weight = _weight(node, at_least=2)
        return (*weight[:-2], weight[-1])
    if node.type in CONVOLUTIONS:
        space = _sizes(node, "input_shape", CONVOLUTIONS[node.type])
        return None if space is None else (_channels(node), *space)
    return _sizes(node, "input_type") if node.type == "Flatten" else None


def parameter_shape(node: NirNode) -> Shape | None:
    """The shape that the parameters of a neuron, or another elementwise node, have together. Raises Unfit."""
    held = {name: node.fields[name] for name in ELEMENTWISE[node.type] if node.fields.get(name) is not None}
    if not all(isinstance(value, np.ndarray) for value in held.values()):
        raise Unfit("has parameters that are no arrays")
    try:
        return np.broadcast_shapes(*(value.shape for value in held.values())) if held else None
    except ValueError:
        listed = ", ".join(f"{name} {value.shape}" for name, value in held.items())
        raise Unfit(f"has parameters whose shapes do not fit each other: {listed}") from None


def shape_out(node: NirNode, into: Shape) -> Shape | None:
    """What a node makes of a shape; None for a type that NIR does not have. Raises Unfit."""
    if node.type in ("Input", "Output"):
        return into
    if node.type in ELEMENTWISE:
        own = parameter_shape(node)
        if own is not None and _broadcast(own, into) != into:
            raise Unfit(f"has parameters of shape {own}, but gets {into}")
        return into
    if node.type in ("Affine", "Linear"):
        weight = _weight(node, at_least=2)
        if into != (*weight[:-2], weight[-1]):
            raise Unfit(f"has a weight of shape {weight}, but gets {into}")
        return weight[:-1]
    if node.type in CONVOLUTIONS:
        return _convolved(node, into)
    if node.type in POOLS:
        return _pooled(node, into)
    return _flattened(node, into) if node.type == "Flatten" else None


def _convolved(node: NirNode, into: Shape) -> Shape:
    axes, weight = CONVOLUTIONS[node.type], _weight(node, exactly=CONVOLUTIONS[node.type] + 2)
    if len(into) != axes + 1:
        raise Unfit(f"takes in a channel axis and {axes} of space, but gets {into}")
    if into[0] != _channels(node):
        raise Unfit(f"takes in {_channels(node)} channels, but gets {into}")
    stride, dilation = (_numbers(node, name, axes, 1) for name in ("stride", "dilation"))
    same = isinstance(node.fields.get("padding"), str) and node.fields["padding"] == "same"
    padding = (0,) * axes if same else _padding(node, axes)
    made = []
    for axis in range(axes):
        reach = dilation[axis] * (weight[2 + axis] - 1)
        room = into[1 + axis] - 1 + (0 if same else 2 * padding[axis] - reach)
        made.append(_steps(room, stride[axis], into))
    return (weight[0], *made)


def _pooled(node: NirNode, into: Shape) -> Shape:
    if len(into) != 3:
        raise Unfit(f"takes in (channels, height, width), but gets {into}")
    kernel, stride = (_numbers(node, name, 2, 1) for name in ("kernel_size", "stride"))
    padding = _numbers(node, "padding", 2, 0)
    room = (into[1 + axis] + 2 * padding[axis] - kernel[axis] for axis in (0, 1))
    return (into[0], *(_steps(free, step, into) for free, step in zip(room, stride, strict=True)))


def _steps(room: int, stride: int, into: Shape) -> int:
    """How often a window fits that can move by ``room``."""
    if room < 0:
        raise Unfit(f"has a kernel that is larger than the {into} it gets, padded")
    return room // stride + 1


def flattened(node: NirNode) -> tuple[int, int]:
    """The first and the last dimension that a Flatten flattens. Raises Unfit."""
    return _number(node, "start_dim", 1), _number(node, "end_dim", -1)


def _flattened(node: NirNode, into: Shape) -> Shape:
    (first, last), axes = flattened(node), len(into)
    if not (-axes <= first < axes and -axes <= last < axes and first % axes <= last % axes):
        raise Unfit(f"flattens dimensions {first} to {last} of {into}, which has {axes}")
    first, last = first % axes, last % axes
    return (*into[:first], math.prod(into[first : last + 1]), *into[last + 1 :])


def _weight(node: NirNode, at_least: int = 0, exactly: int = 0) -> Shape:
    weight = node.fields.get("weight")
    if not isinstance(weight, np.ndarray):
        raise Unfit("has no weight" if weight is None else "has a weight that is no array")
    shape: Shape = weight.shape
    if len(shape) < at_least or (exactly and len(shape) != exactly):
        raise Unfit(f"has a weight of shape {shape}, but one of {exactly or f'at least {at_least}'} axes belongs there")
    return shape


def _channels(node: NirNode) -> int:
    """Channels that a convolution takes in: each group sees its share of them."""
    weight, groups = _weight(node, exactly=CONVOLUTIONS[node.type] + 2), _number(node, "groups", 1)
    if groups < 1 or weight[0] % groups:
        raise Unfit(f"has {groups} groups, which do not divide the {weight[0]} channels it puts out")
    return weight[1] * groups


def _padding(node: NirNode, axes: int) -> Shape:
    padding = node.fields.get("padding")
    if isinstance(padding, str):
        if padding != "valid":
            raise Unfit(f'has padding {padding!r}: a number, "same" or "valid" belongs there')
        return (0,) * axes
    return _numbers(node, "padding", axes, 0)


def _numbers(node: NirNode, name: str, axes: int, least: int) -> Shape:
    """A field of one number for all axes of space, or one for each."""
    value = np.asarray(node.fields.get(name, 0 if name == "padding" else 1))
    if not _whole(value) or value.size not in (1, axes) or value.ndim > 1 or (value < least).any():
        raise Unfit(f"has {name} {_shown(value)}: {axes} whole numbers of at least {least} belong there")
    return tuple(int(number) for number in np.broadcast_to(value, axes))


def _number(node: NirNode, name: str, default: int) -> int:
    value = np.asarray(node.fields.get(name, default))
    if not _whole(value) or value.size != 1:
        raise Unfit(f"has {name} {_shown(value)}: a whole number belongs there")
    return int(value.reshape(()))


def _sizes(node: NirNode, name: str, axes: int | None = None) -> Shape | None:
    """A shape that a field says; None where it does not."""
    held = node.fields.get(name)
    if held is None:
        return None
    value = np.atleast_1d(np.asarray(held))
    listed = value.ndim == 1 and value.size <= MOST_AXES and (axes is None or value.size in (1, axes))
    if not listed or not _whole(value) or (value < 0).any():
        raise Unfit(f"has {name} {_shown(value)}: a shape belongs there")
    return tuple(int(size) for size in (value if axes is None else np.broadcast_to(value, axes)))


def _whole(value: np.ndarray) -> bool:
    """Whether an array holds whole numbers, in whatever dtype a platform wrote them."""
    if value.dtype.kind != "f":
        return value.dtype.kind in "iu"
    return bool((np.isfinite(value) & (value == np.floor(value))).all())


def _shown(value: np.ndarray) -> str:
    """A field's value in words, short however large it is."""
    return f"{value.tolist()!r:.60}" if value.size <= 8 else f"of shape {value.shape}"


def _broadcast(own: Shape, into: Shape) -> Shape | None:
    try:
        return np.broadcast_shapes(own, into)
    except ValueError:
        return None


class _Inference:
    """Shapes spread from the nodes that know their own along the edges, each edge looked at a few times."""

    def __init__(self, graph: NirGraph, arriving: Shape | None):
        self.graph = graph
        self.into: dict[str, Shape | None] = dict.fromkeys(graph.nodes)
        self.out: dict[str, Shape | None] = dict.fromkeys(graph.nodes)
        self.inner: dict[str, Shapes] = {}
        self.findings: dict[str, list[Finding]] = {name: [] for name in graph.nodes}
        self.targets: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, target in graph.edges:
            if source in graph.nodes and target in graph.nodes:
                self.targets[source].append(target)
        inputs = [name for name, node in graph.nodes.items() if node.type == "Input"]
        self._begin({inputs[0]: arriving} if len(inputs) == 1 and self._own(inputs[0]) is None else {})

    def _begin(self, given: Mapping[str, Shape | None]) -> None:
        self._spread((name, self._own(name) if (own := given.get(name)) is None else own) for name in self.graph.nodes)
        for name, node in self.graph.nodes.items():
            if self.into[name] is None and node.type in ELEMENTWISE:  # nothing arrives: its parameters have its shape
                self._spread([(name, self._try(name, parameter_shape, node))])
        for name, node in self.graph.nodes.items():
            if isinstance(node, NirGraph) and name not in self.inner:
                self._nested(name, node, None)

    def _own(self, name: str) -> Shape | None:
        node = self.graph.nodes[name]
        if not isinstance(node, NirGraph):
            return self._try(name, own_shape, node)
        inputs = [one for one in node.nodes.values() if one.type == "Input"]
        return self._try(name, own_shape, inputs[0]) if len(inputs) == 1 else None

    def _spread(self, known: Iterable[tuple[str, Shape | None]]) -> None:
        waiting = deque(known)
        while waiting:
            name, shape = waiting.popleft()
            if self.into[name] is not None or shape is None:
                continue
            self.into[name] = shape
            node = self.graph.nodes[name]
            made = self._nested(name, node, shape) if isinstance(node, NirGraph) else self._try(
                name, shape_out, node, shape)
            self.out[name] = made
            waiting += ((target, made) for target in self.targets[name])

    def _nested(self, name: str, graph: NirGraph, arriving: Shape | None) -> Shape | None:
        self.inner[name] = inner = infer(graph, arriving)
        ends = {kind: [one for one, node in graph.nodes.items() if node.type == kind] for kind in ("Input", "Output")}
        for kind, found in ends.items():
            if len(found) != 1:
                words = f"is a graph with {len(found)} nodes of type {kind}: nothing says which of them an edge means"
                self.findings[name].append(Finding(name, words))
        return inner.out[ends["Output"][0]] if len(ends["Output"]) == 1 else None

    def _try(self, name: str, function: Any, *arguments: Any) -> Shape | None:
        try:
            shape: Shape | None = function(*arguments)
            if shape is not None and max(shape, default=0) > LARGEST:
                raise Unfit("has more values along an axis than can be counted")
        except Unfit as unfit:
            finding = Finding(name, str(unfit))
            if finding not in self.findings[name]:
                self.findings[name].append(finding)
            return None
        return shape

    def shapes(self) -> Shapes:
        for source, target in self.graph.edges:
            made, taken = self.out.get(source), self.into.get(target)
            if made is not None and taken is not None and made != taken:
                self.findings[target].append(Finding(target, f"takes in {taken}, but {source} puts out {made}"))
        into, out, findings = {}, {}, []
        for name in self.graph.nodes:
            into[name], out[name] = self.into[name], self.out[name]
            findings += self.findings[name]
            if inner := self.inner.get(name):
                into |= {f"{name}/{path}": shape for path, shape in inner.into.items()}
                out |= {f"{name}/{path}": shape for path, shape in inner.out.items()}
                findings += [Finding(f"{name}/{one.path}", one.words, one.repaired) for one in inner.findings]
        return Shapes(into, out, tuple(findings))
