"""Values of parameters: plain numbers, or arrays described by shape and initial value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema

from neuroport.errors import Problem
from neuroport.model.description import Description, nested, problems_of
from neuroport.model.kinds import Kind, Member

Shape = tuple[int, ...]


class Initializer(Kind):
    """How initial values are drawn; each kind is one formula in ``program/initialize.py``."""


class Constant(Initializer):
    """The same value everywhere."""

    value: float = 0.0


class Uniform(Initializer):
    """Uniform in [low, high)."""

    low: float
    high: float


class Normal(Initializer):
    """Gaussian."""

    mean: float = 0.0
    std: float = Field(1.0, ge=0)


class KaimingUniform(Initializer):
    """Uniform in +- gain sqrt(3 / fan_in). gain = 1/sqrt(3) is torch's default for Linear (He et al. 2015)."""

    gain: float = Field(1.0, gt=0)


class XavierUniform(Initializer):
    """Uniform in +- gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""

    gain: float = Field(1.0, gt=0)


class LecunNormal(Initializer):
    """Gaussian with variance gain^2 / fan_in."""

    gain: float = Field(1.0, gt=0)


class Orthogonal(Initializer):
    """Rows or columns orthonormal, times gain (Saxe et al. 2014)."""

    gain: float = Field(1.0, gt=0)


class FluctuationDriven(Initializer):
    """Gaussian weights under which the neurons that follow do spike.

    The standard deviation is chosen so that the membrane of the next population, driven by
    ``fan_in`` independent inputs that are 1 with probability ``input_rate`` per step, fluctuates
    with sigma = threshold / kappa: w_std = threshold / (kappa sqrt(fan_in input_rate sum_k h_k^2)),
    h the response of the membrane to one unit input. Where nothing that spikes follows, sigma is
    1 / kappa. kappa 1 to 2 keeps layers active (Rossbroich, Gygax & Zenke 2022).
    """

    input_rate: float = Field(0.05, gt=0, le=1)
    kappa: float = Field(1.0, gt=0)


AnyInitializer = Annotated[Initializer, Member(Initializer)]


def _as_initial(value: Any) -> Any:
    value = _python(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return _regular(_tuples(value))
    return Member(Initializer).validate(value)


def _as_value(value: Any) -> Any:
    value = _python(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    if isinstance(value, Parameter):
        return value
    if isinstance(value, (list, tuple)):
        value = {"value": value, "trainable": False}
    if isinstance(value, Mapping):
        try:
            return Parameter.model_validate(value)
        except ValidationError as error:
            raise nested(problems_of(error, Parameter)) from None
    wrong = f"is no number, list or Parameter (got {value!r:.60})"
    raise nested([Problem("", wrong, "give a number, a list of numbers, or Parameter(value=..., trainable=True)")])


def _number(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise nested([Problem("", "is too large for a number", "give a smaller one")]) from None


def _python(value: Any) -> Any:
    """NumPy numbers and arrays as Python's."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _tuples(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise nested([Problem("", f"{value!r:.60} stands among the numbers", "give numbers alone")])
    return _number(value)


def _regular(value: Any) -> Any:
    """Nested tuples, all of one length at each depth."""
    try:
        np.asarray(value, dtype=float)
    except ValueError:
        raise nested([Problem("", "its lists differ in length", "give lists of one length at each depth")]) from None
    return value


_INITIAL_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "number"}, {"type": "array"}, {"type": "object", "title": "Initializer"}]
}


class Parameter(Description):
    """A parameter that is an array: one value per layer, per channel or per neuron.

    value: a number, nested lists of the parameter's own shape, or an initializer.
    per: "layer" (one value, shape ()), "channel" (first axis), "neuron" (the whole shape);
    with nested lists it follows from their shape.
    trainable: whether training changes it. Time constants and decays stay valid by construction.
    """

    value: Annotated[Any, BeforeValidator(_as_initial), WithJsonSchema(_INITIAL_SCHEMA)]
    per: Literal["layer", "channel", "neuron"] = "neuron"
    trainable: bool = True

    def shape(self, shape: Shape) -> Shape:
        """The array's shape for a node of the given shape. Raises ValueError where it does not fit."""
        if isinstance(self.value, tuple):
            given = np.asarray(self.value, dtype=float).shape
            channels = (shape[0], *(1,) * (len(shape) - 1)) if shape else ()
            if given in ((), shape, channels):
                return given
            if len(given) == 1 and shape and given[0] == shape[0]:
                return channels
            raise ValueError(f"has shape {given}, the node has {shape}")
        if self.per == "layer" or not shape:
            return ()
        return shape if self.per == "neuron" else (shape[0], *(1,) * (len(shape) - 1))


class Bound(Enum):
    """What keeps a parameter valid, also while it is trained."""

    FREE = "free"
    TIME = "time"  # seconds, > 0 (>= dt under Euler)
    DECAY = "decay"  # per step, in [0, 1]


def numbers_in(value: Any) -> list[float]:
    """The numbers that a value states outright, without those an initializer will draw."""
    if isinstance(value, Parameter):
        value = value.value
    if isinstance(value, Constant):
        value = value.value
    if isinstance(value, Sequence):
        return [number for item in value for number in numbers_in(item)]
    return [float(value)] if isinstance(value, (int, float)) else []


def _check(bound: Bound) -> AfterValidator:
    def check(value: Any) -> Any:
        for number in numbers_in(value):
            if not math.isfinite(number):
                raise nested([Problem("", f"must be finite (got {number})", "give a finite number")])
            if bound is Bound.TIME and number <= 0:
                wrong = f"a time constant must be > 0 seconds (got {number})"
                raise nested([Problem("", wrong, "give seconds, such as 20e-3")])
            if bound is Bound.DECAY and not 0 <= number <= 1:
                wrong = f"a decay per step must lie in [0, 1] (got {number})"
                raise nested([Problem("", wrong, "give a decay such as 0.9, or tau in seconds")])
        return value

    return AfterValidator(check)


def _as_duration(value: Any) -> Any:
    value = _python(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, list, tuple)):
        mend = "give seconds, such as 2e-3, or a list of them; they are not trained"
        raise nested([Problem("", f"is no number or list of numbers (got {value!r:.60})", mend)])
    found = _regular(_tuples(value)) if isinstance(value, (list, tuple)) else _number(value)
    for number in numbers_in(found):
        if not 0 <= number < math.inf:
            raise nested([Problem("", f"a duration must be 0 s or more (got {number})", "give seconds, such as 2e-3")])
    return found


def _optional(value: Any) -> Any:
    return None if value is None else _as_value(value)


_SCHEMA = WithJsonSchema({"anyOf": [*_INITIAL_SCHEMA["anyOf"][:2], {"type": "object", "title": "Parameter"}]})
Value = Annotated[Any, BeforeValidator(_as_value), _check(Bound.FREE), _SCHEMA, Bound.FREE]
Time = Annotated[Any, BeforeValidator(_as_value), _check(Bound.TIME), _SCHEMA, Bound.TIME]
Duration = Annotated[Any, BeforeValidator(_as_duration), WithJsonSchema({"anyOf": _INITIAL_SCHEMA["anyOf"][:2]})]
OptionalTime = Annotated[Any, BeforeValidator(_optional), _check(Bound.TIME), _SCHEMA, Bound.TIME]
OptionalDecay = Annotated[Any, BeforeValidator(_optional), _check(Bound.DECAY), _SCHEMA, Bound.DECAY]
