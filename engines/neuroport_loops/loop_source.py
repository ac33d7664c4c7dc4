"""A Loop's time loop as generated numba source: neurons from the tape, layers as small products.

Samples are independent, so a group of them runs through all of time at once. Activity over time is
(T, M), M = B times a node's width; a group's part of a step is one contiguous slice. Names: ``n0``,
``n1``, ... are the segment's nodes in the order of a step, ``e0``, ... its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from neuroport.dynamics.printer import input_name
from neuroport.dynamics.trace import Traced
from neuroport.model.layers import Delay, Dropout, Linear, Scale
from neuroport.program.bound import BoundNeuron
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.wires import Wire
from neuroport_loops.population_source import (
    DECORATOR,
    FLAG,
    assignments,
    block,
    got,
    header,
    is_bit,
    kept_names,
    loads,
    prefixed,
    put,
    row_at,
    supports,
    value,
)

IMPORTS = """\
from neuroport_loops.events import find
from neuroport_loops.lanes import LANES, add_rows, multiply_tile

"""
TILE_ROWS, TILE_COLUMNS = 4, 16  # of ``multiply_tile``
GROUP = 8  # samples: each row of weights that is fetched serves all of them
Key = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A node of the loop. kind: "neuron", "product" (Linear), or "factor" (y = x times an array)."""

    name: str
    kind: str
    traced: Traced | None = None


KINDS: dict[type, str] = {Linear: "product", Scale: "factor", Dropout: "factor", Delay: "factor"}


def parts_of(
    program: Program, segment: Stepped, step: Callable[[BoundNeuron], Traced] = attrgetter("kept")
) -> list[Part] | None:
    """The nodes of a segment as kernels know them; None where one is not known, or runs on what was held.

    step: which recorded step of a neuron is meant, with what it keeps for its reverse.
    """
    if segment.held:
        return None
    found = []
    for name in segment.nodes:
        bound = program.neurons.get(name)
        kind = "neuron" if bound else KINDS.get(type(program.node(name)))
        if kind is None or (bound and not supports(step(bound))):
            return None
        found.append(Part(name, kind, step(bound) if bound else None))
    return found


@dataclass(frozen=True)
class Source:
    """Text of a function, and what its arguments after (steps, lo, hi) and the sizes are, in order."""

    text: str
    keys: tuple[Key, ...]


ROUNDING = '''@njit(nogil=True, error_model="numpy")
def to_bfloat16(bits):
    """float32 numbers, by their bits, to the nearest bfloat16, ties to even; NaN stays."""
    for j in range(len(bits)):
        b = bits[j]
        if b & 0x7fffffff <= 0x7f800000:
            bits[j] = (b + 0x7fff + (b >> 16 & 1)) & 0xffff0000


'''


class Arguments:
    """Collects the arrays that a body asks for, with an identifier for each."""

    def __init__(self, parts: Sequence[Part], edges: Sequence[Wire]):
        self.parts, self.edges = list(parts), list(edges)
        self.number = {part.name: f"n{index}" for index, part in enumerate(parts)}
        self.arguments: dict[Key, str] = {}

    def argument(self, *key: str) -> str:
        """The identifier of an array."""
        kind, name, *rest = key
        own = self.number.get(name) or f"e{[edge.key for edge in self.edges].index(name)}"
        return self.arguments.setdefault(key, "_".join([kind, own, *rest]))


