"""Which nodes receive nothing but small whole numbers, whatever the data: known from the program alone.

bfloat16 holds whole numbers up to 256 exactly. Nothing is looked at on the device, which would make the
host wait for it.
"""

from __future__ import annotations

from neuroport.model.layers import Flatten, SumPool2d
from neuroport.program.lower import Program

MOST = 256


def exact_in_bfloat16(program: Program) -> frozenset[str]:
    """Nodes whose input is exact in bfloat16. What a user's state may hold, on lines and as last output, is not."""
    largest: dict[str, int] = {}
    for segment in program.segments:
        for name in getattr(segment, "nodes", None) or (segment.node,):  # type: ignore[union-attr]
            leaving = _leaving(program, name, _entering(program, name, largest))
            if leaving is not None:
                largest[name] = leaving
    return frozenset(name for name in program.model.nodes if (_entering(program, name, largest) or MOST + 1) <= MOST)


def _entering(program: Program, name: str, largest: dict[str, int]) -> int | None:
    edges = program.incoming[name]
    if not edges or any(edge.delay or edge.source not in largest for edge in edges):
        return None
    return sum(largest[edge.source] for edge in edges)


def _leaving(program: Program, name: str, entering: int | None) -> int | None:
    """The largest whole number that a node sends out; None where it may send anything."""
    bound = program.neurons.get(name)
    if bound is not None:
        plain = bound.neuron.spiking and not (bound.numerics.multi_spike or bound.numerics.output_delay)
        return 1 if plain else None
    node = program.node(name)
    if entering is None or not isinstance(node, (Flatten, SumPool2d)):
        return None
    return entering * (node.kernel_size[0] * node.kernel_size[1] if isinstance(node, SumPool2d) else 1)
