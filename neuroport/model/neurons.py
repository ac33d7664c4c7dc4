"""Neurons: parameters and equations, written once. Every engine derives from what stands here.

Equations see coefficients ``c`` (the neuron's own fields and what ``coefficients`` derives from
them), the state ``s`` (a NamedTuple) and the input ``x``, and are written in ordinary operators and
``neuroport.dynamics.ops``. Units: seconds for time constants, the model's own unit for potentials.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import field_validator

from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.errors import Problem
from neuroport.model.description import nested
from neuroport.model.nodes import Node
from neuroport.model.numerics import Numerics
from neuroport.model.surrogates import AnySurrogate, SuperSpike
from neuroport.model.values import OptionalDecay, OptionalTime, Time, Value


class Neuron(Node):
    """A population of neurons of one kind. A user's own neuron is a subclass like those below.

    state: names of the state variables; one of them is ``v``, the potential that is compared.
    spiking: False for readouts whose output is ``v`` itself.
    fixed: numerics that belong to the equations themselves, whatever the model's are.
    """

    abstract: ClassVar[bool] = True
    state: ClassVar[tuple[str, ...]] = ("v",)
    spiking: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, Any]] = {}
    State: ClassVar[Any]

    numerics: Numerics | None = None

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls.State = namedtuple("State", cls.state)  # type: ignore[misc]

    @field_validator("numerics")
    @classmethod
    def _as_fixed(cls, value: Numerics | None) -> Numerics | None:
        """The node's own numerics may not contradict what is fixed."""
        own = {} if value is None else {name: getattr(value, name) for name in value.model_fields_set}
        found = [Problem(name, f"is {cls.fixed[name]!r} for every {cls.__name__} (got {given!r})", "leave it out")
                 for name, given in own.items() if name in cls.fixed and given != cls.fixed[name]]
        if found:
            raise nested(found)
        return value

    def numerics_under(self, base: Numerics) -> Numerics:
        """What holds for this node in a model of numerics ``base``: fixed, the node's own, then the model's."""
        own = base if self.numerics is None else self.numerics.over(base)
        return Numerics(**self.fixed).over(own) if self.fixed else own

    def coefficients(self, p: Any, step: Step) -> dict[str, Array]:
        """What the equations need beside the parameters: decays and gains of one step.

        p: the neuron's parameters as attributes, numbers or arrays. step: see ``Step``.
        """
        return {}

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        """State before the spike, from coefficients, state and input. Must be overridden."""
        raise TypeError(f"{type(self).__name__} must define integrate(self, c, s, x)")

    def threshold(self, c: Any, s: Any) -> Array:
        """The potential above which the neuron spikes; adaptive neurons read the state."""
        return c.v_threshold

    def jump(self, c: Any, s: Any, z: Array) -> Any:
        """What a spike ``z`` changes beside the reset of ``v``."""
        return s


class SpikingNeuron(Neuron):
    """A neuron with a threshold. v_reset matters where the reset is "hard"."""

    abstract: ClassVar[bool] = True

    v_threshold: Value = 1.0
    v_reset: Value = 0.0
    surrogate: AnySurrogate = SuperSpike()


def _one_form(node: Any, tau: str, decay: str) -> None:
    """A low-pass is given by its time constant or by its decay per step, not both, not neither."""
    given = [name for name in (tau, decay) if getattr(node, name) is not None]
    if len(given) != 1:
        wrong = "is given twice, as a time constant and as a decay" if given else "is missing"
        mend = f"give {tau} in seconds, or {type(node).__name__}.from_decay(...)"
        raise nested([Problem(tau, wrong, mend)])


class Threshold(Neuron):
    """A spike in each step in which the input is above the threshold: z = 1 where x > v_threshold, else 0.

    It remembers nothing and resets nothing, whatever the model's numerics; its ``v`` is its input. Of
    the numerics, only ``comparison`` matters.
    """

    fixed: ClassVar[Mapping[str, Any]] = {
        "reset": "none", "reset_delay": 0, "reset_rule": "plain", "multi_spike": False, "output_delay": 0,
    }

    abstract: ClassVar[bool] = False

    v_threshold: Value = 1.0
    surrogate: AnySurrogate = SuperSpike()

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        return s._replace(v=x)


class IF(SpikingNeuron):
    """Integrate and fire: v <- v + r x.

    x is the charge that arrives within the step, so the gain per step is r, whatever dt (the
    reading of Norse, Nengo, sinabs and SpikingJelly).
    """

    r: Value = 1.0

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        return s._replace(v=s.v + c.r * x)