class _Writer(Arguments):
    """Statements of one step, lane by lane."""

    def __init__(self, parts: Sequence[Part], edges: Sequence[Wire], given: Iterable[str], rounded: bool):
        super().__init__(parts, edges)
        self.given, self.rounded = set(given), rounded

    def operand(self, buffer: str) -> tuple[list[str], str]:
        """Statements that make a buffer's values operands of a product: those done once, those of each step."""
        if not self.rounded:
            return [], ""
        return [f"bits_{buffer} = {buffer}.view(np.uint32)"], f"to_bfloat16(bits_{buffer})\n"

    def slice(self, array: str, time: str, name: str) -> str:
        """A group's part of one step."""
        n = self.number[name]
        return f"{array}[{time}, first * m_{n} : last * m_{n}]"

    def entering(self, part: Part) -> tuple[list[str], str]:
        """Statements that fetch what reaches a node in this step, and their sum at lane j."""
        n = self.number[part.name]
        before, terms = [], []
        width = f"first * k_{n} : last * k_{n}"
        if part.name in self.given:
            before.append(f"at_{n} = {self.argument('given', part.name)}[t, {width}]")
            terms.append(f"at_{n}[j]")
        for index, edge in enumerate(self.edges):
            if edge.target != part.name:
                continue
            y = self.argument("y", edge.source)
            if edge.lags is not None:
                lag, at = f"{self.argument('lags', edge.key)}[j % k_{n}]", f"first * k_{n} + j"
                line = f"{self.argument('line', edge.key)}[t + {edge.delay} - {lag}, {at}]"
                terms.append(f"({y}[t - {lag}, {at}] if t >= {lag} else {line})")
                continue
            now = f"{y}[t - {edge.delay}, {width}]" if edge.delay else f"{y}[t, {width}]"
            if edge.delay:
                now += f" if t >= {edge.delay} else {self.argument('line', edge.key)}[t, {width}]"
            before.append(f"at_e{index} = {now}")
            terms.append(f"at_e{index}[j]")
        total = terms[0]
        for term in terms[1:]:
            total = f"({total} + {term})"
        return before, total

    def leaving_cotangent(self, part: Part, cotangents: Iterable[str]) -> str:
        """Statements that sum the cotangent of a node's output in this step into ``o_n``."""
        n = self.number[part.name]
        lanes = f"for j in range((last - first) * m_{n}):"
        text = ""
        if part.name in cotangents:
            text += f"at = {self.slice(self.argument('gy', part.name), 't', part.name)}\n"
        text += f"{lanes}\n    o_{n}[j] = {'at[j]' if part.name in cotangents else 'zero'}\n"
        for edge in sorted(self.edges, key=lambda edge: edge.soonest == 0):
            if edge.source != part.name:
                continue
            if edge.lags is not None:
                lag, gx = f"{self.argument('lags', edge.key)}[j % m_{n}]", self.argument("gx", edge.target)
                arrives = f"o_{n}[j] += {gx}[t + {lag}, first * m_{n} + j]"
                text += f"{lanes}\n    if t + {lag} < steps:\n        {arrives}\n"
                continue
            at = f"at = {self.slice(self.argument('gx', edge.target), f't + {edge.delay}', part.name)}"
            more = f"{at}\n{lanes}\n    o_{n}[j] += at[j]"
            text += f"if t + {edge.delay} < steps:\n{block(more, 1)}" if edge.delay else more + "\n"
        return text

    def function(self, name: str, dtype: str, top: Sequence[str], gather: str, body: str, cache: bool) -> Source:
        """The whole function, from what is allocated once, done once a group, and done at each step."""
        own = [self.number[part.name] for part in self.parts]
        text = header(dtype) + IMPORTS + ROUNDING * self.rounded + DECORATOR.format(cache=cache)
        sizes = [f"m_{n}" for n in own] + [f"k_{n}" for n in own]
        text += f"def {name}({', '.join(['steps', 'lo', 'hi', *sizes, *self.arguments.values()])}):\n"
        text += block(top, 1) if top else ""
        text += f"    for first in range(lo, hi, {GROUP}):\n        last = min(first + {GROUP}, hi)\n"
        return Source(text + block(gather, 2) + body, tuple(self.arguments))


def _coefficients(traced: Traced, *graphs: str) -> list[str]:
    read = {name for graph in graphs for name in getattr(traced, graph).inputs}
    return [name for name in traced.coefficients if f"c.{name}" in read]


