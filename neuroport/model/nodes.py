"""What every node of a model has in common."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, NamedTuple

from neuroport.errors import Problem
from neuroport.model.description import nested
from neuroport.model.kinds import Kind, Member
from neuroport.model.values import Bound, Parameter, Shape


class Misfit(ValueError):
    """A node does not fit the shape that reaches it: what is wrong, and the mend."""

    def __init__(self, wrong: str, mend: str = "", field: str = ""):
        super().__init__(wrong)
        self.problem = Problem(field, wrong, mend)


class ParameterSpec(NamedTuple):
    """An array of a node: its shape, how it starts, whether training changes it, what bounds it.

    fans: (fan_in, fan_out) for initializers that scale by them.
    """

    shape: Shape
    value: Any
    trainable: bool = True
    bound: Bound = Bound.FREE
    fans: tuple[int, int] = (1, 1)


class Node(Kind):
    """A node of a model's graph. Shapes have no time or batch axis."""

    layer: ClassVar[bool] = True  # may stand in a list of layers

    def output_shape(self, shape: Shape) -> Shape:
        """Shape that leaves the node when ``shape`` enters. Raises Misfit."""
        return shape

    def arrays(self, shape: Shape) -> dict[str, ParameterSpec]:
        """The node's arrays by field name, for the shape that enters."""
        return value_arrays(self, shape)


AnyNode = Annotated[Node, Member(Node)]


def bounds_of(node: Node) -> dict[str, Bound]:
    """Which fields of a node are parameters of its equations, and what bounds each."""
    found = {}
    for name, field in type(node).model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Bound):
                found[name] = mark
    return found


def value_arrays(node: Node, shape: Shape) -> dict[str, ParameterSpec]:
    """Those parameters of a node's equations that are arrays, not plain numbers."""
    found = {}
    for name, bound in bounds_of(node).items():
        value = getattr(node, name)
        if isinstance(value, Parameter):
            found[name] = ParameterSpec(fitting(name, value, shape), value.value, value.trainable, bound)
    return found


def fitting(name: str, value: Parameter, shape: Shape) -> Shape:
    """The shape of a parameter in a node of the given shape. Raises Misfit."""
    try:
        return value.shape(shape)
    except ValueError as error:
        mend = f"give one number, {shape[0] if shape else 1} (per channel) or shape {shape} (per neuron)"
        raise Misfit(str(error), mend, name) from None


class Input(Node):
    """Where activity enters: arrays (T, B, *shape)."""

    layer: ClassVar[bool] = False
    shape: tuple[int, ...]

    def model_post_init(self, context: Any) -> None:
        if any(size < 1 for size in self.shape):
            raise nested([Problem("shape", f"has a size below 1: {self.shape}", "give positive sizes")])

    def output_shape(self, shape: Shape) -> Shape:
        return self.shape


class Output(Node):
    """Where activity leaves: the sum of what enters it."""

    layer: ClassVar[bool] = False
