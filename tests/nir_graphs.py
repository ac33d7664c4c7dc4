"""NIR graphs for the tests: one of each node, and hypothesis' strategies for whole files."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from neuroport.nir.codec.legacy import NEEDED
from neuroport.nir.contents import NirFile, NirGraph, NirNode
from neuroport.nir.shapes import ELEMENTWISE, KNOWN, Shape, shape_out

FLOATS = ("<f4", "<f8", "<f2", ">f4")
# every text that HDF5 can hold as a name or a value: no NUL, no lone surrogate
letters = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
texts, short_texts = st.text(letters, max_size=12), st.text(letters, max_size=5)
ODD = ("a/b", "/", ".", "..", "", "a.b", "a b", "a%2Fb", "ü/ψ", "type", "nodes", "./a")
names = st.one_of(texts, st.sampled_from(ODD))
NUMBERS = st.one_of(
    st_np.boolean_dtypes(), st_np.integer_dtypes(endianness="?"), st_np.unsigned_integer_dtypes(endianness="?"),
    st_np.floating_dtypes(endianness="?", sizes=(16, 32, 64)), st_np.complex_number_dtypes(endianness="?"))


def array(*values: Any, dtype: Any = None) -> np.ndarray:
    return np.array(values, dtype)


def ones(node_type: str, shape: Shape, dtype: str = "<f4") -> NirNode:
    """A neuron, or another node whose parameters have the population's shape; no two parameters are alike."""
    fields = {name: np.full(shape, 1 + index / 8, dtype) for index, name in enumerate(ELEMENTWISE[node_type])}
    return NirNode(node_type, fields)


def conv2d(weight: Shape, input_shape: Shape | None, **changes: Any) -> NirNode:
    """weight: (out, in / groups, height, width)."""
    space = None if input_shape is None else array(*input_shape)
    fields = {"input_shape": space, "weight": np.ones(weight, "f4"), "stride": array(1, 1),
              "padding": array(0, 0), "dilation": array(1, 1), "groups": np.array(1), "bias": np.ones(weight[0], "f4")}
    return NirNode("Conv2d", {**fields, **changes})


def conv1d(weight: Shape, input_shape: int, **changes: Any) -> NirNode:
    """weight: (out, in / groups, length)."""
    fields = {"input_shape": np.array(input_shape), "weight": np.ones(weight, "f4"), "stride": np.array(1),
              "padding": np.array(0), "dilation": np.array(1), "groups": np.array(1), "bias": np.ones(weight[0], "f4")}
    return NirNode("Conv1d", {**fields, **changes})


def pool(node_type: str, kernel: int = 2, stride: int = 2, padding: int = 0) -> NirNode:
    sizes = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return NirNode(node_type, {name: array(size, size) for name, size in sizes.items()})


def flatten(input_type: Shape, start_dim: int = 0, end_dim: int = -1) -> NirNode:
    fields = {"input_type": array(*input_type), "start_dim": np.array(start_dim), "end_dim": np.array(end_dim)}
    return NirNode("Flatten", fields)


def linear(outputs: int, inputs: int) -> NirNode:
    return NirNode("Linear", {"weight": np.arange(outputs * inputs, dtype="f4").reshape(outputs, inputs)})


def end(node_type: str, shape: Shape) -> NirNode:
    """An Input or Output."""
    return NirNode(node_type, {"shape": array(*shape, dtype=np.int64)})


def chain(nodes: dict[str, NirNode]) -> NirGraph:
    """Nodes one after the other."""
    order = list(nodes)
    return NirGraph(nodes=nodes, edges=tuple(zip(order[:-1], order[1:], strict=True)))


def recurrent(neurons: int = 3) -> NirGraph:
    """A population with a recurrent weight, as a graph to nest."""
    nodes = {"input": end("Input", (neurons,)), "lif": ones("LIF", (neurons,)), "w_rec": linear(neurons, neurons),
             "output": end("Output", (neurons,))}
    edges = (("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output"))
    return NirGraph(nodes=nodes, edges=edges)


