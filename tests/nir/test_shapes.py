"""Shapes through a NIR graph: as PyTorch makes them, through cycles and nested graphs; what does not fit is said."""

from __future__ import annotations

from itertools import permutations

import nir_graphs as graphs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from nir_graphs import array

from neuroport.nir.contents import NirGraph, NirNode
from neuroport.nir.shapes import ELEMENTWISE, Unfit, infer, own_shape, shape_out

drawn = settings(max_examples=200, deadline=None)
small = st.integers(1, 4)


@drawn
@given(st.data())
def test_conv2d_is_as_in_torch(data):
    groups, per_group, out_per_group = (data.draw(st.integers(1, 3)) for _ in range(3))
    kernel, stride, dilation = ((data.draw(small), data.draw(small)) for _ in range(3))
    padding = data.draw(st.one_of(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.sampled_from(["same", "valid"])))
    space = tuple(data.draw(st.integers(1, 12)) for _ in range(2))
    weight = (groups * out_per_group, per_group, *kernel)
    node = graphs.conv2d(weight, None, stride=array(*stride), dilation=array(*dilation), groups=np.array(groups),
                         padding=padding if isinstance(padding, str) else array(*padding))
    _agrees(node, (groups * per_group, *space), weight, stride, padding, dilation, groups, F.conv2d)


@drawn
@given(st.data())
def test_conv1d_is_as_in_torch(data):
    groups, per_group, kernel, stride, dilation = (data.draw(small) for _ in range(5))
    padding = data.draw(st.one_of(st.integers(0, 3), st.sampled_from(["same", "valid"])))
    weight = (groups, per_group, kernel)
    node = graphs.conv1d(weight, 1, stride=np.array(stride), dilation=np.array(dilation), groups=np.array(groups),
                         padding=padding if isinstance(padding, str) else np.array(padding))
    into = (groups * per_group, data.draw(st.integers(1, 12)))
    spread = padding if isinstance(padding, str) else (padding,)
    _agrees(node, into, weight, (stride,), spread, (dilation,), groups, F.conv1d)


