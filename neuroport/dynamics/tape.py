"""Equations as an ordered expression graph, and its reverse.

Written with the ordinary operators and ``ops``, a function called with tape nodes instead of arrays
is *recorded*: each node is one operation, hash-consed, in the order of writing. Nothing is sorted,
factored or folded beyond ``x * 1``, ``x + 0`` and ``x - 0``, so float32 results keep the written
order of operations. ``backward`` adds the adjoint of every operation as further nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuroport.dynamics import ops

Number = (bool, int, float)


class Node:
    """One recorded operation. Arithmetic on it records more."""

    __slots__ = ("args", "attrs", "index", "op", "tape")
    __array_ufunc__ = None  # np.exp(node) fails here and now, and not as an object array later

    def __init__(self, tape: Tape, index: int, op: str, args: tuple[Node, ...], attrs: tuple[Any, ...]):
        self.tape, self.index, self.op, self.args, self.attrs = tape, index, op, args, attrs

    def __repr__(self) -> str:
        return f"<{self.op} #{self.index}>"

    def __bool__(self) -> bool:
        raise TypeError(
            "a recorded equation has no truth value: write ops.where(condition, a, b) instead of "
            "`if`, `and`, `max()`"
        )

    def __add__(self, other: Any) -> Node:
        return self.tape.record("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return self.tape.record("add", other, self)

    def __sub__(self, other: Any) -> Node:
        return self.tape.record("sub", self, other)

    def __rsub__(self, other: Any) -> Node:
        return self.tape.record("sub", other, self)

    def __mul__(self, other: Any) -> Node:
        return self.tape.record("mul", self, other)

    def __rmul__(self, other: Any) -> Node:
        return self.tape.record("mul", other, self)

    def __truediv__(self, other: Any) -> Node:
        return self.tape.record("div", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return self.tape.record("div", other, self)

    def __pow__(self, exponent: Any) -> Node:
        if not isinstance(exponent, int) or exponent < 1:
            wrong = f"a recorded equation knows whole powers from 1 (got {exponent!r})"
            raise TypeError(f"{wrong}: write ops.sqrt, or ops.exp and ops.log")
        power = self
        for _ in range(exponent - 1):
            power = power * self
        return power

    def __neg__(self) -> Node:
        return self.tape.record("neg", self)

    def __gt__(self, other: Any) -> Node:
        return self.tape.record("gt", self, other)

    def __ge__(self, other: Any) -> Node:
        return self.tape.record("ge", self, other)

    def __lt__(self, other: Any) -> Node:
        return self.tape.record("lt", self, other)

    def __le__(self, other: Any) -> Node:
        return self.tape.record("le", self, other)

    def __and__(self, other: Any) -> Node:
        return self.tape.record("and", self, other)

    def __or__(self, other: Any) -> Node:
        return self.tape.record("or", self, other)

    def __invert__(self) -> Node:
        return self.tape.record("not", self)


@dataclass(frozen=True)
class Graph:
    """Named outputs over named inputs, with the nodes between them in recorded order."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, Node]
    nodes: tuple[Node, ...]

    @staticmethod
    def of(outputs: Mapping[str, Node]) -> Graph:
        """The part of a tape that these outputs need, and no more."""
        needed: dict[int, Node] = {}
        pending = list(outputs.values())
        while pending:
            node = pending.pop()
            if node.index not in needed:
                needed[node.index] = node
                pending.extend(node.args)
        nodes = tuple(needed[index] for index in sorted(needed))
        inputs = tuple(node.attrs[0] for node in nodes if node.op == "input")
        return Graph(inputs, dict(outputs), nodes)