@st.composite
def arrays(draw: Any) -> np.ndarray:
    shape = draw(st_np.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    kind = draw(st.sampled_from(["number", "number", "bytes", "unicode", "text"]))
    if kind == "text":
        flat = [draw(texts) for _ in range(int(np.prod(shape or (1,))))]
        held = np.empty(shape or (1,), object)
        held.ravel()[:] = flat
        return held
    if kind == "number":
        return np.asarray(draw(st_np.arrays(draw(NUMBERS), shape)))
    if kind == "bytes":
        return np.asarray(draw(st_np.arrays(st_np.byte_string_dtypes(min_len=1, max_len=5), shape)))
    return np.asarray(draw(st_np.arrays(draw(st.sampled_from(["<U5", ">U5"])), shape, elements=short_texts)))


values = st.recursive(st.one_of(arrays(), texts, st.none()), lambda inner: st.dictionaries(names, inner, max_size=3),
                      max_leaves=4)
RESERVED = ("type", "nodes", "edges", "metadata", "version", "node")
fields = st.dictionaries(names.filter(lambda name: name not in RESERVED), values, max_size=4)
metadata = st.dictionaries(names, values, max_size=3)
types = st.one_of(texts, st.sampled_from(sorted(ELEMENTWISE))).filter(lambda name: name != NirGraph.type)


@st.composite
def any_graphs(draw: Any, depth: int = 2) -> NirGraph:
    """Graphs of anything that can be written, whether it means something or not."""
    node = st.builds(NirNode, types, fields, metadata)
    inner = st.one_of(node, any_graphs(depth=depth - 1)) if depth else node
    nodes = draw(st.dictionaries(names, inner, max_size=4))
    ends = st.one_of(st.sampled_from(list(nodes)), names) if nodes else names
    edges = draw(st.lists(st.tuples(ends, ends), max_size=6))
    return NirGraph("NIRGraph", draw(fields), draw(metadata), nodes, tuple(edges))


any_files = st.builds(lambda graph, version, extra: NirFile(graph, version, extra=extra), any_graphs(), texts, fields)


FIELDS = sorted({name for names in NEEDED.values() for name in names} | {
    "shape", "input_shape", "input_type", "start_dim", "end_dim", "v_reset", "w_in", "weights", "v_th", "theta"})
odd_numbers = st.one_of(st.integers(-2, 5), st.sampled_from([np.nan, np.inf, 2.5, 1 << 40]))
odd_sizes = st.lists(odd_numbers, max_size=4).map(np.array)
odd_values = st.one_of(arrays(), st.none(), texts, odd_sizes, odd_sizes.map(lambda sizes: sizes.reshape(-1, 1)),
                       st_np.arrays("f4", st_np.array_shapes(min_dims=0, max_dims=4, max_side=3)),
                       st.integers(-1, 3).map(np.array), st.just({"a": np.zeros(2)}))


@st.composite
def senseless_graphs(draw: Any, depth: int = 1) -> NirGraph:
    """Nodes of NIR's types with NIR's fields, which hold anything at all; edges between any of them."""
    node = st.builds(NirNode, st.sampled_from(sorted(KNOWN - {"NIRGraph"})),
                     st.dictionaries(st.sampled_from(FIELDS), odd_values, max_size=6))
    made = st.one_of(node, whole_nodes, senseless_graphs(depth=depth - 1)) if depth else st.one_of(node, whole_nodes)
    nodes = draw(st.dictionaries(st.sampled_from("abcdef"), made, min_size=1, max_size=5))
    ends = st.sampled_from(list(nodes))
    return NirGraph(nodes=nodes, edges=tuple(draw(st.lists(st.tuples(ends, ends), max_size=6))))


# nodes that lack nothing, so that some of those graphs are repaired and not refused
whole_nodes = st.one_of(
    st.builds(ones, st.sampled_from(sorted(ELEMENTWISE)), st.sampled_from([(), (1,), (3,), (2, 3, 3)])),
    st.builds(end, st.sampled_from(["Input", "Output"]), st.sampled_from([(3,), (2, 3, 3), (1, 3)])),
    st.sampled_from([conv2d((2, 2, 3, 3), (3, 3)), conv2d((2, 2, 2, 2), None), pool("AvgPool2d"), linear(3, 3),
                     flatten((2, 3, 3), 1), NirNode("Input"), NirNode("Output"), NirNode("Flatten"), recurrent(3)]))


class _Growing:
    """A graph that grows node by node, every shape known."""

    def __init__(self, draw: Any, strict: bool):
        self.draw, self.strict = draw, strict
        self.nodes: dict[str, NirNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.shape: Shape = ()

    def add(self, node: NirNode, after: str | None) -> str:
        name = self.draw(names.filter(lambda one: one not in self.nodes))
        if self.draw(st.integers(0, 4)) == 0 and not isinstance(node, NirGraph):
            node = NirNode(node.type, node.fields, {"note": "ü", "scale": np.array(2.0), "deep": {"x": np.arange(3)}})
        self.nodes[name] = node
        if after is not None:
            self.edges.append((after, name))
        return name

    def follow(self, name: str, node: NirNode) -> str:
        made = self.shape if isinstance(node, NirGraph) else shape_out(node, self.shape)
        assert made is not None
        self.shape = made
        return self.add(node, name)

    def next(self) -> NirNode:
        """A node that fits what comes."""
        draw, shape = self.draw, self.shape
        kinds = ["elementwise", "elementwise"]
        if len(shape) == 1:
            kinds += ["Affine", "Linear", "nested"]
        if len(shape) > 1:
            kinds += ["Flatten", "conv"]
        if len(shape) == 3 and min(shape[1:]) >= 2:
            kinds += ["SumPool2d", "AvgPool2d"]
        kind = draw(st.sampled_from(kinds))
        if kind == "elementwise":
            return ones(draw(st.sampled_from(sorted(ELEMENTWISE))), shape, draw(st.sampled_from(FLOATS)))
        if kind in ("Affine", "Linear"):
            outputs = draw(st.integers(1, 4))
            weight = np.linspace(-1, 1, outputs * shape[0]).reshape(outputs, shape[0]).astype("f4")
            return NirNode(kind, {"weight": weight, **({"bias": np.ones(outputs)} if kind == "Affine" else {})})
        if kind == "nested":
            return recurrent(shape[0])
        if kind == "Flatten":
            first = draw(st.integers(0, len(shape) - 1))
            return flatten(shape, first, draw(st.sampled_from([-1, len(shape) - 1])))
        return self.convolution() if kind == "conv" else pool(kind, draw(st.integers(1, 2)), draw(st.integers(1, 2)))

    def convolution(self) -> NirNode:
        draw, (channels, *space) = self.draw, self.shape
        axes, outputs = len(space), draw(st.integers(1, 2)) * channels
        groups = 1 if self.strict else draw(st.sampled_from([1, channels]))
        kernel = [draw(st.integers(1, min(3, min(space))))] * axes if self.strict else [
            draw(st.integers(1, min(3, size))) for size in space]
        padding: Any = draw(st.sampled_from(["numbers", "same", "valid"]))
        stride = draw(st.integers(1, 2)) if not (self.strict and padding == "same") else 1
        weight, rest = (outputs, channels // groups, *kernel), {"groups": np.array(groups)}
        if axes == 1:
            given = np.array(draw(st.integers(0, 1))) if padding == "numbers" else padding
            return conv1d(weight, space[0], stride=np.array(stride), padding=given, **rest)
        given = array(draw(st.integers(0, 1)), draw(st.integers(0, 1))) if padding == "numbers" else padding
        return conv2d(weight, tuple(space), stride=array(stride, stride), padding=given, **rest)


@st.composite
def whole_graphs(draw: Any, strict: bool = False) -> NirGraph:
    """Graphs of every type of node whose shapes fit, with shortcuts and cycles. strict: that nir can hold."""
    growing = _Growing(draw, strict)
    growing.shape = draw(st.sampled_from([(3,), (2, 5), (2, 6, 6), (2, 6, 6), (1, 4, 4)]))
    last = growing.add(end("Input", growing.shape), None)
    for _ in range(draw(st.integers(1, 5))):
        before = last
        last = growing.follow(last, growing.next())
        if growing.nodes[last].type in ("LIF", "CubaLIF", "IF") and len(growing.shape) == 1 and draw(st.booleans()):
            weight = growing.add(linear(growing.shape[0], growing.shape[0]), last)
            growing.edges.append((weight, last))
        if growing.nodes[last].type == "Scale":  # a shortcut around it: both add up
            shortcut = growing.add(ones("Scale", growing.shape), before)
            last_sum = growing.add(ones("I", growing.shape), last)
            growing.edges.append((shortcut, last_sum))
            last = last_sum
    growing.add(end("Output", growing.shape), last)
    order = draw(st.permutations(list(growing.nodes)))
    nodes = {name: growing.nodes[name] for name in order}
    return NirGraph(nodes=nodes, edges=tuple(draw(st.permutations(growing.edges))))
