"""The tape in numba's dialect, and a population's whole time loop as one generated function.

Rules that keep its numbers equal to the plain loop's: every constant in the arrays' own precision,
no fastmath, no fused multiply-add, the recorded order of operations. A lane is one neuron of one
sample; lanes are worked on in blocks, whose state stays in the first cache through all of time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import Any

from neuroport.dynamics.printer import Templates, input_name, lines, node_name
from neuroport.dynamics.tape import Graph, Node
from neuroport.dynamics.trace import Traced

BLOCK = 512  # lanes: 2 KiB of float32 an array, so that a dozen of them fit into 48 KiB

NUMBA: Templates = {
    "constant": "real({0!r})",
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}",
    "gt": "{0} > {1}", "ge": "{0} >= {1}", "lt": "{0} < {1}", "le": "{0} <= {1}",
    "and": "{0} and {1}", "or": "{0} or {1}", "not": "not {0}",
    "exp": "math.exp({0})", "expm1": "math.expm1({0})", "log": "math.log({0})", "sqrt": "math.sqrt({0})",
    "tanh": "math.tanh({0})", "abs": "abs({0})", "floor": "np.floor({0})", "detach": "{0}",
    "where": "{1} if {0} else {2}", "select": "{1} if {0} > zero else {2}",
    "spike": "one if ({0} >= zero if {a1} else {0} > zero) else zero",
}

HEADER = """\
import math
import numpy as np
from numba import njit
real = np.{dtype}
zero, one, inf, nan = real(0.0), real(1.0), math.inf, math.nan
none, full = np.uint32(0), np.uint32(0xFFFFFFFF)

"""
DECORATOR = '@njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, cache={cache})\n'


def supports(traced: Traced) -> bool:
    """Whether every operation of a neuron's step has a template."""
    graphs = (traced.before, traced.after, traced.reverse, traced.restore)
    return all(node.op in NUMBA or node.op == "input" for graph in graphs for node in graph.nodes)


def header(dtype: str) -> str:
    return HEADER.format(dtype=dtype)


def assignments(graph: Graph) -> list[str]:
    """The statements of a graph, one node each."""
    return lines(graph, NUMBA)[0]


def value(node: Node) -> str:
    """What a graph's output is called after ``assignments``."""
    return node_name(node, NUMBA)


def loads(names: Iterable[str], places: dict[str, str]) -> list[str]:
    """Statements that fetch a graph's inputs; ``places``: input -> expression."""
    return [f"{input_name(name)} = {places[name]}" for name in names]


def prefixed(lines: Iterable[str], name: str) -> list[str]:
    """Temporaries of each node or pass under names of their own: types differ from one to the next."""
    return [re.sub(r"\bt(\d+)\b", rf"{name}_t\1", line) for line in lines]


def block(text: Sequence[str] | str, depth: int) -> str:
    return indent(text if isinstance(text, str) else "\n".join(text), "    " * depth) + "\n"


# of decisions 32 steps are one word, that of step t is bit t % 32 of word t / 32; the first writes over what was there
FLAG = "flag, old = np.uint32(1 << (t & 31)), (full if t & 31 else none)"


def is_bit(name: str) -> bool:
    """Whether what is kept under a name are decisions, not numbers."""
    return name.startswith("b.")


def row_at(name: str) -> str:
    """Where the values of this step lie."""
    return "t >> 5" if is_bit(name) else "t"


def put(name: str, row: str, source: str) -> str:
    """The statement that keeps a value at lane j."""
    return f"{row}[j] = ({row}[j] & old) | (flag if {source} else none)" if is_bit(name) else f"{row}[j] = {source}"


def got(name: str, row: str) -> str:
    """What was kept at lane j."""
    return f"({row}[j] & flag) != none" if is_bit(name) else f"{row}[j]"


def kept_names(traced: Traced) -> list[str]:
    """Of what a forward pass keeps for the reverse: fields of the cut and decisions."""
    return [*(f"cut.{name}" for name in traced.saved), *traced.bits]