class Tape:
    """Records operations in order; equal operations on equal arguments are one node."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._known: dict[tuple[Any, ...], Node] = {}

    def input(self, name: str) -> Node:
        return self._node("input", (), (name,))

    def constant(self, value: float) -> Node:
        return self._node("constant", (), (float(value),))

    def record(self, op: str, *args: Any, attrs: tuple[Any, ...] = ()) -> Node:
        nodes = tuple(self.constant(arg) if isinstance(arg, Number) else arg for arg in args)
        for node in nodes:
            if not isinstance(node, Node):
                raise TypeError(
                    f"an equation mixes a recorded node with {type(node).__name__}: constants are "
                    "Python numbers, arrays are parameters of the neuron"
                )
        same = _identity(op, nodes)
        return self._node(op, nodes, attrs) if same is None else same

    def _node(self, op: str, args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Node:
        key = (op, *(arg.index for arg in args), *(_key(attr) for attr in attrs))
        if key not in self._known:
            self._known[key] = Node(self, len(self._nodes), op, args, attrs)
            self._nodes.append(self._known[key])
        return self._known[key]

    def backward(self, cotangents: Iterable[tuple[Node, Node]], wanted: Sequence[Node]) -> list[Node]:
        """The adjoints of ``wanted`` nodes, given (output, its cotangent) pairs.

        A node that no output depends on has the adjoint zero, a constant.
        """
        adjoint: dict[int, Node] = {}

        def add(node: Node, term: Node) -> None:
            known = adjoint.get(node.index)
            adjoint[node.index] = term if known is None else known + term

        last = -1
        for output, cotangent in cotangents:
            if _constant(cotangent) == 0.0:
                continue
            add(output, cotangent)
            last = max(last, output.index)
        for node in reversed(self._nodes[: last + 1]):
            g = adjoint.get(node.index)
            if g is None or node.op not in ADJOINTS:
                continue
            for arg, term in zip(node.args, ADJOINTS[node.op](g, node, *node.args), strict=False):
                if term is not None and arg.op != "constant":
                    add(arg, term)
        return [adjoint.get(node.index, self.constant(0.0)) for node in wanted]


def _key(attr: Any) -> Any:
    return (type(attr), attr) if isinstance(attr, (*Number, str)) else id(attr)


def _constant(node: Node) -> float | None:
    return node.attrs[0] if node.op == "constant" else None


def _identity(op: str, nodes: tuple[Node, ...]) -> Node | None:
    """``x * 1``, ``x + 0`` and ``x - 0`` are ``x``: exact, up to the sign of a zero."""
    neutral = {"mul": 1.0, "add": 0.0, "sub": 0.0}.get(op)
    if neutral is None:
        return None
    if _constant(nodes[1]) == neutral:
        return nodes[0]
    if op != "sub" and _constant(nodes[0]) == neutral:
        return nodes[1]
    return None


Adjoint = Callable[..., tuple[Node | None, ...]]

# (cotangent, the node itself, *its arguments) -> a cotangent for each argument; None: no derivative
ADJOINTS: dict[str, Adjoint] = {
    "add": lambda g, out, a, b: (g, g),
    "sub": lambda g, out, a, b: (g, -g),
    "mul": lambda g, out, a, b: (g * b, g * a),
    "div": lambda g, out, a, b: (g / b, -(g * out) / b),
    "neg": lambda g, out, a: (-g,),
    "exp": lambda g, out, a: (g * out,),
    "expm1": lambda g, out, a: (g * (out + 1.0),),
    "log": lambda g, out, a: (g / a,),
    "sqrt": lambda g, out, a: (g * 0.5 / out,),
    "tanh": lambda g, out, a: (g * (1.0 - out * out),),
    "abs": lambda g, out, a: (ops.where(a > 0.0, g, ops.where(a < 0.0, -g, 0.0)),),
    "where": lambda g, out, c, a, b: (None, ops.where(c, g, 0.0), ops.where(c, 0.0, g)),
    "select": lambda g, out, z, a, b: (g * (a - b), g * z, g * (1.0 - z)),
    "spike": lambda g, out, u: (g * out.attrs[0].derivative(u),),
    "sum": lambda g, out, x: (ops.expand(g, out.attrs[0], x),),
    "expand": lambda g, out, x, like: (ops.sum(g, out.attrs[0]), None),
    "take": lambda g, out, x: (out.tape.record("place", g, x, attrs=out.attrs),),
    "max": lambda g, out, x: (_share_ties(g, out, x, out.attrs[0]),),
    "recurrence": lambda g, out, decay, x: _recurrence_back(g, out, decay, out.attrs[0]),
    "shift": lambda g, out, x: (ops.shift(g, -out.attrs[0]),),
}


def _recurrence_back(g: Node, out: Node, decay: Node, reverse: bool) -> tuple[Node, Node]:
    back = -1 if reverse else 1  # where the step before lies
    of_x = ops.recurrence(ops.shift(decay, -back), g, not reverse)
    return of_x * ops.shift(out, back), of_x


def _share_ties(g: Node, out: Node, x: Node, axis: int) -> Node:
    hit = ops.where(x >= ops.expand(out, axis, x), 1.0, 0.0)
    count = ops.expand(ops.sum(hit, axis), axis, x)
    shared: Node = hit * ops.expand(g, axis, x) / count
    return shared


def _record(op: str, arity: int) -> Callable[..., Node]:
    def recorded(*args: Any) -> Node:
        nodes, attrs = args[:arity], args[arity:]
        tape = next(arg.tape for arg in nodes if isinstance(arg, Node))
        return tape.record(op, *nodes, attrs=attrs)

    return recorded


# each operation of ``ops`` with the number of its arguments that are values; the rest are attributes
ARITY = {
    **dict.fromkeys(("exp", "expm1", "log", "sqrt", "tanh", "abs", "floor", "detach"), 1),
    "where": 3, "select": 3, "spike": 1, "sum": 1, "max": 1, "take": 1, "recurrence": 2, "shift": 1,
}

TABLE: ops.Table = {
    **{op: _record(op, arity) for op, arity in ARITY.items()},
    "expand": lambda x, axis, like: like.tape.record("expand", x, like, attrs=(axis,)),
    "one_hot": lambda classes, like: like.tape.record("one_hot", classes, like),
}

ops.register(Node, TABLE)
