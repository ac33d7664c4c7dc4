"""A Loop's time loop as generated Triton source: neurons from the tape, layers as small products.

Samples are independent, so a program takes a few of them, ROWS, through all of time, and never waits for another.
Activity over time is (T, M), M = B times a node's width. The neurons' states stay in registers; what one node sends
another goes through the arrays that the run has to fill anyway, with a barrier after each node, so that any wire with
any delay is a load. Weights are read again in each step, from a cache that holds them. Names: ``n0``, ``n1``, ... are
the segment's nodes in the order of a step, ``e0``, ... its edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from neuroport_loops.loop_source import Arguments, Part, Source
from neuroport_loops.population_source import block, is_bit, loads, needed

from neuroport.dynamics.printer import input_name
from neuroport.program.wires import Wire
from neuroport_torch.kernels.triton import (
    DECORATOR,
    FLAG,
    assignments,
    header,
    held,
    loaded_bit,
    stored_bit,
    uncommon,
    value,
)

WIRES = """\
@triton.jit
def arrived(y, line, step, delay, longest, size, at, live):
    late = step < delay
    held = tl.load(line + (step + longest - delay) * size + at, live & late, 0.0)
    return tl.where(late, held, tl.load(y + (step - delay) * size + at, live & (step >= delay), 0.0))


@triton.jit
def returned(gx, step, steps, delay, size, at, live):
    return tl.load(gx + (step + delay) * size + at, live & (step + delay < steps), 0.0)


"""
ROUNDING = '''\
@triton.jit
def to_bfloat16(x):
    """The nearest bfloat16 to float32 numbers, ties to even, held in float32; NaN stays."""
    bits = x.to(tl.uint32, bitcast=True)
    return tl.where(x == x, ((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000).to(tl.float32, bitcast=True), x)


@triton.jit
def widened(bits):
    """bfloat16 numbers, by their bits, in float32."""
    return (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


'''
START = """\
row = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
live = row < batch
"""
Sizes = Mapping[str, tuple[int, int]]  # widths of what leaves and what enters each node


class _Writer(Arguments):
    """Statements of one step, a block of samples at a time."""

    def __init__(self, parts: Sequence[Part], edges: Sequence[Wire], sizes: Sizes, dtype: str, rounded: bool):
        super().__init__(parts, edges)
        self.sizes, self.dtype, self.rounded = sizes, dtype, rounded

    def entering(self, part: Part, given: Iterable[str], places: str) -> str:
        """The sum of what reaches a node in a step. places: "n0", "part": which columns are asked for."""
        size, terms = f"size_k_{self.number[part.name]}", []
        if part.name in given:
            array = self.argument("given", part.name)
            terms.append(f"tl.load({array} + step * {size} + at_{places}, live_{places}, 0.0)")
        for edge in self.edges:
            if edge.target != part.name:
                continue
            y = self.argument("y", edge.source)
            if not edge.delay:
                terms.append(f"tl.load({y} + step * {size} + at_{places}, live_{places}, 0.0)")
                continue
            line, lag = self.argument("line", edge.key), str(edge.delay)
            if edge.lags is not None:
                lags, width = self.argument("lags", edge.key), f"k_{self.number[part.name]}"
                lag = f"tl.load({lags} + col_{places}, col_{places} < {width}, 0)"
            terms.append(f"arrived({y}, {line}, step, {lag}, {edge.delay}, {size}, at_{places}, live_{places})")
        return " + ".join(terms)

    def returning(self, part: Part, cotangents: Iterable[str]) -> list[str]:
        """Statements that sum the cotangent of a node's output in this step, into ``o``."""
        n = self.number[part.name]
        lines = [f"o = tl.zeros((ROWS, padded_m_{n}), real)"]
        if part.name in cotangents:
            gy = self.argument("gy", part.name)
            lines = [f"o = tl.load({gy} + step * size_m_{n} + at_m_{n}, live_m_{n}, 0.0)"]
        for edge in sorted(self.edges, key=lambda edge: edge.soonest == 0):
            if edge.source == part.name:
                lag = str(edge.delay)
                if edge.lags is not None:
                    lag = f"tl.load({self.argument('lags', edge.key)} + col_m_{n}, col_m_{n} < m_{n}, 0)"
                gx = self.argument("gx", edge.target)
                lines.append(f"o += returned({gx}, step, steps, {lag}, size_m_{n}, at_m_{n}, live_m_{n})")
        return lines

    def function(
        self, name: str, before: Sequence[str], loop: str, body: Sequence[str], after: Sequence[str]
    ) -> Source:
        """The whole function, from what is done once, at each step, and at the end."""
        text = header(self.dtype)
        for own, (leaving, entering) in self.sizes.items():
            for kind, width in (("m", leaving), ("k", entering)):
                n = f"{kind}_{self.number[own]}"
                text += f"{n}, padded_{n} = tl.constexpr({width}), tl.constexpr({padded(width)})\n"
        text += "\n\n" + WIRES + ROUNDING * self.rounded + DECORATOR
        text += f"def {name}(\n    {', '.join(['steps', 'batch', *self.arguments.values()])},\n"
        native = ", NATIVE: tl.constexpr" if self.rounded else ""
        text += f"    ROWS: tl.constexpr, TERMS: tl.constexpr{native},\n):\n" + block(START, 1)
        for own in self.sizes:
            for kind in ("m", "k"):
                n = f"{kind}_{self.number[own]}"
                text += block(columns(n, f"tl.arange(0, padded_{n})[None, :]", n) + [
                    f"size_{n} = tl.cast(batch, tl.int64) * {n}"], 1)
        text += block(before, 1) + block(loop, 1) + block(body, 2) + block(after, 1)
        return Source(text, tuple(self.arguments))