def population_forward(
    traced: Traced, written: Sequence[str], dtype: str, cache: bool = False, strided: bool = False
) -> str:
    """``forward(steps, width, lo, hi, x, out, c_*, s_*, w_*)``.

    Lanes lo to hi of x and out (T, M); strided: x is (T, B, width), wherever its numbers lie. c_NAME: coefficients
    (width,), width neurons a sample. s_NAME: states (M,), overwritten by those after the run. w_*: what is written at
    each step, (T, M): any of "cut.NAME" and "s.NAME" (after the step), in the order of ``written``; or "b.NUMBER",
    uint32 (T / 32, M).
    """
    coefficients = needed(traced.coefficients, "c", traced.before, traced.after)
    arguments = [f"c_{name}" for name in coefficients] + [f"s_{name}" for name in traced.state]
    arguments += [target(name) for name in written]
    per_step = [*_fetched("x", "xt", strided), "ot = out[t, start:stop]"]
    per_step += [f"t_{target(name)} = {target(name)}[{row_at(name)}, start:stop]" for name in written]
    per_step += [FLAG] * any(map(is_bit, written))
    text = header(dtype) + DECORATOR.format(cache=cache)
    text += f"def forward({', '.join(['steps', 'width', 'lo', 'hi', 'x', 'out', *arguments])}):\n"
    text += block(_blocks(coefficients, ["xt"] if strided else []), 1)
    text += block([f"v_{name} = s_{name}[start:stop]" for name in traced.state], 2)
    text += block(["for t in range(steps):"], 2) + block(per_step, 3)
    text += block("for j in range(stop - start):", 3) + block(forward_lane(traced, written), 4)
    return text


def forward_lane(traced: Traced, written: Sequence[str]) -> list[str]:
    """The statements of one step at lane j: from coefficients k_*, states v_* and xt to v_*, ot and t_w_*."""
    places = {"x": "xt[j]", **{f"c.{name}": f"k_{name}[j]" for name in traced.coefficients},
              **{f"s.{name}": f"v_{name}[j]" for name in traced.state}}
    body = loads(traced.before.inputs, places)
    body += loads((name for name in traced.after.inputs if name.startswith("c.") and name not in traced.before.inputs),
                  places)
    body += assignments(traced.before)
    body += [f"{input_name(name)} = {value(node)}" for name, node in traced.before.outputs.items()]
    body += assignments(traced.after)
    body += [f"v_{name}[j] = {value(traced.after.outputs[f's.{name}'])}" for name in traced.state]
    body += [f"ot[j] = {value(traced.after.outputs['out'])}"]
    for name in written:
        source = input_name(name) if name.startswith("cut.") else value(traced.after.outputs[name])
        body.append(put(name, f"t_{target(name)}", source))
    return body


