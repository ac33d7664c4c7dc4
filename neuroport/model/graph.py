"""The model: named nodes, edges with delays, one time step."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from neuroport.errors import NeuroportError, Problem, UnusualValue
from neuroport.model.check import check, infer_shapes
from neuroport.model.description import Description, nested, problems_of
from neuroport.model.kinds import Member
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import AnyNode, Misfit, Node, ParameterSpec
from neuroport.model.numerics import Numerics
from neuroport.model.sequence import expand
from neuroport.model.unusual import caller, unusual
from neuroport.model.values import Shape


class Edge(Description):
    """From ``source`` to ``target``, arriving ``delay`` steps later (zeros before that).

    In a cycle, the place of the delay says whether the bias of a connection acts in the first step: it does
    where the delay stands on the edge into the connection, and does not (as on Norse) where it stands on the
    edge out of it, which holds zeros at first. ``Recurrent(bias_at_start=...)`` is short for the two.
    """

    positional: ClassVar[int] = 3

    source: str
    target: str
    delay: int = Field(0, ge=0)

    @property
    def key(self) -> str:
        """The edge's name among states: ``source->target``."""
        return f"{self.source}->{self.target}"


def _as_edge(value: Any) -> Any:
    if isinstance(value, (tuple, list)) and 2 <= len(value) <= 3:
        return dict(zip(("source", "target", "delay"), value, strict=False))
    if not isinstance(value, (Edge, Mapping)):
        mend = "write [source, target], [source, target, delay], or a mapping of those"
        raise nested([Problem("", f"is no edge (got {value!r:.60})", mend)])
    return value


AnyEdge = Annotated[Edge, BeforeValidator(_as_edge)]


class Recurrent(Node):
    """A cycle in short form: ``neuron`` feeds back to itself through ``connection``, one step later.

    ``Recurrent(Linear(38), LIF(tau=20e-3))`` in a list of layers. Nothing comes back at t = 0 but,
    if ``bias_at_start``, the connection's bias.
    """

    connection: AnyNode
    neuron: AnyNode
    bias_at_start: bool = True

    def model_post_init(self, context: Any) -> None:
        if not isinstance(self.neuron, Neuron):
            wrong = f"is a {type(self.neuron).__name__}, no neuron"
            raise nested([Problem("neuron", wrong, "give the connection first: Recurrent(Linear(...), LIF(...))")])

    def output_shape(self, shape: Shape) -> Shape:
        mend = "use Model.sequential, or two nodes and the edges (neuron, connection, 1) and (connection, neuron)"
        raise Misfit("is a short form for lists of layers, no node of a graph", mend)


class Model(Description):
    """A spiking network, described once. No arrays: initial values are described, not held.

    nodes: by name. edges: ``Edge`` or (source, target) or (source, target, delay); several into one
    node add up; every cycle needs a delay. dt: time step in seconds. numerics: the default for all
    neurons. In JSON and YAML, ``input`` and ``layers`` may stand in place of nodes and edges.
    Raises InvalidModel with every problem.
    """

    also: ClassVar[tuple[str, ...]] = ("input", "layers")

    nodes: dict[str, AnyNode]
    edges: tuple[AnyEdge, ...]
    dt: float = Field(gt=0, allow_inf_nan=False)
    numerics: Numerics = Numerics()

    @classmethod
    def sequential(
        cls, input: Sequence[int] | int, dt: float, layers: Sequence[Any] | Mapping[str, Any],
        numerics: Numerics | Mapping[str, Any] | None = None,
    ) -> Self:
        """A chain of layers between one Input and one Output.

        input: shape without time and batch. layers: nodes, (name, node) pairs, or a mapping from
        names to nodes; unnamed ones are called ``0_linear``, ``1_lif``, ...
        """
        return cls.parse({"input": input, "layers": layers, "dt": dt,
                          **({} if numerics is None else {"numerics": numerics})})

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: Any) -> Any:
        if not isinstance(data, Mapping):
            return handler(data)
        problems: list[Problem] = []
        unread: set[str] = set()
        if "layers" in data or ("input" in data and "nodes" not in data):
            data, problems, unread = expand(data)
        try:
            model = handler(data)
        except ValidationError as error:
            problems += problems_of(error, cls)
        if problems:
            raise nested(problems + _salvaged(data, unread))
        problems = check(model.nodes, model.edges, model.dt, model.numerics)
        if problems:
            raise nested(problems)
        for sentence in unusual(model.nodes, model.dt):
            warnings.warn(sentence, UnusualValue, stacklevel=caller())
        return model

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape that leaves each node, without time and batch."""
        return infer_shapes(self.nodes, self.edges)[0].leaving

    @cached_property
    def parameters(self) -> dict[str, ParameterSpec]:
        """Every array of the model, "node.field", as it is described."""
        entering = infer_shapes(self.nodes, self.edges)[0].entering
        return {f"{name}.{field}": spec for name, node in self.nodes.items()
                for field, spec in node.arrays(entering[name]).items()}

    @cached_property
    def fingerprint(self) -> str:
        """A name for this description's content: equal for equal models."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def _salvaged(data: Mapping[str, Any], unread: set[str]) -> list[Problem]:
    """The problems of that part of a graph that can be read."""
    nodes: dict[str, Node | None] = dict.fromkeys(unread)
    given = data.get("nodes")
    for name, value in given.items() if isinstance(given, Mapping) else ():
        nodes[str(name)] = _read(Member(Node).validate, value)
    listed = data.get("edges")
    edges = [_read(lambda value: Edge.model_validate(_as_edge(value)), value)
             for value in (listed if isinstance(listed, Sequence) and not isinstance(listed, str) else [None])]
    dt = data.get("dt")
    numerics = _read(Numerics.model_validate, data.get("numerics", {}))
    return check(
        nodes, [edge for edge in edges if edge is not None],
        dt if isinstance(dt, float) and dt > 0 and numerics is not None else None, numerics or Numerics(),
        complete=None not in edges and isinstance(given, Mapping),
    )


def _read(reader: Callable[[Any], Any], value: Any) -> Any:
    """A part of a description; None where it cannot be read, which has been reported already."""
    try:
        return reader(value)
    except (ValidationError, PydanticCustomError, NeuroportError):
        return None