def padded(width: int) -> int:
    """The width of a tile: a power of two, as Triton wants it, and no less than its products take."""
    return max(16, 1 << (width - 1).bit_length())


def columns(name: str, these: str, width: str) -> list[str]:
    """Names for some columns of a node's activity: their numbers, their places in a step, which of them exist."""
    return [f"col_{name} = {these}", f"at_{name} = row * {width} + col_{name}",
            f"live_{name} = live & (col_{name} < {width})"]


def product(width: str, into: str, terms: Sequence[str], weight: str, rounded: bool) -> list[str]:
    """Statements for ``total`` = x times a matrix (terms, columns), TERMS rows of it at a time.

    width: of x. into: which columns come out. terms: statements that fetch some columns "part" of x as ``x_part``.
    rounded: x is rounded to bfloat16, and the matrix comes as the bits of such numbers.
    """
    lying = f"{weight} + term * {into} + col_{into}, (term < {width}) & (col_{into} < {into})"
    fetched = [f"w_part = tl.load({lying}, 0.0)"]
    if rounded:
        fetched = [f"w_part = widened(tl.load({lying}, 0))", "x_part = to_bfloat16(x_part)",
                   "if NATIVE:", "    x_part, w_part = x_part.to(tl.bfloat16), w_part.to(tl.bfloat16)"]
    return [
        f"total = tl.zeros((ROWS, padded_{into}), real)",
        f"for start in range(0, {width}, TERMS):",
        *("    " + line for line in columns("part", "start + tl.arange(0, TERMS)[None, :]", width)),
        *("    " + line for line in terms),
        "    term = start + tl.arange(0, TERMS)[:, None]",
        *("    " + line for line in fetched),
        '    total = tl.dot(x_part, w_part, total, input_precision="ieee", out_dtype=real)',
    ]


