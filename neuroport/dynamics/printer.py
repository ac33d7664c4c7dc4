"""The tape as lines of code: one assignment a node, in recorded order.

A language is a table from operation to template. Names of inputs, temporaries and attributes carry
different prefixes, so that a state called ``t1`` never meets a temporary.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Mapping
from typing import Any

from neuroport.dynamics.ops import Table
from neuroport.dynamics.tape import Graph, Node

Templates = Mapping[str, str]

# `{0} {1} {2}`: arguments; `{a0} {a1}`: attributes. "constant", where given, wraps a literal
PYTHON: Templates = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}",
    "gt": "{0} > {1}", "ge": "{0} >= {1}", "lt": "{0} < {1}", "le": "{0} <= {1}",
    "and": "{0} & {1}", "or": "{0} | {1}", "not": "~{0}",
    **{op: f"f_{op}({{0}})" for op in
       ("exp", "expm1", "log", "sqrt", "tanh", "abs", "floor", "detach")},
    "where": "f_where({0}, {1}, {2})", "select": "f_select({0}, {1}, {2})",
    "spike": "f_spike({0}, {a0}, {a1})",
    "sum": "f_sum({0}, {a0})", "max": "f_max({0}, {a0})", "take": "f_take({0}, {a0}, {a1})",
    "one_hot": "f_one_hot({0}, {1})", "recurrence": "f_recurrence({0}, {1}, {a0})", "shift": "f_shift({0}, {a0})",
    "expand": "f_expand({0}, {a0}, {1})", "place": "f_place({0}, {a0}, {a1}, {1})",
}


def input_name(name: str) -> str:
    """``s.v`` as an identifier: ``i_s_v``; what no identifier may hold (nodes are named freely) as its code."""
    return "i_" + re.sub(r"\W", lambda found: f"_{ord(found[0]):x}_", name.replace(".", "_"), flags=re.ASCII)


def node_name(node: Node, templates: Templates = PYTHON) -> str:
    """How a node is referred to: an input, a literal or a temporary."""
    if node.op == "input":
        return input_name(node.attrs[0])
    if node.op == "constant":
        if "constant" in templates:
            return templates["constant"].format(node.attrs[0])
        return repr(node.attrs[0]) if node.attrs[0] >= 0 else f"({node.attrs[0]!r})"
    return f"t{node.index}"


def lines(graph: Graph, templates: Templates) -> tuple[list[str], dict[str, Any]]:
    """The assignments of a graph in one language, and the attributes they refer to by name."""
    written: list[str] = []
    attributes: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op in ("input", "constant"):
            continue
        attrs = {}
        for position, attr in enumerate(node.attrs):
            if isinstance(attr, (bool, int, float)):
                attrs[f"a{position}"] = repr(attr)
            else:
                attrs[f"a{position}"] = f"a_{node.index}_{position}"
                attributes[attrs[f"a{position}"]] = attr
        right = templates[node.op].format(*(node_name(arg, templates) for arg in node.args), **attrs)
        written.append(f"{node_name(node)} = {right}")
    return written, attributes


def python_source(graph: Graph, name: str) -> tuple[str, dict[str, Any]]:
    """A Python function ``name(inputs: dict) -> outputs: dict`` of a graph, as text."""
    body, attributes = lines(graph, PYTHON)
    unpack = [f"{input_name(given)} = inputs[{given!r}]" for given in graph.inputs]
    result = ", ".join(f"{key!r}: {node_name(node)}" for key, node in graph.outputs.items())
    text = "\n    ".join([f"def {name}(inputs):", *unpack, *body, f"return {{{result}}}"])
    return text + "\n", attributes


def python_function(graph: Graph, table: Table, name: str = "recorded") -> Callable[..., dict[str, Any]]:
    """A graph as a callable on the arrays of one kind, with that kind's table of operations."""
    text, attributes = python_source(graph, name)
    scope: dict[str, Any] = {f"f_{op}": function for op, function in table.items()}
    scope.update(attributes)
    file = f"<neuroport {name} {abs(hash(text)):x}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    exec(compile(text, file, "exec"), scope)
    return scope[name]  # type: ignore[no-any-return]