def _agrees(node, into, weight, stride, padding, dilation, groups, function):
    """A convolution as in torch, which has "same" without a stride only: padded here as it pads."""
    x = torch.zeros(1, *into)
    if padding == "same":
        for axis in range(len(into) - 1):
            total = dilation[axis] * (weight[2 + axis] - 1)
            sides = [0, 0] * (len(into) - 2 - axis) + [total // 2, total - total // 2] + [0, 0] * axis
            x = F.pad(x, sides)
        padding = 0
    _as_torch(node, into, lambda: function(x, torch.zeros(weight), None, stride, padding, dilation, groups))


def _as_torch(node, into, theirs):
    """The same shape as what torch gives, or refused by both."""
    try:
        shape = tuple(theirs().shape[1:])
    except RuntimeError:
        with pytest.raises(Unfit, match="kernel that is larger"):
            shape_out(node, into)
    else:
        assert shape_out(node, into) == shape


@drawn
@given(st.data())
def test_pools_are_as_in_torch(data):
    kernel, stride = ((data.draw(small), data.draw(small)) for _ in range(2))
    padding = tuple(data.draw(st.integers(0, size // 2)) for size in kernel)
    into = tuple(data.draw(st.integers(1, 10)) for _ in range(3))
    fields = {"kernel_size": array(*kernel), "stride": array(*stride), "padding": array(*padding)}
    node = NirNode(data.draw(st.sampled_from(["SumPool2d", "AvgPool2d"])), fields)
    _as_torch(node, into, lambda: F.avg_pool2d(torch.zeros(1, *into), kernel, stride, padding))


@drawn
@given(st.data())
def test_flatten_is_as_in_torch(data):
    into = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    first, last = (data.draw(st.integers(-5, 4)) for _ in range(2))
    try:
        theirs = tuple(torch.flatten(torch.zeros(into), first, last).shape)
    except (RuntimeError, IndexError):
        with pytest.raises(Unfit, match="flattens dimensions"):
            shape_out(graphs.flatten(into, first, last), into)
    else:
        assert shape_out(graphs.flatten(into, first, last), into) == theirs


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
@pytest.mark.parametrize("node_type", sorted(ELEMENTWISE))
def test_neurons_keep_the_shape_of_what_they_get(node_type, shape):
    node = graphs.ones(node_type, shape)
    assert own_shape(node) == shape
    assert shape_out(node, shape) == shape
    with pytest.raises(Unfit, match="but gets"):
        shape_out(node, (7, 7))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_parameter_for_all_takes_the_shape_that_arrives(shape):
    nodes = {"input": graphs.end("Input", (2, 3)), "lif": graphs.ones("LIF", shape), "output": NirNode("Output")}
    found = infer(graphs.chain(nodes))
    assert found.out == {"input": (2, 3), "lif": (2, 3), "output": (2, 3)}
    assert found.findings == ()


def test_parameters_alone_say_a_shape_where_nothing_arrives():
    assert infer(NirGraph(nodes={"lif": graphs.ones("LIF", (1,))})).out == {"lif": (1,)}


def test_linear_maps_take_axes_before_the_last():
    node = NirNode("Affine", {"weight": np.ones((2, 5, 3)), "bias": np.ones(5)})
    assert own_shape(node) == (2, 3)
    assert shape_out(node, (2, 3)) == (2, 5)


def picture(**changes):
    """A convolutional network whose nodes behind the first convolution say no shape."""
    nodes = {
        "input": graphs.end("Input", (2, 9, 12)), "conv": graphs.conv2d((4, 1, 3, 5), None, groups=np.array(2)),
        "pool": graphs.pool("AvgPool2d"), "flat": NirNode("Flatten", {"start_dim": array(0), "end_dim": array(-1)}),
        "fc": graphs.linear(5, 48), "sub": graphs.recurrent(5), "output": NirNode("Output"),
    }
    return graphs.chain({**nodes, **changes})


def test_shapes_flow_into_every_node_of_a_graph_and_of_those_nested_in_it():
    found = infer(picture())
    assert found.findings == ()
    assert found.into == {
        "input": (2, 9, 12), "conv": (2, 9, 12), "pool": (4, 7, 8), "flat": (4, 3, 4), "fc": (48,), "sub": (5,),
        "sub/input": (5,), "sub/lif": (5,), "sub/w_rec": (5,), "sub/output": (5,), "output": (5,)}
    assert found.out["conv"] == (4, 7, 8)


def test_the_order_of_nodes_and_edges_changes_nothing():
    graph = picture()
    expected = infer(graph)
    some = list(permutations(graph.nodes))[::211]
    for order in some:
        moved = NirGraph(nodes={name: graph.nodes[name] for name in order}, edges=tuple(reversed(graph.edges)))
        found = infer(moved)
        assert (found.into, found.out, found.findings) == (expected.into, expected.out, ())


def test_a_nested_graph_whose_input_says_no_shape_takes_what_arrives():
    inner = graphs.chain({"in": NirNode("Input"), "lif": graphs.ones("LIF", ()), "out": NirNode("Output")})
    found = infer(graphs.chain({"input": graphs.end("Input", (3, 2)), "sub": inner, "output": NirNode("Output")}))
    assert set(found.out.values()) == {(3, 2)}


def test_a_recurrent_loop_gives_its_neuron_a_shape():
    nodes = {"lif": graphs.ones("LIF", ()), "w": graphs.linear(4, 4)}
    assert infer(NirGraph(nodes=nodes, edges=(("lif", "w"), ("w", "lif")))).out == {"lif": (4,), "w": (4,)}


def test_edges_that_do_not_agree_are_named():
    nodes = {"a": graphs.end("Input", (3,)), "b": graphs.end("Input", (4,)), "lif": graphs.ones("LIF", (3,))}
    found = infer(NirGraph(nodes=nodes, edges=(("a", "lif"), ("b", "lif"))))
    assert [str(one) for one in found.findings] == ["lif: takes in (3,), but b puts out (4,)"]


@pytest.mark.parametrize(("node", "words"), [
    (graphs.conv2d((3, 1, 2, 2), (4, 4), groups=np.array(2)), "has 2 groups, which do not divide the 3 channels"),
    (graphs.conv2d((3, 1, 2, 2), (4, 4), stride=array(0, 1)), "has stride [0, 1]: 2 whole numbers of at least 1"),
    (graphs.conv2d((3, 1, 2, 2), (4, 4), padding=array(-1, 1)), "has padding [-1, 1]: 2 whole numbers of at least 0"),
    (graphs.conv2d((3, 1, 2, 2), (4, 4), padding="full"), "has padding 'full'"),
    (graphs.conv2d((3, 1, 9, 9), (4, 4)), "has a kernel that is larger than the (1, 4, 4) it gets, padded"),
    (NirNode("Conv2d", {"input_shape": array(3, 3), "weight": np.ones((2, 2))}),
     "has a weight of shape (2, 2), but one of 4 axes belongs there"),
    (NirNode("Affine", {"weight": np.ones(3)}), "has a weight of shape (3,), but one of at least 2 axes"),
    (NirNode("Linear"), "has no weight"),
    (NirNode("Linear", {"weight": "w"}), "has a weight that is no array"),
    (NirNode("LIF", {"tau": np.ones(3), "r": np.ones(4)}), "do not fit each other: tau (3,), r (4,)"),
    (NirNode("Input", {"shape": array(-3)}), "has shape [-3]: a shape belongs there"),
    (NirNode("Input", {"shape": array(2.5)}), "has shape [2.5]: a shape belongs there"),
    (graphs.flatten((2, 3), 1, 0), "flattens dimensions 1 to 0 of (2, 3), which has 2"),
])
def test_a_node_that_cannot_be_is_named_with_what_is_wrong(node, words):
    found = infer(NirGraph(nodes={"sub": NirGraph(nodes={"bad": node})}))
    assert any(one.path == "sub/bad" and words in one.words for one in found.findings)


def test_a_type_that_nir_does_not_have_stops_the_shapes_behind_it():
    nodes = {"input": graphs.end("Input", (3,)), "odd": NirNode("ALIF"), "output": NirNode("Output")}
    found = infer(graphs.chain(nodes))
    assert (found.into, found.out["odd"], found.findings) == (
        {"input": (3,), "odd": (3,), "output": None}, None, ())


def test_a_long_chain_written_backwards_is_inferred_in_a_moment():
    nodes = {str(index): NirNode("Scale", {"scale": np.array(1.0)}) for index in range(20_000)}
    graph = graphs.chain({"input": graphs.end("Input", (3,)), **nodes})
    backwards = NirGraph(nodes=dict(reversed(graph.nodes.items())), edges=tuple(reversed(graph.edges)))
    assert infer(backwards).out["19999"] == (3,)