def _gathering(writer: _Writer, part: Part, names: Sequence[str]) -> tuple[list[str], str, dict[str, str]]:
    """Coefficients of a group's lanes: allocation, gathering, and where the body finds them."""
    n = writer.number[part.name]
    top = [f"kc_{n}_{name} = np.empty({GROUP} * m_{n}, real)" for name in names]
    text = ""
    if names:
        text = f"for j in range((last - first) * m_{n}):\n"
        text += block([f"kc_{n}_{name}[j] = {writer.argument('c', part.name, name)}[j % m_{n}]" for name in names], 1)
    return top, text, {f"c.{name}": f"kc_{n}_{name}[j]" for name in names}


def forward_source(
    parts: Sequence[Part], edges: Sequence[Wire], given: Iterable[str], written: Sequence[tuple[str, str]], dtype: str,
    rounded: bool = False, cache: bool = True,
) -> Source:
    """``forward(steps, lo, hi, m_*, k_*, ...)`` of samples lo to hi.

    m, k: widths of what leaves and enters each node. given: nodes that something outside feeds. written: (node,
    "cut.NAME" | "s.NAME" | "b.NUMBER"), kept at each step. Arguments by key: y, given, w (T, M), of bits uint32 (T /
    32, M); line (delay, M); lags (K,); s (M,), overwritten by the state after the run; c (width,); rows (N / LANES, K,
    LANES), those of W^T with zeros at their end; bias (N,); factor (M,). rounded: what a product reads is rounded to
    bfloat16; its matrix comes so.
    """
    w = _Writer(parts, edges, given, rounded)
    top: list[str] = []
    gather, steps = "", "        for t in range(steps):\n"
    for part in parts:
        n = w.number[part.name]
        before, x = w.entering(part)
        steps += block([*before, f"y_t = {w.slice(w.argument('y', part.name), 't', part.name)}"], 3)
        lanes = f"for j in range((last - first) * k_{n}):"
        if part.kind == "factor":
            factor = w.argument("factor", part.name)
            steps += block(f"{lanes}\n    y_t[j] = {x} * {factor}[first * k_{n} + j]", 3)
        elif part.kind == "product":
            once, rounding = w.operand(f"x_{n}")
            top += [f"x_{n} = np.empty({GROUP} * k_{n}, real)", *once]
            top += [f"index_{n}, value_{n} = np.empty(k_{n}, np.int32), np.empty(k_{n}, real)",
                    f"sums_{n} = np.empty(len({w.argument('rows', part.name)}) * LANES, real)"]
            steps += block(f"{lanes}\n    x_{n}[j] = {x}\n" + rounding + _product(w, part), 3)
        else:
            allocated, text, places = _neuron_forward(w, part, x, [what for name, what in written if name == part.name])
            top += allocated
            gather += text
            steps += places
    return w.function("forward", dtype, top, gather or "pass", steps, cache)


def _product(w: _Writer, part: Part) -> str:
    """y_t = x W^T + b: a row of weights for each input that is not zero, as spikes mostly are."""
    n, rows = w.number[part.name], w.argument("rows", part.name)
    return f"""\
for g in range(last - first):
    count, ones = find(x_{n}, g * k_{n}, k_{n}, index_{n})
    sums_{n}[:] = zero
    if ones:
        for c in range(len({rows})):
            add_rows(sums_{n}, c * LANES, {rows}[c], index_{n}, None, 0, count)
    else:
        for i in range(count):
            value_{n}[i] = x_{n}[g * k_{n} + index_{n}[i]]
        for c in range(len({rows})):
            add_rows(sums_{n}, c * LANES, {rows}[c], index_{n}, value_{n}, 0, count)
    into = y_t[g * m_{n} : (g + 1) * m_{n}]
    for j in range(m_{n}):
        into[j] = sums_{n}[j] + {w.argument('bias', part.name)}[j]
"""