def forward_source(
    parts: Sequence[Part], edges: Sequence[Wire], sizes: Sizes, given: Sequence[str],
    written: Sequence[tuple[str, str]], dtype: str, rounded: bool = False,
) -> Source:
    """``forward(steps, batch, ..., ROWS, TERMS)``.

    given: nodes that something outside feeds. written: (node, "cut.NAME" | "s.NAME" | "b.NUMBER"), kept at each step.
    Arguments by key: y, given, w (T, M); line (delay, M); lags (K,); s (M,), overwritten by the state after the run;
    c (width,); weight_t (K, N); bias (N,); factor (M,). ROWS: samples of a program. TERMS: of a product, taken at
    once. rounded: operands of products are bfloat16, and NATIVE is a further argument: whether the device multiplies
    those.
    """
    w = _Writer(parts, edges, sizes, dtype, rounded)
    before: list[str] = []
    body, after = ["step = tl.cast(t, tl.int64)"], []
    for part in parts:
        n = w.number[part.name]
        place, y = f"step * size_m_{n} + at_m_{n}", w.argument("y", part.name)
        if part.kind == "product":
            terms = [f"x_part = {w.entering(part, given, 'part')}"]
            body += product(f"k_{n}", f"m_{n}", terms, w.argument("weight_t", part.name), rounded)
            bias = f"tl.load({w.argument('bias', part.name)} + col_m_{n}, col_m_{n} < m_{n}, 0.0)"
            body.append(f"tl.store({y} + {place}, total + {bias}, live_m_{n})")
        elif part.kind == "factor":
            factor = f"tl.load({w.argument('factor', part.name)} + at_m_{n}, live_m_{n}, 0.0)"
            body.append(f"tl.store({y} + {place}, ({w.entering(part, given, f'k_{n}')}) * {factor}, live_m_{n})")
        else:
            own = [what for name, what in written if name == part.name]
            start, step, end = _neuron_forward(w, part, w.entering(part, given, f"k_{n}"), place, own)
            before, body, after = before + start, body + step, after + end
        body.append("tl.debug_barrier()")  # other threads of the program read what this one wrote
    return w.function("forward", before, "for t in range(steps):", body, after)