class I(Neuron):  # noqa: E742 - NIR's name
    """Integrator: v <- v + r x, without leak, threshold or reset; its output is v.

    x is the charge that arrives within the step, as in IF.
    """

    abstract: ClassVar[bool] = False
    spiking: ClassVar[bool] = False

    r: Value = 1.0

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        return s._replace(v=s.v + c.r * x)


class _Leak(Node):
    """Fields of a leaky membrane: tau v' = (v_leak - v) + r x."""

    abstract: ClassVar[bool] = True
    positional: ClassVar[int] = 1

    tau: OptionalTime = None
    r: Value = 1.0
    v_leak: Value = 0.0
    decay: OptionalDecay = None

    def model_post_init(self, context: Any) -> None:
        _one_form(self, "tau", "decay")

    @classmethod
    def from_decay(cls, beta: Any, **fields: Any) -> Self:
        """By the decay per step itself: v <- beta v + r x, as snnTorch's Leaky and Spyx's LIF."""
        return cls(decay=beta, **fields)

    def coefficients(self, p: Any, step: Step) -> dict[str, Array]:
        alpha, rise, gain = step.low_pass(p.tau, p.decay)
        return {"alpha": alpha, "gain": p.r * gain, "leak": rise * p.v_leak}

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        return s._replace(v=c.alpha * s.v + c.gain * x + c.leak)


class LIF(_Leak, SpikingNeuron):
    """Leaky integrate and fire: tau v' = (v_leak - v) + r x."""

    abstract: ClassVar[bool] = False


class LI(_Leak, Neuron):
    """Leaky integrator: the membrane of a LIF that never spikes; its output is v."""

    abstract: ClassVar[bool] = False
    spiking: ClassVar[bool] = False


class _Synapse(Node):
    """Fields of a current-based membrane: tau_syn i' = -i + w_in x; tau_mem v' = (v_leak - v) + r i."""

    abstract: ClassVar[bool] = True

    tau_syn: OptionalTime = None
    tau_mem: OptionalTime = None
    r: Value = 1.0
    v_leak: Value = 0.0
    w_in: Value = 1.0
    decay_syn: OptionalDecay = None
    decay_mem: OptionalDecay = None

    def model_post_init(self, context: Any) -> None:
        _one_form(self, "tau_syn", "decay_syn")
        _one_form(self, "tau_mem", "decay_mem")

    @classmethod
    def from_decay(cls, alpha: Any, beta: Any, **fields: Any) -> Self:
        """By the decays per step: i <- alpha i + w_in x; v <- beta v + r i, as snnTorch's Synaptic."""
        return cls(decay_syn=alpha, decay_mem=beta, **fields)

    def coefficients(self, p: Any, step: Step) -> dict[str, Array]:
        alpha_syn, _, gain_syn = step.low_pass(p.tau_syn, p.decay_syn)
        alpha, rise, gain = step.low_pass(p.tau_mem, p.decay_mem)
        return {
            "alpha_syn": alpha_syn, "gain_syn": p.w_in * gain_syn,
            "alpha": alpha, "gain": p.r * gain, "leak": rise * p.v_leak,
        }

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        i = c.alpha_syn * s.i + c.gain_syn * x
        return s._replace(i=i, v=c.alpha * s.v + c.gain * i + c.leak)


class CubaLIF(_Synapse, SpikingNeuron):
    """Current-based LIF: a synapse's current, then the membrane, which sees the new current."""

    abstract: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]] = ("v", "i")


class CubaLI(_Synapse, Neuron):
    """Current-based leaky integrator: the membrane of a CubaLIF that never spikes."""

    abstract: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]] = ("v", "i")
    spiking: ClassVar[bool] = False


class ALIF(_Leak, SpikingNeuron):
    """LIF with an adaptive threshold: theta = v_threshold + beta a; a <- rho a + z (Bellec et al. 2020).

    rho is the decay of tau_adapt (s). A soft reset takes the threshold that was crossed.
    """

    abstract: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]] = ("v", "a")

    tau: OptionalTime = None  # again, so that it stays the first: ALIF(20e-3)
    tau_adapt: Time = 200e-3
    beta: Value = 0.2

    @classmethod
    def from_decay(cls, decay: Any, **fields: Any) -> Self:  # type: ignore[override]
        """By the membrane's decay per step; ``beta`` is the strength of the adaptation here."""
        return cls(decay=decay, **fields)

    def coefficients(self, p: Any, step: Step) -> dict[str, Array]:
        return {**super().coefficients(p, step), "rho": step.low_pass(p.tau_adapt).decay}

    def threshold(self, c: Any, s: Any) -> Array:
        return c.v_threshold + c.beta * s.a

    def jump(self, c: Any, s: Any, z: Array) -> Any:
        return s._replace(a=c.rho * s.a + z)