def _neuron_forward(w: _Writer, part: Part, x: str, written: Sequence[str]) -> tuple[list[str], str, str]:
    traced, n = part.traced, w.number[part.name]
    assert traced is not None
    top, gather, places = _gathering(w, part, _coefficients(traced, "before", "after"))
    group = f"first * m_{n} : last * m_{n}"
    gather += "".join(f"v_{n}_{name} = {w.argument('s', part.name, name)}[{group}]\n" for name in traced.state)
    places |= {"x": x, **{f"s.{name}": f"v_{n}_{name}[j]" for name in traced.state}}
    targets = {what: f"into_{n}_{what.replace('.', '_')}" for what in written}
    text = [f"{targets[what]} = {w.argument('w', part.name, what.replace('.', '_'))}[{row_at(what)}, {group}]"
            for what in written]
    text += [FLAG] * any(map(is_bit, written))
    later = [name for name in traced.after.inputs if name in places and name not in traced.before.inputs]
    body = loads([*traced.before.inputs, *later], places) + assignments(traced.before)
    body += [f"{input_name(name)} = {value(node)}" for name, node in traced.before.outputs.items()]
    body += assignments(traced.after)
    outputs = traced.after.outputs
    body += [f"v_{n}_{name}[j] = {value(outputs[f's.{name}'])}" for name in traced.state]
    body.append(f"y_t[j] = {value(outputs['out'])}")
    for what, target in targets.items():
        source = input_name(what) if what.startswith("cut.") else value(outputs[what])
        body.append(put(what, target, source))
    lanes = f"for j in range((last - first) * m_{n}):"
    return top, gather, block(text, 3) * bool(text) + block(lanes, 3) + block(prefixed(body, n), 4)


def reverse_source(
    parts: Sequence[Part], edges: Sequence[Wire], cotangents: Iterable[str], dtype: str, rounded: bool = False,
    cache: bool = True,
) -> Source:
    """``reverse(steps, lo, hi, m_*, k_*, ...)`` of samples lo to hi.

    cotangents: nodes whose output something outside reads. Arguments by key: gy, gx (T, M), cotangents of outputs and
    of what entered; dy (T, M), of a stateless node's output in full; w, what was kept; x (T, M); first (M,); acc
    (M,), sums of the coefficients' cotangents, zero at first; gs (M,), cotangents of the states after the run,
    overwritten by those of the states before it; c (width,); chunks (K / TILE_COLUMNS, N, TILE_COLUMNS), the columns
    of W; factor (M,).
    """
    w = _Writer(parts, edges, (), rounded)
    cotangents = set(cotangents)
    top: list[str] = []
    gather, steps = "", "        for t in range(steps - 1, -1, -1):\n"
    for part in reversed(parts):
        n = w.number[part.name]
        top.append(f"o_{n} = np.empty({GROUP} * m_{n}, real)")
        steps += block(w.leaving_cotangent(part, cotangents), 3)
        gx = f"gx_t = {w.argument('gx', part.name)}[t, first * k_{n} : last * k_{n}]\n"
        lanes = f"for j in range((last - first) * m_{n}):"
        keep = f"dy_t = {w.slice(w.argument('dy', part.name), 't', part.name)}\n{lanes}\n    dy_t[j] = o_{n}[j]\n" \
            if part.kind != "neuron" else ""
        if part.kind == "factor":
            factor = w.argument("factor", part.name)
            steps += block(f"{keep}{gx}{lanes}\n    gx_t[j] = o_{n}[j] * {factor}[first * m_{n} + j]", 3)
        elif part.kind == "product":
            once, rounding = w.operand(f"o_{n}")
            top += [*once, f"tile = np.empty({TILE_ROWS * TILE_COLUMNS}, real)"]
            steps += block(keep + gx + rounding + _transposed(w, part), 3)
        else:
            allocated, text, body = _neuron_reverse(w, part)
            top += allocated
            gather += text
            steps += block(gx, 3) + body
    return w.function("reverse", dtype, top, gather or "pass", steps, cache)


