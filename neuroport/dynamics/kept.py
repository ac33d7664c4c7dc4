"""What a kernel's forward pass has to keep of each step, where less than the cut's numbers will do.

The reverse of a step reads the cut. Where it reads a field in decisions alone (did it spike? does u lie
within the surrogate's window?), the decisions are kept, one bit each, in place of the number: all that a
Boxcar asks for, and nothing at all for StraightThrough. Which ones suffice is found on the recorded
reverse, whatever the neuron and the surrogate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from neuroport.dynamics.tape import Graph, Node
from neuroport.dynamics.trace import Traced

DECISIONS = frozenset({"gt", "ge", "lt", "le", "and", "or", "not"})


def kept(traced: Traced) -> Traced:
    """The same step, of which the least is kept that its reverse can do with: ``saved`` numbers, and ``bits``."""
    if traced.reads_state:  # states before a step are restored from the numbers of the step before
        return traced
    least = _with_bits(traced, ())
    found = _with_bits(traced, least.saved)  # what hangs on numbers that are kept anyway needs no bit
    return found if set(found.saved) < set(traced.saved) else traced


def _with_bits(traced: Traced, numbers: Collection[str]) -> Traced:
    """Every decision that reads a field beyond ``numbers`` as a bit."""
    fields = {f"cut.{name}" for name in traced.saved}
    lost = {name for name in fields if name.removeprefix("cut.") not in numbers}
    binary = {name for name, node in traced.before.outputs.items() if _is_spike(node)}
    bits: dict[str, Node] = {}
    reads: dict[int, frozenset[str]] = {}
    for node in traced.reverse.nodes:
        own = frozenset({node.attrs[0]}) if node.op == "input" else frozenset()
        reads[node.index] = own.union(*(reads[arg.index] for arg in node.args))

    def bit(decision: Node) -> Node:
        name = next((name for name, known in bits.items() if known is decision), f"b.{len(bits)}")
        bits[name] = decision
        return decision.tape.input(name)

    def without_numbers(node: Node) -> Node | None:
        """What stands for a node that need not be computed from numbers."""
        read = reads[node.index]
        of_cut = all(name in fields or name.startswith("c.") for name in read)
        if node.op == "mul" and of_cut and any(_is_zero(arg) for arg in node.args):
            return node.tape.constant(0.0)  # of a finite number
        if not of_cut or not read & lost:
            return None
        if node.op in DECISIONS:
            return bit(node)
        if node.op == "spike" or (node.op == "input" and node.attrs[0] in binary):
            return node.tape.record("where", bit(node > 0.0), 1.0, 0.0)
        return None

    reverse = Graph.of(rewritten(traced.reverse, without_numbers))
    left = tuple(name for name in traced.saved if f"cut.{name}" in reverse.inputs)
    after = Graph.of({**traced.after.outputs, **bits})
    return replace(
        traced, saved=left, bits=tuple(bits), reverse=reverse, after=after, reads_input="x" in reverse.inputs)


def rewritten(graph: Graph, change: Callable[[Node], Node | None]) -> dict[str, Node]:
    """The outputs of a graph, recorded again with some of its nodes replaced; None leaves a node as it is."""
    found: dict[int, Node] = {}

    def again(node: Node) -> Node:
        if node.index not in found:
            changed = change(node)
            if changed is None:
                changed = node if not node.args else node.tape.record(
                    node.op, *(again(arg) for arg in node.args), attrs=node.attrs)
            found[node.index] = changed
        return found[node.index]

    return {name: again(node) for name, node in graph.outputs.items()}


def _is_spike(node: Node) -> bool:
    return node.op == "spike" or (node.op == "detach" and _is_spike(node.args[0]))


def _is_zero(node: Node) -> bool:
    return node.op == "constant" and node.attrs[0] == 0.0