def population_reverse(traced: Traced, dtype: str, cache: bool = False, strided: bool = False) -> str:
    """``reverse(steps, width, lo, hi, gout, gx, [x], w_*, first_*, c_*, acc_*, g_*)``.

    gout, gx: cotangents of output and input (T, M); strided: gout and x are (T, B, width), wherever their numbers lie.
    w_*: ``kept_names``, as the forward pass has written it. first_NAME: the states before the first step (M,), those
    of ``reads_state``. acc_NAME: sums of the trained coefficients' cotangents (M,), zero at first. g_NAME: cotangents
    of the states after the run (M,), overwritten by those of the states before it.
    """
    coefficients = needed(traced.coefficients, "c", traced.reverse, traced.restore)
    arguments = ["gout", "gx", *(["x"] if traced.reads_input else [])]
    arguments += [*map(target, kept_names(traced)), *(f"first_{name}" for name in traced.reads_state)]
    arguments += [f"c_{name}" for name in coefficients] + [f"acc_{name}" for name in traced.trained]
    arguments += [f"g_{name}" for name in traced.state]
    text = header(dtype) + DECORATOR.format(cache=cache)
    text += f"def reverse({', '.join(['steps', 'width', 'lo', 'hi', *arguments])}):\n"
    text += block([f"r_{name} = np.empty({BLOCK}, real)" for name in traced.reads_state], 1)
    text += block(_blocks(coefficients, ["ot", *(["xt"] if traced.reads_input else [])] if strided else []), 1)
    text += block([f"l_{name} = g_{name}[start:stop]" for name in traced.state], 2)
    text += block([f"a_{name} = acc_{name}[start:stop]" for name in traced.trained], 2)
    text += block("for t in range(steps - 1, -1, -1):", 2)
    if traced.reads_state:
        restored = loads(traced.restore.inputs, {
            **{f"c.{name}": f"k_{name}[j]" for name in coefficients},
            **{f"cut.{name}": f"p_{name}[j]" for name in traced.saved}})
        restored += assignments(traced.restore)
        restored += [f"r_{name}[j] = {value(traced.restore.outputs[name])}" for name in traced.reads_state]
        text += block("if t > 0:", 3)
        text += block([f"p_{name} = w_cut_{name}[t - 1, start:stop]" for name in traced.saved], 4)
        text += block("for j in range(stop - start):", 4) + block(restored, 5)
        text += block("else:", 3) + block("for j in range(stop - start):", 4)
        text += block([f"r_{name}[j] = first_{name}[start + j]" for name in traced.reads_state], 5)
    per_step = [*_fetched("gout", "ot", strided), "it = gx[t, start:stop]"]
    per_step += _fetched("x", "xt", strided) if traced.reads_input else []
    per_step += [f"t_{target(name)} = {target(name)}[{row_at(name)}, start:stop]" for name in kept_names(traced)]
    per_step += [FLAG] * bool(traced.bits)
    return text + block(per_step, 3) + block("for j in range(stop - start):", 3) + block(reverse_lane(traced), 4)


def reverse_lane(traced: Traced) -> list[str]:
    """The statements of one step's reverse at lane j: from k_*, what was kept t_w_*, states r_*, xt and cotangents ot
    and l_* to l_*, it and sums a_*."""
    places = {"x": "xt[j]", "g.out": "ot[j]", **{f"c.{name}": f"k_{name}[j]" for name in traced.coefficients},
              **{name: got(name, f"t_{target(name)}") for name in kept_names(traced)},
              **{f"s.{name}": f"r_{name}[j]" for name in traced.reads_state},
              **{f"g.s.{name}": f"l_{name}[j]" for name in traced.state}}
    body = loads(traced.reverse.inputs, places) + assignments(traced.reverse)
    body += [f"l_{name}[j] = {value(traced.reverse.outputs[f's.{name}'])}" for name in traced.state]
    body += [f"a_{name}[j] += {value(traced.reverse.outputs[f'c.{name}'])}" for name in traced.trained]
    return [*body, f"it[j] = {value(traced.reverse.outputs['x'])}"]


def needed(names: Iterable[str], prefix: str, *graphs: Graph) -> list[str]:
    inputs = {name for graph in graphs for name in graph.inputs}
    return [name for name in names if f"{prefix}.{name}" in inputs]


def target(name: str) -> str:
    return "w_" + name.replace(".", "_")


def _fetched(array: str, name: str, strided: bool) -> list[str]:
    """The values of this step in the block's lanes."""
    if not strided:
        return [f"{name} = {array}[t, start:stop]"]
    return ["for j in range(stop - start):", f"    {name}[j] = {array}[t, sample[j], neuron[j]]"]


def _blocks(coefficients: Sequence[str], fetched: Sequence[str]) -> list[str]:
    """The loop over blocks of lanes; coefficients are gathered once a block. fetched: names of ``_fetched``."""
    found: list[Any] = [f"{name} = np.empty({BLOCK}, real)" for name in [*(f"k_{name}" for name in coefficients),
                                                                          *fetched]]
    found += [f"sample, neuron = np.empty({BLOCK}, np.intp), np.empty({BLOCK}, np.intp)"] if fetched else []
    found += [f"for start in range(lo, hi, {BLOCK}):", f"    stop = min(start + {BLOCK}, hi)"]
    gathered = [f"k_{name}[j] = c_{name}[(start + j) % width]" for name in coefficients]
    gathered += ["sample[j], neuron[j] = (start + j) // width, (start + j) % width"] if fetched else []
    if gathered:
        found += ["    for j in range(stop - start):", *(f"        {line}" for line in gathered)]
    return found