def _transposed(w: _Writer, part: Part) -> str:
    """gx_t = o W, a few columns for a few samples at a time; what a group lacks to a whole tile is not read again."""
    n = w.number[part.name]
    return f"""\
for c in range(len({w.argument('chunks', part.name)})):
    wide = min({TILE_COLUMNS}, k_{n} - c * {TILE_COLUMNS})
    for g in range(0, last - first, {TILE_ROWS}):
        multiply_tile(o_{n}, g * m_{n}, m_{n}, {w.argument('chunks', part.name)}[c], tile)
        for s in range(min({TILE_ROWS}, last - first - g)):
            into = gx_t[(g + s) * k_{n} + c * {TILE_COLUMNS} :]
            for j in range(wide):
                into[j] = tile[s * {TILE_COLUMNS} + j]
"""


def _neuron_reverse(w: _Writer, part: Part) -> tuple[list[str], str, str]:
    traced, n = part.traced, w.number[part.name]
    assert traced is not None
    top, gather, places = _gathering(w, part, _coefficients(traced, "reverse", "restore"))
    top += [f"r_{n}_{name} = np.empty({GROUP} * m_{n}, real)" for name in traced.reads_state]
    group, lanes = f"first * m_{n} : last * m_{n}", f"for j in range((last - first) * m_{n}):"
    gather += "".join(f"g_{n}_{name} = {w.argument('gs', part.name, name)}[{group}]\n" for name in traced.state)
    gather += "".join(f"a_{n}_{name} = {w.argument('acc', part.name, name)}[{group}]\n" for name in traced.trained)
    text = ""
    if traced.reads_state:
        body = loads(traced.restore.inputs, {**places, **{f"cut.{name}": f"p_{n}_{name}[j]" for name in traced.saved}})
        body += assignments(traced.restore)
        body += [f"r_{n}_{name}[j] = {value(traced.restore.outputs[name])}" for name in traced.reads_state]
        text += block("if t > 0:", 3)
        text += block([f"p_{n}_{name} = {w.argument('w', part.name, f'cut_{name}')}[t - 1, {group}]"
                       for name in traced.saved], 4)
        text += block(lanes, 4) + block(prefixed(body, n), 5) + block("else:", 3) + block(lanes, 4)
        text += block([f"r_{n}_{name}[j] = {w.argument('first', part.name, name)}[first * m_{n} + j]"
                       for name in traced.reads_state], 5)
    rows = {name: f"q_{n}_{name.replace('.', '_')}" for name in kept_names(traced)}
    fetch = [f"{row} = {w.argument('w', part.name, name.replace('.', '_'))}[{row_at(name)}, {group}]"
             for name, row in rows.items()]
    fetch += [FLAG] * bool(traced.bits)
    fetch += [f"x_t = {w.argument('x', part.name)}[t, {group}]"] if traced.reads_input else []
    places |= {"x": "x_t[j]", "g.out": f"o_{n}[j]",
               **{name: got(name, row) for name, row in rows.items()},
               **{f"s.{name}": f"r_{n}_{name}[j]" for name in traced.reads_state},
               **{f"g.s.{name}": f"g_{n}_{name}[j]" for name in traced.state}}
    outputs = traced.reverse.outputs
    body = loads(traced.reverse.inputs, places) + assignments(traced.reverse)
    body += [f"g_{n}_{name}[j] = {value(outputs[f's.{name}'])}" for name in traced.state]
    body += [f"a_{n}_{name}[j] += {value(outputs[f'c.{name}'])}" for name in traced.trained]
    body.append(f"gx_t[j] = {value(outputs['x'])}")
    return top, gather, text + (block(fetch, 3) if fetch else "") + block(lanes, 3) + block(prefixed(body, n), 4)
