"""The tape in Triton's dialect, and a population's whole time loop as one generated kernel for CUDA.

The rules are those of ``population_source.py``: every constant in the arrays' own precision, the recorded order of
operations, division and roots rounded to nearest; kernels are compiled without fused multiply-add. A
lane is one neuron of one sample; a program works on a block of lanes, whose state stays in registers
through all of time. Offsets are 64 bits wide, and the number of steps is an ordinary argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neuroport_loops.population_source import block, is_bit, kept_names, loads, needed, target

from neuroport.dynamics.printer import Templates, input_name, lines, node_name
from neuroport.dynamics.tape import Graph, Node
from neuroport.dynamics.trace import Traced

# accurate functions are libdevice's: Triton's own exp and sqrt are approximations
TRITON: Templates = {
    "constant": "number({0!r})",
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "tl.div_rn({0}, {1})", "neg": "-{0}",
    "gt": "{0} > {1}", "ge": "{0} >= {1}", "lt": "{0} < {1}", "le": "{0} <= {1}",
    "and": "{0} & {1}", "or": "{0} | {1}", "not": "{0} == 0",
    **{op: f"libdevice.{op}({{0}})" for op in ("exp", "expm1", "log", "tanh")},
    "sqrt": "tl.sqrt_rn({0})", "abs": "tl.abs({0})", "floor": "tl.floor({0})", "detach": "{0}",
    "where": "tl.where({0}, {1}, {2})", "select": "tl.where({0} > 0.0, {1}, {2})",
    "spike": "spike({0}, {a1})",
}
# in float64 the plain operations are rounded to nearest
DIALECTS: dict[str, Templates] = {
    "float32": TRITON, "float64": {**TRITON, "div": "{0} / {1}", "sqrt": "tl.sqrt({0})"},
}

HEADER = """\
import triton
import triton.language as tl
from triton.language.extra import libdevice

real = tl.constexpr(tl.{dtype})
inf, nan = tl.constexpr(float("inf")), tl.constexpr(float("nan"))


@triton.jit
def number(value: tl.constexpr):
    return tl.full((), value, real)


@triton.jit
def spike(u, inclusive: tl.constexpr):
    return (u >= 0.0 if inclusive else u > 0.0).to(real)


"""
# 1 as a number of steps would be compiled into the kernel
DECORATOR = '@triton.jit(do_not_specialize=["steps"])\n'
START = """\
lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
live = lane < lanes
neuron = lane % width
"""


def header(dtype: str) -> str:
    return HEADER.format(dtype=dtype)


def assignments(graph: Graph, dtype: str) -> list[str]:
    """The statements of a graph, one node each."""
    return lines(graph, DIALECTS[dtype])[0]


def value(node: Node) -> str:
    """What a graph's output is called after ``assignments``."""
    return node_name(node, TRITON)


