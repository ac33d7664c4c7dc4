"""A population in one function with what stands around it: sums over events before it, marks of its spikes after.

Apart, the product writes its sums over all of time and the population reads them, which writes its spikes, among
which the next product looks for those that are not zero: four passes through memory that are spared here. A few
samples go through time together, LANES neurons of each, so that these neurons' weights stay in the second cache
and everything else in the first. Sums and steps are those of ``gather`` and ``population_forward``, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence

from neuroport.dynamics.trace import Traced
from neuroport_loops.population_source import DECORATOR, FLAG, block, forward_lane, header, is_bit, needed, target

SAMPLES = 8  # of 64 lanes each: as many as a block of ``population_source``
IMPORTS = "from neuroport_loops.lanes import LANES, add_rows, marks, move_lanes\n\n"

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


def items(batch: int, width: int) -> int:
    """How many pieces of work a call can be cut into."""
    return -(-width // 64) * -(-batch // SAMPLES)


def fused_forward(
    traced: Traced, written: Sequence[str], dtype: str, gathers: bool, marks: bool, cache: bool = False
) -> str:
    """``forward(steps, batch, width, lo, hi, start, index, value, chunks, bias, bits, c_*, s_*, w_*)``.

    Items lo to hi. start, index, value: events of x (T * B, K), as ``events.gather`` takes them. chunks: W^T as (N /
    LANES, K, LANES). bias: (N,), with zeros up to a multiple of LANES. bits: (T * B, N / 64). The others as in
    ``population_forward``. Without gathers one argument x (T, M) stands in place of the five of the product, without
    marks out (T, M) in place of bits.
    """
    coefficients = needed(traced.coefficients, "c", traced.before, traced.after)
    arguments = ["start", "index", "value", "chunks", "bias"] if gathers else ["x"]
    arguments += ["bits" if marks else "out", *(f"c_{name}" for name in coefficients)]
    arguments += [f"s_{name}" for name in traced.state] + [target(name) for name in written]
    local = [*(f"k_{name}" for name in coefficients), *(f"v_{name}" for name in traced.state), "xt", "ot"]

    text = header(dtype) + IMPORTS + DECORATOR.format(cache=cache)
    text += f"def forward({', '.join(['steps', 'batch', 'width', 'lo', 'hi', *arguments])}):\n"
    # lanes beyond the last neuron are stepped too, from zeros
    text += block([f"{name} = np.zeros({SAMPLES} * LANES, real)" for name in local], 1)
    text += block([f"t_{target(name)} = np.zeros({SAMPLES} * LANES, {'np.uint32' if is_bit(name) else 'real'})"
                   for name in written], 1) if written else ""
    text += block([
        f"groups = (batch + {SAMPLES - 1}) // {SAMPLES}",
        "for item in range(lo, hi):",
        f"    c, first = item // groups, item % groups * {SAMPLES}",
        f"    last, column = min(first + {SAMPLES}, batch), c * LANES",
        "    wide = min(LANES, width - column)",
    ], 1)
    if gathers:
        text += block("chunk = chunks[c]", 2)
    if marks:
        text += block("mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(LANES - wide)", 2)
    text += block(_lanes([f"k_{name}[lane] = c_{name}[column + j]" for name in coefficients]
                         + [f"v_{name}[lane] = s_{name}[at + j]" for name in traced.state]), 2)
    text += block("for t in range(steps):", 2)
    text += block(GATHER if gathers else _rows("x[t]", "xt", False), 3)
    text += block([FLAG], 3) if any(map(is_bit, written)) else ""
    text += block("for j in range((last - first) * LANES):", 3) + block(forward_lane(traced, written), 4)
    text += block(MARK if marks else _rows("ot", "out[t]", True), 3)
    numbers = [name for name in written if not is_bit(name)]
    for name in numbers:
        text += block(_rows(f"t_{target(name)}", f"{target(name)}[t]", True), 3)
    if len(numbers) < len(written):
        text += block("if t & 31 == 31 or t == steps - 1:", 3)
        text += block(_lanes([f"{target(name)}[t >> 5, at + j] = t_{target(name)}[lane]"
                              for name in written if is_bit(name)]), 4)
    return text + block(_lanes([f"s_{name}[at + j] = v_{name}[lane]" for name in traced.state]), 2)


def _rows(given: str, into: str, out: bool) -> str:
    """Each sample's lanes from a row over all lanes into its block, or out of it."""
    lane, at = ("g * LANES", "at") if out else ("at", "g * LANES")
    return ROWS.format(whole=f"move_lanes({given}, {lane}, {into}, {at})", single=_indexed(into, at, given, lane))


def _indexed(into: str, at: str, given: str, lane: str) -> str:
    return f"{into[:-1]}, {at} + j] = {given}[{lane} + j]" if into.endswith("]") else \
        f"{into}[{at} + j] = {given[:-1] + ', ' if given.endswith(']') else given + '['}{lane} + j]"


def _lanes(body: Sequence[str]) -> str:
    """Statements for each lane that is a neuron: ``lane`` in the block, ``at + j`` among all."""
    inner = "\n".join(f"        {line}" for line in body or ["pass"])
    return ("for g in range(last - first):\n    at = (first + g) * width + column\n    for j in range(wide):\n"
            f"        lane = g * LANES + j\n{inner}")