def _neuron_forward(
    w: _Writer, part: Part, x: str, place: str, written: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    traced, n = part.traced, w.number[part.name]
    assert traced is not None
    before, body = _gathered(w, part, needed(traced.coefficients, "c", traced.before, traced.after))
    states = {name: w.argument("s", part.name, name) for name in traced.state}
    before += [f"v_{n}_{name} = tl.load({array} + at_m_{n}, live_m_{n}, 0.0)" for name, array in states.items()]
    body += loads(uncommon(traced.before), {"x": x, **{f"s.{name}": f"v_{n}_{name}" for name in traced.state}})
    body += assignments(traced.before, w.dtype)
    body += [f"{input_name(name)} = {value(node)}" for name, node in traced.before.outputs.items()]
    body += assignments(traced.after, w.dtype)
    body += [f"v_{n}_{name} = {held(traced.after.outputs[f's.{name}'], _tile(n))}" for name in traced.state]
    body.append(f"tl.store({w.argument('y', part.name)} + {place}, {value(traced.after.outputs['out'])}, live_m_{n})")
    body += [FLAG] * any(map(is_bit, written))
    for what in written:
        array = w.argument("w", part.name, what.replace(".", "_"))
        if is_bit(what):
            before.append(f"word_{array} = tl.zeros({_tile(n)}, tl.int32)")
            decision = value(traced.after.outputs[what])
            body += stored_bit(array, decision, f"size_m_{n}", f"at_m_{n}", f"live_m_{n}")
            continue
        source = input_name(what) if what.startswith("cut.") else f"v_{n}_{what.removeprefix('s.')}"
        body.append(f"tl.store({array} + {place}, {source}, live_m_{n})")
    return before, body, [f"tl.store({array} + at_m_{n}, v_{n}_{name}, live_m_{n})" for name, array in states.items()]


def reverse_source(
    parts: Sequence[Part], edges: Sequence[Wire], sizes: Sizes, cotangents: Iterable[str], dtype: str,
    rounded: bool = False,
) -> Source:
    """``reverse(steps, batch, ..., ROWS, TERMS)``.

    cotangents: nodes whose output something outside reads. Arguments by key: gy, gx (T, M), cotangents of outputs and
    of what entered; dy (T, M), of a stateless node's output in full; w, what was kept; x (T, M); first (M,); acc
    (M,), sums of the coefficients' cotangents; gs (M,), cotangents of the states after the run, overwritten by
    those of the states before it; lags (K,); c (width,); weight (N, K); factor (M,).
    """
    w = _Writer(parts, edges, sizes, dtype, rounded)
    cotangents = set(cotangents)
    before: list[str] = []
    body, after = ["t = steps - 1 - back", "step = tl.cast(t, tl.int64)"], []
    for part in reversed(parts):
        n = w.number[part.name]
        gx, place = w.argument("gx", part.name), f"step * size_k_{n} + at_k_{n}"
        body += w.returning(part, cotangents)
        if part.kind == "neuron":
            start, step, end = _neuron_reverse(w, part, f"{gx} + {place}")
            before, body, after = before + start, body + step, after + end
        else:
            dy = w.argument("dy", part.name)
            body.append(f"tl.store({dy} + step * size_m_{n} + at_m_{n}, o, live_m_{n})")
        if part.kind == "product":
            body.append("tl.debug_barrier()")
            terms = [f"x_part = tl.load({dy} + step * size_m_{n} + at_part, live_part, 0.0)"]
            body += product(f"m_{n}", f"k_{n}", terms, w.argument("weight", part.name), rounded)
            body.append(f"tl.store({gx} + {place}, total, live_k_{n})")
        elif part.kind == "factor":
            factor = f"tl.load({w.argument('factor', part.name)} + at_m_{n}, live_m_{n}, 0.0)"
            body.append(f"tl.store({gx} + {place}, o * {factor}, live_k_{n})")
        body.append("tl.debug_barrier()")
    return w.function("reverse", before, "for back in range(steps):", body, after)


def _neuron_reverse(w: _Writer, part: Part, gx: str) -> tuple[list[str], list[str], list[str]]:
    traced, n = part.traced, w.number[part.name]
    assert traced is not None
    before, body = _gathered(w, part, needed(traced.coefficients, "c", traced.reverse, traced.restore))
    carried = {name: w.argument("gs", part.name, name) for name in traced.state}
    before += [f"g_{n}_{name} = tl.load({array} + at_m_{n}, live_m_{n}, 0.0)" for name, array in carried.items()]
    before += [f"a_{n}_{name} = tl.zeros({_tile(n)}, real)" for name in traced.trained]

    def kept(name: str, step: str, live: str) -> str:
        return f"tl.load({w.argument('w', part.name, f'cut_{name}')} + ({step}) * size_m_{n} + at_m_{n}, {live}, 0.0)"

    if traced.reads_state:
        body += loads(uncommon(traced.restore), {
            f"cut.{name}": kept(name, "step - 1", f"live_m_{n} & (step > 0)") for name in traced.saved})
        body += assignments(traced.restore, w.dtype)
        for name in traced.reads_state:
            first = f"tl.load({w.argument('first', part.name, name)} + at_m_{n}, live_m_{n}, 0.0)"
            body.append(f"r_{name} = tl.where(step > 0, {value(traced.restore.outputs[name])}, {first})")
    words = {name: w.argument("w", part.name, name.replace(".", "_")) for name in traced.bits}
    body += [FLAG] * bool(words)
    places = {"g.out": "o", **{f"cut.{name}": kept(name, "step", f"live_m_{n}") for name in traced.saved},
              **{name: loaded_bit(array, f"size_m_{n}", f"at_m_{n}", f"live_m_{n}") for name, array in words.items()},
              **{f"s.{name}": f"r_{name}" for name in traced.reads_state},
              **{f"g.s.{name}": f"g_{n}_{name}" for name in traced.state}}
    if traced.reads_input:
        places["x"] = f"tl.load({w.argument('x', part.name)} + step * size_m_{n} + at_m_{n}, live_m_{n}, 0.0)"
    outputs = traced.reverse.outputs
    body += loads(uncommon(traced.reverse), places) + assignments(traced.reverse, w.dtype)
    body += [f"g_{n}_{name} = {held(outputs[f's.{name}'], _tile(n))}" for name in traced.state]
    body += [f"a_{n}_{name} += {value(outputs[f'c.{name}'])}" for name in traced.trained]
    body.append(f"tl.store({gx}, {value(outputs['x'])}, live_m_{n})")
    sums = {name: w.argument("acc", part.name, name) for name in traced.trained}
    after = [f"tl.store({array} + at_m_{n}, a_{n}_{name}, live_m_{n})" for name, array in sums.items()]
    after += [f"tl.store({array} + at_m_{n}, g_{n}_{name}, live_m_{n})" for name, array in carried.items()]
    return before, body, after


def _gathered(w: _Writer, part: Part, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Coefficients of a node's neurons: fetched once, and what the equations of this node call them."""
    n = w.number[part.name]
    fetched = [f"kc_{n}_{name} = tl.load({w.argument('c', part.name, name)} + col_m_{n}, col_m_{n} < m_{n}, 0.0)"
               for name in names]
    return fetched, [f"{input_name(f'c.{name}')} = kc_{n}_{name}" for name in names]


def _tile(n: str) -> str:
    return f"(ROWS, padded_m_{n})"
