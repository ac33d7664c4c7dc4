"""A population in one function with what stands around it: sums over events before it, marks of its spikes after.

Apart, the product writes its sums over all of time and the population reads them, which writes its spikes, among
which the next product looks for those that are not zero: four passes through memory that are spared here. A few
samples go through time together, LANES neurons of each, so that these neurons' weights stay in the second cache
and everything else in the first. Sums and steps are those of ``gather`` and ``population_forward``, in their order.

Where a product is taken along, the state at every STRIDE-th step is all that is kept for the reverse: from there it
runs the steps between again, sums included, and keeps what it reads of them in the first cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from neuroport.dynamics.trace import Traced
from neuroport_loops.population_source import (
    DECORATOR,
    FLAG,
    block,
    forward_lane,
    header,
    is_bit,
    kept_names,
    needed,
    prefixed,
    reverse_lane,
    target,
)

SAMPLES = 8  # of 64 lanes each: as many as a block of ``population_source``
STRIDE = 8  # steps
IMPORTS = "from neuroport_loops.lanes import LANES, add_rows, marks, move_lanes, round_lanes\n\n"
PRODUCT = ("start", "index", "value", "chunks", "bias")

ITEMS = f"""\
groups = (batch + {SAMPLES - 1}) // {SAMPLES}
for item in range(lo, hi):
    c, first = item // groups, item % groups * {SAMPLES}
    last, column = min(first + {SAMPLES}, batch), c * LANES
    wide = min(LANES, width - column)"""
ROWS = """\
for g in range(last - first):
    at = (first + g) * width + column
    if wide == LANES:
        {whole}
    else:
        for j in range(wide):
            {single}"""
GATHER = """\
for g in range(last - first):
    m = t * batch + first + g
    move_lanes(bias, column, xt, g * LANES)
    add_rows(xt, g * LANES, chunk, index, value, start[m], start[m + 1])"""
MARK = """\
for g in range(last - first):
    word, ones = marks(ot, g * LANES)
    bits[t * batch + first + g, c] = word & mask"""
ROUND = """\
for g in range(last - first):
    round_lanes(it, it, g * LANES)"""
EACH = """\
for g in range(last - first):
    at = (first + g) * width + column
    for j in range(wide):
        lane = g * LANES + j"""
LOOP = "for j in range((last - first) * LANES):"


def items(batch: int, width: int) -> int:
    """How many pieces of work a call can be cut into."""
    return -(-width // 64) * -(-batch // SAMPLES)


def fused_forward(
    traced: Traced, written: Sequence[str], dtype: str, gathers: bool, marks: bool, strides: bool, cache: bool = False
) -> str:
    """``forward(steps, batch, width, lo, hi, start, index, value, chunks, bias, bits, c_*, s_*, w_*, at_*)``.

    Items lo to hi. start, index, value: events of x (T * B, K), as ``events.gather`` takes them. chunks: W^T as (N /
    LANES, K, LANES). bias: (N,), with zeros up to a multiple of LANES. bits: (T * B, N / 64). at_NAME: states before
    every STRIDE-th step (T / STRIDE, M), where strides. The others as in ``population_forward``. Without gathers one
    argument x (T, M) stands in place of the five of the product, without marks out (T, M) in place of bits.
    """
    coefficients = needed(traced.coefficients, "c", traced.before, traced.after)
    arguments = [*(PRODUCT if gathers else ["x"]), "bits" if marks else "out", *(f"c_{name}" for name in coefficients)]
    arguments += [f"s_{name}" for name in traced.state] + [target(name) for name in written]
    arguments += [f"at_{name}" for name in traced.state if strides]
    numbers = [name for name in written if not is_bit(name)]
    bits = [name for name in written if is_bit(name)]

    text = header(dtype) + IMPORTS + DECORATOR.format(cache=cache)
    text += f"def forward({', '.join(['steps', 'batch', 'width', 'lo', 'hi', *arguments])}):\n"
    # lanes beyond the last neuron are stepped too, from zeros
    text += _buffers([*(f"k_{name}" for name in coefficients), *(f"v_{name}" for name in traced.state), "xt", "ot",
                      *(f"t_{target(name)}" for name in numbers)])
    text += _buffers([f"t_{target(name)}" for name in bits], kind="np.uint32")
    text += block(ITEMS, 1)
    text += block("chunk = chunks[c]", 2) if gathers else ""
    text += block("mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(LANES - wide)", 2) if marks else ""
    text += block(_each([f"k_{name}[lane] = c_{name}[column + j]" for name in coefficients]
                        + [f"v_{name}[lane] = s_{name}[at + j]" for name in traced.state]), 2)
    text += block("for t in range(steps):", 2)
    if strides:
        text += block(f"if t % {STRIDE} == 0:", 3)
        text += "".join(block(_rows_out(f"v_{name}", f"at_{name}[t // {STRIDE}]"), 4) for name in traced.state)
    text += block(GATHER if gathers else _rows_in("x[t]", "xt"), 3)
    text += block([FLAG], 3) if bits else ""
    text += block(LOOP, 3) + block(forward_lane(traced, written), 4)
    text += block(MARK if marks else _rows_out("ot", "out[t]"), 3)
    for name in numbers:
        text += block(_rows_out(f"t_{target(name)}", f"{target(name)}[t]"), 3)
    if bits:
        text += block("if t & 31 == 31 or t == steps - 1:", 3)
        text += block(_each([f"{target(name)}[t >> 5, at + j] = t_{target(name)}[lane]" for name in bits]), 4)
    return text + block(_each([f"s_{name}[at + j] = v_{name}[lane]" for name in traced.state]), 2)


def fused_reverse(traced: Traced, dtype: str, rounded: bool = False, cache: bool = False) -> str:
    """``reverse(steps, batch, width, lo, hi, start, index, value, chunks, bias, gout, gx, total, c_*, at_*, acc_*,
    g_*)``.

    Items lo to hi, after a forward pass that gathers and strides. total: (M,), zero at first, the sums of gx over time.
    rounded: gx itself is then rounded to bfloat16, as the product's reverse reads it. The others as in
    ``population_reverse``.
    """
    coefficients = needed(traced.coefficients, "c", traced.before, traced.after, traced.reverse)
    kept = kept_names(traced)
    again = [f"t_{target(name)}" for name in kept] + [f"r_{name}" for name in traced.reads_state]
    again += ["xt"] if traced.reads_input else []  # of each step that is run again
    arguments = [*PRODUCT, "gout", "gx", "total", *(f"c_{name}" for name in coefficients)]
    arguments += [f"{kind}_{name}" for kind, names in (("at", traced.state), ("acc", traced.trained),
                                                        ("g", traced.state)) for name in names]
    loaded = ["summed[lane] = zero", *(f"l_{name}[lane] = g_{name}[at + j]" for name in traced.state)]
    loaded += [f"a_{name}[lane] = acc_{name}[at + j]" for name in traced.trained]

    text = header(dtype) + IMPORTS + DECORATOR.format(cache=cache)
    text += f"def reverse({', '.join(['steps', 'batch', 'width', 'lo', 'hi', *arguments])}):\n"
    local = [*(f"k_{name}" for name in coefficients), *(f"v_{name}" for name in traced.state), "xt", "ot", "it",
             "summed", *(f"l_{name}" for name in traced.state), *(f"a_{name}" for name in traced.trained)]
    text += _buffers([name for name in local if name not in again])
    text += _buffers([f"all_{name}" for name in again if not _holds_bits(name)], (STRIDE,))
    text += _buffers([f"all_{name}" for name in again if _holds_bits(name)], (STRIDE,), "np.uint32")
    text += block("flag, old = np.uint32(1), none", 1) if traced.bits else ""  # a word for each decision
    text += block(ITEMS, 1) + block("chunk = chunks[c]", 2)
    text += block(_each([f"k_{name}[lane] = c_{name}[column + j]" for name in coefficients] + loaded), 2)
    text += block(f"for begin in range((steps - 1) // {STRIDE} * {STRIDE}, -1, -{STRIDE}):", 2)
    text += block([f"end = min(begin + {STRIDE}, steps)"], 3)
    text += "".join(block(_rows_in(f"at_{name}[begin // {STRIDE}]", f"v_{name}"), 3) for name in traced.state)
    step = [f"{name} = all_{name}[t - begin]" for name in again]

    text += block("for t in range(begin, end):", 3) + block(step, 4) * bool(step) + block(GATHER, 4)
    text += block(LOOP, 4)
    text += block([f"r_{name}[j] = v_{name}[j]" for name in traced.reads_state], 5) if traced.reads_state else ""
    text += block(prefixed(forward_lane(traced, kept), "f"), 5)

    text += block("for t in range(end - 1, begin - 1, -1):", 3) + block(step, 4) * bool(step)
    text += block(_rows_in("gout[t]", "ot"), 4)
    text += block(LOOP, 4) + block(prefixed(reverse_lane(traced), "r"), 5) + block("summed[j] += it[j]", 5)
    text += block(ROUND, 4) if rounded else ""
    text += block(_rows_out("it", "gx[t]"), 4)
    stored = ["total[at + j] = summed[lane]", *(f"g_{name}[at + j] = l_{name}[lane]" for name in traced.state)]
    return text + block(_each(stored + [f"acc_{name}[at + j] = a_{name}[lane]" for name in traced.trained]), 2)


def _holds_bits(name: str) -> bool:
    return name.startswith("t_w_b_")


def _buffers(names: Sequence[str], more: tuple[int, ...] = (), kind: str = "real") -> str:
    size = f"({', '.join(map(str, more))}, {SAMPLES} * LANES)" if more else f"{SAMPLES} * LANES"
    return block([f"{name} = np.zeros({size}, {kind})" for name in names], 1) if names else ""


def _rows_in(row: str, block_: str) -> str:
    """Each sample's lanes from a row over all lanes, ``array[t]``, into its block."""
    return ROWS.format(whole=f"move_lanes({row}, at, {block_}, g * LANES)",
                       single=f"{block_}[g * LANES + j] = {row[:-1]}, at + j]")


def _rows_out(block_: str, row: str) -> str:
    return ROWS.format(whole=f"move_lanes({block_}, g * LANES, {row}, at)",
                       single=f"{row[:-1]}, at + j] = {block_}[g * LANES + j]")


def _each(body: Sequence[str]) -> str:
    """Statements for each lane that is a neuron: ``lane`` in the block, ``at + j`` among all."""
    return "\n".join([EACH, *(f"        {line}" for line in body)])
