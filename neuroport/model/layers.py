"""Stateless nodes: products, pooling, reshaping, scaling, dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from neuroport.dynamics.discretize import Step
from neuroport.errors import Problem
from neuroport.model.description import nested
from neuroport.model.nodes import Misfit, Node, ParameterSpec, fitting
from neuroport.model.values import AnyInitializer, Constant, Duration, KaimingUniform, Parameter, Shape, Value


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _sizes(value: Any, axes: int) -> tuple[int, ...]:
    """One whole number for all axes, or one for each. Raises what Pydantic reports."""
    each = (value,) * axes if isinstance(value, Integral) else value
    if not isinstance(each, (tuple, list)) or len(each) != axes or not all(map(_is_whole, each)):
        wrong, mend = ("whole number", "give 3") if axes == 1 else ("whole number or pair of them", "give 3 or [3, 3]")
        raise nested([Problem("", f"is no {wrong} (got {value!r:.60})", mend)])
    return tuple(map(int, each))


def _padding(value: Any, axes: int) -> Any:
    if isinstance(value, str) and value not in ("same", "valid"):
        raise nested([Problem("", f"is no padding (got {value!r:.60})", "give 'same', 'valid', or numbers such as 1")])
    return value if isinstance(value, str) else _sizes(value, axes)


Single = Annotated[tuple[int], BeforeValidator(lambda value: _sizes(value, 1))]
SinglePadding = Annotated[tuple[int] | Literal["same", "valid"], BeforeValidator(lambda value: _padding(value, 1))]
Pair = Annotated[tuple[int, int], BeforeValidator(lambda value: _sizes(value, 2))]
Padding = Annotated[tuple[int, int] | Literal["same", "valid"], BeforeValidator(lambda value: _padding(value, 2))]
Pads = tuple[tuple[int, int], ...]

# torch's default for the weights of Linear and convolutions
DEFAULT_WEIGHT = KaimingUniform(gain=1 / math.sqrt(3))


def _without_the_inputs(layer: type[Node], args: Sequence[Any], count: int) -> str:
    """torch's layers are given the size of their input first; here it is inferred."""
    if len(args) != count:
        return ""
    theirs, ours = ", ".join(map(repr, args)), ", ".join(map(repr, args[1:]))
    return f"torch's {layer.__name__}({theirs}) is {layer.__name__}({ours}) here, which finds its inputs by itself"


class Linear(Node):
    """y = W x + b; W (out_features, in_features), b (out_features,).

    in_features is inferred where it is not given. ``trainable`` freezes both arrays.
    """

    positional: ClassVar[int] = 1

    out_features: int = Field(gt=0)
    in_features: int | None = Field(None, gt=0)
    bias: bool = True
    weight_init: AnyInitializer = DEFAULT_WEIGHT
    bias_init: AnyInitializer = Constant(value=0.0)
    trainable: bool = True

    @classmethod
    def _meant_by(cls, args: Sequence[Any]) -> str:
        return _without_the_inputs(cls, args, 2)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise Misfit(f"needs input of one axis, gets shape {shape}", "put Flatten() before it")
        if self.in_features not in (None, shape[0]):
            mend = f"set in_features={shape[0]}, or leave it out"
            raise Misfit(f"expects {self.in_features} inputs, gets {shape[0]}", mend, "in_features")
        return (self.out_features,)

    def arrays(self, shape: Shape) -> dict[str, ParameterSpec]:
        fans = (shape[0], self.out_features)
        weight = ParameterSpec((self.out_features, shape[0]), self.weight_init, self.trainable, fans=fans)
        if not self.bias:
            return {"weight": weight}
        return {"weight": weight,
                "bias": ParameterSpec((self.out_features,), self.bias_init, self.trainable, fans=fans)}