def population_forward(traced: Traced, written: Sequence[str], dtype: str) -> str:
    """``forward(steps, width, lanes, x, x_t, x_b, x_n, out, c_*, s_*, e_*, w_*, x_dense, BLOCK, AHEAD)``.

    x: (T, B, width) with its three strides; x_dense says that the last two are those of one block. out: (T, lanes),
    lanes = B * width. c_NAME: coefficients (width,). s_NAME, e_NAME: states before and after the run (lanes,).
    w_*: what is written at each step, (T, lanes): any of "cut.NAME" and "s.NAME" (after the step), in the order of
    ``written``; or "b.NUMBER", int32 (T / 32, lanes). BLOCK: lanes of a program. AHEAD: steps whose inputs are
    under way at once.
    """
    coefficients = needed(traced.coefficients, "c", traced.before, traced.after)
    arguments = ["steps", "width", "lanes", *strided("x"), "out", *(f"c_{name}" for name in coefficients)]
    arguments += [f"s_{name}" for name in traced.state] + [f"e_{name}" for name in traced.state]
    arguments += [target(name) for name in written]

    places = {"x": fetch("x"), **{f"s.{name}": f"v_{name}" for name in traced.state}}
    body = ["step = tl.cast(t, tl.int64)", "row = step * lanes"]
    body += loads(uncommon(traced.before), places)
    body += assignments(traced.before, dtype)
    body += [f"{input_name(name)} = {value(node)}" for name, node in traced.before.outputs.items()]
    body += assignments(traced.after, dtype)
    body += [f"v_{name} = {held(traced.after.outputs[f's.{name}'])}" for name in traced.state]
    body.append(f"tl.store(out + row + lane, {value(traced.after.outputs['out'])}, live)")
    body += [FLAG] * any(map(is_bit, written))
    for name in written:
        if is_bit(name):
            body += stored_bit(target(name), value(traced.after.outputs[name]), "lanes", "lane", "live")
            continue
        source = input_name(name) if name.startswith("cut.") else f"v_{name.removeprefix('s.')}"
        body.append(f"tl.store({target(name)} + row + lane, {source}, live)")

    text = header(dtype) + signature("forward", arguments, ["x_dense"])
    text += block(START + located("x"), 1)
    text += block(gathered(coefficients), 1)
    text += block([f"v_{name} = tl.load(s_{name} + lane, live, 0.0)" for name in traced.state], 1)
    text += block([f"word_{target(name)} = tl.zeros((BLOCK,), tl.int32)" for name in written if is_bit(name)], 1)
    text += block("for t in tl.range(0, steps, num_stages=AHEAD):", 1) + block(body, 2)
    return text + block([f"tl.store(e_{name} + lane, v_{name}, live)" for name in traced.state], 1)


def population_reverse(traced: Traced, dtype: str) -> str:
    """``reverse(steps, width, lanes, gout, gout_t, gout_b, gout_n, gx, [x, x_*], w_*, first_*, c_*, acc_*,
    g_*, b_*, ...)``.

    gout, gx: cotangents of output (T, B, width), with its strides, and input (T, lanes). w_*: ``kept_names``, as the
    forward pass has written it. first_NAME: the states before the first step (lanes,), those of ``reads_state``.
    acc_NAME: sums of the trained coefficients' cotangents (lanes,), one a lane: no two programs add to one number.
    g_NAME, b_NAME: cotangents of the states after the run, and of those before it (lanes,). At the end: gout_dense,
    x_dense, BLOCK, AHEAD, as in ``population_forward``.
    """
    coefficients = needed(traced.coefficients, "c", traced.reverse, traced.restore)
    given = ["gout", *(["x"] if traced.reads_input else [])]
    arguments = ["steps", "width", "lanes", *strided("gout"), "gx", *(strided("x") if traced.reads_input else [])]
    arguments += [*map(target, kept_names(traced)), *(f"first_{name}" for name in traced.reads_state)]
    arguments += [f"c_{name}" for name in coefficients] + [f"acc_{name}" for name in traced.trained]
    arguments += [f"g_{name}" for name in traced.state] + [f"b_{name}" for name in traced.state]

    start = gathered(coefficients)
    start += [f"l_{name} = tl.load(g_{name} + lane, live, 0.0)" for name in traced.state]
    start += [f"a_{name} = tl.zeros((BLOCK,), real)" for name in traced.trained]
    body = ["t = steps - 1 - back", "step = tl.cast(t, tl.int64)", "row = step * lanes"]
    if traced.reads_state:
        # the state before a step comes from what was kept of the step before, which the next round needs anyway
        start += [f"f_{name} = tl.load(first_{name} + lane, live, 0.0)" for name in traced.reads_state]
        start += ["last = (tl.cast(steps, tl.int64) - 1) * lanes"]
        start += [f"q_{name} = tl.load(w_cut_{name} + last + lane, live & (steps > 0), 0.0)" for name in traced.saved]
        body += [f"p_{name} = tl.load(w_cut_{name} + (row - lanes) + lane, live & (t > 0), 0.0)"
                 for name in traced.saved]
        body += loads(uncommon(traced.restore), {f"cut.{name}": f"p_{name}" for name in traced.saved})
        body += assignments(traced.restore, dtype)
        body += [f"r_{name} = tl.where(t > 0, {value(traced.restore.outputs[name])}, f_{name})"
                 for name in traced.reads_state]
        cut = {f"cut.{name}": f"q_{name}" for name in traced.saved}
    else:
        cut = {f"cut.{name}": f"tl.load(w_cut_{name} + row + lane, live, 0.0)" for name in traced.saved}
    cut |= {name: loaded_bit(target(name), "lanes", "lane", "live") for name in traced.bits}
    body += [FLAG] * bool(traced.bits)
    places = {**cut, "x": fetch("x"), "g.out": fetch("gout"),
              **{f"s.{name}": f"r_{name}" for name in traced.reads_state},
              **{f"g.s.{name}": f"l_{name}" for name in traced.state}}
    body += loads(uncommon(traced.reverse), places) + assignments(traced.reverse, dtype)
    body += [f"l_{name} = {held(traced.reverse.outputs[f's.{name}'])}" for name in traced.state]
    body += [f"a_{name} += {value(traced.reverse.outputs[f'c.{name}'])}" for name in traced.trained]
    body.append(f"tl.store(gx + row + lane, {value(traced.reverse.outputs['x'])}, live)")
    body += [f"q_{name} = p_{name}" for name in traced.saved if traced.reads_state]

    text = header(dtype) + signature("reverse", arguments, [f"{name}_dense" for name in given])
    text += block(START + "".join(map(located, given)), 1) + block(start, 1)
    text += block("for back in tl.range(0, steps, num_stages=AHEAD):", 1) + block(body, 2)
    end = [f"tl.store(acc_{name} + lane, a_{name}, live)" for name in traced.trained]
    return text + block(end + [f"tl.store(b_{name} + lane, l_{name}, live)" for name in traced.state], 1)


