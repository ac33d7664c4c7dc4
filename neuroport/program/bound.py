"""A neuron of a model, bound to its numerics, its time step and its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from neuroport.dynamics import spike
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.kept import kept
from neuroport.dynamics.ops import Array
from neuroport.dynamics.tape import Graph, Node, Tape
from neuroport.dynamics.trace import Traced, trace
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import bounds_of
from neuroport.model.numerics import Numerics


@dataclass(frozen=True)
class BoundNeuron:
    """Everything about one population that decides a number.

    arrays: parameter name -> field, those of the neuron's parameters that are arrays. trainable: the
    names among them that training changes. biases: names of biases that act on its membrane, and
    whether each is trainable.
    """

    name: str
    neuron: Neuron
    numerics: Numerics
    step: Step
    shape: tuple[int, ...]
    arrays: Mapping[str, str]
    trainable: frozenset[str]
    biases: tuple[str, ...] = ()

    @property
    def state(self) -> tuple[str, ...]:
        return spike.state_fields(self.neuron, self.numerics)

    @property
    def records(self) -> tuple[str, ...]:
        """Names of what can be recorded: spikes, v, v_pre, every other state."""
        spikes = ("spikes",) if self.neuron.spiking else ()
        return (*spikes, "v", "v_pre", *(field for field in self.state if field != "v"))

    def coefficients(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """The coefficients of one step, from the model's arrays by name; numbers stay numbers.

        Arrays are those of any kind that ``ops`` knows, of the parameter's shape.
        """
        own = {field: getattr(self.neuron, field) for field in bounds_of(self.neuron)}
        own.update({field: parameters[name] for name, field in self.arrays.items()})
        derived = self.neuron.coefficients(SimpleNamespace(**own), self.step)
        found = {key: value for key, value in {**own, **derived}.items() if value is not None}
        if self.biases:
            axes = (1,) * (len(self.shape) - 1)
            total = None
            for name in self.biases:
                bias = parameters[name]
                bias = bias.reshape(self.shape[0], *axes) if axes and not isinstance(bias, Node) else bias
                total = bias if total is None else total + bias
            found["drive"] = found.get("gain", 1.0) * total
        return found

    @cached_property
    def _recorded(self) -> dict[str, Any]:
        tape = Tape()
        return self.coefficients({name: tape.input(name) for name in (*self.arrays, *self.biases)})

    @cached_property
    def coefficient_graph(self) -> Graph:
        """The coefficients that are arrays, over the parameters they come from."""
        return Graph.of({key: value for key, value in self._recorded.items() if isinstance(value, Node)})

    @cached_property
    def traced(self) -> Traced:
        """The recorded step and its reverse; cotangents for what trainable parameters reach."""
        values = {key: None if isinstance(value, Node) else float(value) for key, value in self._recorded.items()}
        trained = [key for key, node in self.coefficient_graph.outputs.items()
                   if self.trainable & set(Graph.of({key: node}).inputs)]
        return trace(self.neuron, self.numerics, values, trained)

    @cached_property
    def kept(self) -> Traced:
        """The same for kernels that can keep single bits."""
        return kept(self.traced)

    # one step, on arrays of any kind: see dynamics/spike.py

    def before(self, c: Any, s: Mapping[str, Array], x: Array) -> dict[str, Array]:
        return spike.before(self.neuron, self.numerics, c, dict(s), x)

    def after(self, c: Any, cut: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
        return spike.after(self.neuron, self.numerics, c, dict(cut))