class Window(Node):
    """What convolution and pooling share: channels first, and a window that slides over the axes behind them."""

    abstract = True
    axes: ClassVar[str] = "HW"

    def _fits(self, shape: Shape) -> None:
        words = f"(C, {', '.join(self.axes)})"
        if len(shape) != 1 + len(self.axes):
            raise Misfit(f"needs input {words}, gets shape {shape}", f"give Input(shape={words})")

    @staticmethod
    def _slide(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
        steps = (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1
        if steps < 1:
            raise Misfit(
                f"a window of {dilation * (kernel - 1) + 1} does not fit into {size + sum(padding)}",
                "use a smaller kernel, or padding", "kernel_size",
            )
        return steps


class Convolution(Window):
    """What Conv1d and Conv2d share. Fields that a window has along each axis are tuples of one size an axis."""

    abstract = True

    out_channels: int = Field(gt=0)
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    groups: int = Field(1, gt=0)
    bias: bool = True
    weight_init: AnyInitializer = DEFAULT_WEIGHT
    bias_init: AnyInitializer = Constant(value=0.0)
    trainable: bool = True

    def model_post_init(self, context: Any) -> None:
        found = [Problem(name, f"must be at least 1 (got {getattr(self, name)})", "give positive integers")
                 for name in ("kernel_size", "stride", "dilation") if min(getattr(self, name)) < 1]
        if not isinstance(self.padding, str) and min(self.padding) < 0:
            found.append(Problem("padding", f"must not be negative (got {self.padding})", "give 0 or more"))
        if self.out_channels % self.groups:
            wrong = f"{self.groups} groups do not divide {self.out_channels} output channels"
            found.append(Problem("groups", wrong, "choose a divisor"))
        if found:
            raise nested(found)

    @classmethod
    def _meant_by(cls, args: Sequence[Any]) -> str:
        return _without_the_inputs(cls, args, 3)

    def pads(self, shape: Shape) -> Pads:
        """Zeros (before, after) along each axis of an input (C, *axes)."""
        if self.padding == "valid":
            return ((0, 0),) * len(self.axes)
        if self.padding == "same":
            along = zip(shape[1:], self.kernel_size, self.stride, self.dilation, strict=True)
            return tuple(map(_same, *zip(*along, strict=True)))
        return tuple((size, size) for size in self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        self._fits(shape)
        channels, *sizes = shape
        if channels % self.groups:
            raise Misfit(f"{self.groups} groups do not divide {channels} input channels", "choose a divisor", "groups")
        along = zip(sizes, self.kernel_size, self.stride, self.pads(shape), self.dilation, strict=True)
        return (self.out_channels, *(self._slide(*axis) for axis in along))

    def arrays(self, shape: Shape) -> dict[str, ParameterSpec]:
        area = math.prod(self.kernel_size)
        fans = (shape[0] // self.groups * area, self.out_channels // self.groups * area)
        own = (self.out_channels, shape[0] // self.groups, *self.kernel_size)
        weight = ParameterSpec(own, self.weight_init, self.trainable, fans=fans)
        if not self.bias:
            return {"weight": weight}
        return {"weight": weight,
                "bias": ParameterSpec((self.out_channels,), self.bias_init, self.trainable, fans=fans)}


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros (before, after) an axis under which ceil(size / stride) windows fit; the odd one stands after."""
    steps = -(-size // stride)
    total = max((steps - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


class Conv1d(Convolution):
    """Cross-correlation over (C, L); weight (out_channels, C / groups, kernel_size), bias (out_channels,).

    padding: an integer, "valid" (none) or "same", as in Conv2d.
    """

    axes: ClassVar[str] = "L"

    out_channels: int = Field(gt=0)
    kernel_size: Single
    stride: Single = (1,)
    padding: SinglePadding = (0,)
    dilation: Single = (1,)


class Conv2d(Convolution):
    """Cross-correlation over (C, H, W); weight (out_channels, C / groups, *kernel_size), bias (out_channels,).

    padding: an integer, a pair (rows, columns), "valid" (none) or "same": ceil(size / stride) steps along
    each axis, with as few zeros as they need, half of them before and the odd one after. That is what
    torch does at stride 1 (it refuses others) and what TensorFlow and jax do at any stride.
    """

    out_channels: int = Field(gt=0)
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)


class Pool2d(Window):
    """A window over (C, H, W), each channel alone. stride: kernel_size where not given."""

    abstract = True

    kernel_size: Pair
    stride: Pair | None = None
    padding: Pair = (0, 0)

    def model_post_init(self, context: Any) -> None:
        found = [Problem(name, f"must be at least 1 (got {getattr(self, name)})", "give positive integers")
                 for name in ("kernel_size", "stride") if getattr(self, name) and min(getattr(self, name)) < 1]
        if min(self.padding) < 0:
            found.append(Problem("padding", f"must not be negative (got {self.padding})", "give 0 or more"))
        if found:
            raise nested(found)

    @property
    def strides(self) -> tuple[int, int]:
        return self.stride or self.kernel_size

    def output_shape(self, shape: Shape) -> Shape:
        self._fits(shape)
        channels, height, width = shape
        (kh, kw), (sh, sw), (ph, pw) = self.kernel_size, self.strides, self.padding
        return (channels, self._slide(height, kh, sh, (ph, ph), 1), self._slide(width, kw, sw, (pw, pw), 1))


class SumPool2d(Pool2d):
    """The sum of each window."""


class AvgPool2d(Pool2d):
    """The mean of each window, padding zeros counted (as NIR and torch do)."""


class Flatten(Node):
    """The axes from start_dim to end_dim as one, the last running fastest; all axes where not said otherwise.

    Axes are those of a sample, counted from 0 as in NIR (or from the end: -1 is the last).
    """

    start_dim: int = 0
    end_dim: int = -1

    def output_shape(self, shape: Shape) -> Shape:
        if not shape and (self.start_dim, self.end_dim) == (0, -1):
            return (1,)
        found = []
        for name, axis in (("start_dim", self.start_dim), ("end_dim", self.end_dim)):
            if not -len(shape) <= axis < len(shape):
                mend = f"give 0 to {len(shape) - 1}; the batch is no axis of a sample" if shape else "leave it out"
                raise Misfit(f"is {axis}, the input has {len(shape)} axes: {shape}", mend, name)
            found.append(axis % len(shape))
        first, last = found
        if first > last:
            raise Misfit(f"lies behind end_dim in an input of shape {shape}", "give start_dim <= end_dim", "start_dim")
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


class Scale(Node):
    """y = scale * x, elementwise; scale a number, per channel or per neuron."""

    scale: Value


class Delay(Node):
    """Passes its input on ``delay`` seconds later; zeros before that.

    delay: one number, one per channel or one per neuron (a list, or nested lists), each a whole number of
    steps dt; frozen. What is on its way stands in the state of the edges that lead into it, whose own
    delays add up with it.
    """

    delay: Duration

    def output_shape(self, shape: Shape) -> Shape:
        self._seconds(shape)
        return shape

    def lags(self, shape: Shape, step: Step) -> np.ndarray:
        """The delay in steps; broadcasts to ``shape``. Raises Misfit."""
        seconds = self._seconds(shape)
        steps, exact = step.whole_steps(seconds)
        if not exact.all():
            asked = float(seconds[~exact].flat[0])
            below = math.floor(asked / step.dt)
            near = f"{below * step.dt:g} s ({below} steps) or {(below + 1) * step.dt:g} s ({below + 1})"
            raise Misfit(f"{asked:g} s is no whole number of steps of dt = {step.dt:g} s",
                         f"give {near}, or another dt", "delay")
        return steps

    def _seconds(self, shape: Shape) -> np.ndarray:
        own = fitting("delay", Parameter(value=self.delay, per="layer"), shape)
        return np.asarray(self.delay, dtype=np.float64).reshape(own)


class Dropout(Node):
    """In training, each unit is silenced with probability ``p`` and the others grow by 1 / (1 - p).

    One mask per sample, the same at every time step; drawn from the shared counter-based hash, so
    that every engine silences the same units. Outside training: nothing.
    """

    p: float = Field(0.5, ge=0, lt=1)