# decisions of 32 steps are one word, that of step t is bit t % 32 of word t / 32
FLAG = "flag = tl.full((), 1, tl.int32) << (t & 31)"


def stored_bit(array: str, decision: str, lanes: str, lane: str, live: str) -> list[str]:
    """Statements that add this step's decision to the word under way, and write it where it is full or time is over."""
    word = f"word_{array}"
    return [
        f"{word} = tl.where((t & 31) == 0, 0, {word}) | tl.where({decision}, flag, 0)",
        f"tl.store({array} + (step >> 5) * {lanes} + {lane}, {word}, {live} & (((t & 31) == 31) | (t == steps - 1)))",
    ]


def loaded_bit(array: str, lanes: str, lane: str, live: str) -> str:
    return f"(tl.load({array} + (step >> 5) * {lanes} + {lane}, {live}, 0) & flag) != 0"


def signature(name: str, arguments: Sequence[str], flags: Iterable[str]) -> str:
    constants = [f"{flag}: tl.constexpr" for flag in (*flags, "BLOCK", "AHEAD")]
    return f"{DECORATOR}def {name}(\n    {', '.join(arguments)},\n    {', '.join(constants)},\n):\n"


def gathered(coefficients: Iterable[str]) -> list[str]:
    """Each lane's coefficients, once for all steps."""
    return [f"{input_name(f'c.{name}')} = tl.load(c_{name} + neuron, live, 0.0)" for name in coefficients]


def uncommon(graph: Graph) -> list[str]:
    """Inputs of a graph that are not the same in all steps."""
    return [name for name in graph.inputs if not name.startswith("c.")]


def strided(name: str) -> list[str]:
    """Arguments of an array (T, B, width): its strides go with it, so that none is copied to become dense."""
    return [name, f"{name}_t", f"{name}_b", f"{name}_n"]


def located(name: str) -> str:
    """Where the lanes of a strided array lie within a step: at their own number where a step is one block."""
    return (f"if {name}_dense:\n    {name}_at = lane\n"
            f"else:\n    {name}_at = (lane // width) * {name}_b + neuron * {name}_n\n")


def fetch(name: str) -> str:
    return f"tl.load({name} + step * {name}_t + {name}_at, live, 0.0)"


def held(node: Node, shape: str = "(BLOCK,)") -> str:
    """A value that the next step takes over: of the state's shape, even where it is a number."""
    return f"tl.full({shape}, {node.attrs[0]!r}, real)" if node.op == "constant" else value(node)
