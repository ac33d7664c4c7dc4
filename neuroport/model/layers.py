"""Stateless nodes: products, pooling, reshaping, scaling, dropout."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from neuroport.errors import Problem
from neuroport.model.description import nested
from neuroport.model.nodes import Misfit, Node, ParameterSpec
from neuroport.model.values import AnyInitializer, Constant, KaimingUniform, Shape, Value


def _as_pair(value: Any) -> Any:
    """One whole number for both axes, or two. Raises what Pydantic reports."""
    pair = (value, value) if isinstance(value, Integral) else value
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(_is_whole, pair)):
        raise nested([Problem("", f"is no whole number or pair of them (got {value!r:.60})", "give 3 or [3, 3]")])
    return tuple(map(int, pair))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _as_padding(value: Any) -> Any:
    if isinstance(value, str) and value not in ("same", "valid"):
        raise nested([Problem("", f"is no padding (got {value!r:.60})", "give 'same', 'valid', or numbers such as 1")])
    return value if isinstance(value, str) else _as_pair(value)


Pair = Annotated[tuple[int, int], BeforeValidator(_as_pair)]
Padding = Annotated[tuple[int, int] | Literal["same", "valid"], BeforeValidator(_as_padding)]

# torch's default for the weights of Linear and Conv2d
DEFAULT_WEIGHT = KaimingUniform(gain=1 / math.sqrt(3))


class Linear(Node):
    """y = W x + b; W (out_features, in_features), b (out_features,).

    in_features is inferred where it is not given. ``trainable`` freezes both arrays.
    """

    out_features: int = Field(gt=0)
    in_features: int | None = Field(None, gt=0)
    bias: bool = True
    weight_init: AnyInitializer = DEFAULT_WEIGHT
    bias_init: AnyInitializer = Constant(value=0.0)
    trainable: bool = True

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
    """What convolution and pooling share: input (C, H, W), a window that slides over H and W."""

    abstract = True

    def _image(self, shape: Shape) -> tuple[int, int, int]:
        if len(shape) != 3:
            raise Misfit(f"needs input (C, H, W), gets shape {shape}", "give Input(shape=(C, H, W))")
        return shape

    @staticmethod
    def _slide(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
        steps = (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1
        if steps < 1:
            raise Misfit(
                f"a window of {dilation * (kernel - 1) + 1} does not fit into {size + sum(padding)}",
                "use a smaller kernel, or padding", "kernel_size",
            )
        return steps


class Conv2d(Window):
    """Cross-correlation over (C, H, W); weight (out_channels, C / groups, *kernel_size), bias (out_channels,).

    padding: an integer, a pair (rows, columns), "valid" (none) or "same" (stride 1 alone).
    """

    out_channels: int = Field(gt=0)
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
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
        if self.padding == "same" and self.stride != (1, 1):
            mend = "give the padding as numbers; libraries disagree on what it would be"
            found.append(Problem("padding", "'same' is defined for stride 1 alone", mend))
        if self.out_channels % self.groups:
            wrong = f"{self.groups} groups do not divide {self.out_channels} output channels"
            found.append(Problem("groups", wrong, "choose a divisor"))
        if found:
            raise nested(found)

    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros (before, after) the rows and the columns; 'same' puts the odd one after."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
        rows, columns = self.padding
        return (rows, rows), (columns, columns)

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = self._image(shape)
        if channels % self.groups:
            raise Misfit(f"{self.groups} groups do not divide {channels} input channels", "choose a divisor", "groups")
        (top, bottom), (left, right) = self.pads()
        (kh, kw), (sh, sw), (dh, dw) = self.kernel_size, self.stride, self.dilation
        rows = self._slide(height, kh, sh, (top, bottom), dh)
        return (self.out_channels, rows, self._slide(width, kw, sw, (left, right), dw))

    def arrays(self, shape: Shape) -> dict[str, ParameterSpec]:
        area = self.kernel_size[0] * self.kernel_size[1]
        fans = (shape[0] // self.groups * area, self.out_channels // self.groups * area)
        own = (self.out_channels, shape[0] // self.groups, *self.kernel_size)
        weight = ParameterSpec(own, self.weight_init, self.trainable, fans=fans)
        if not self.bias:
            return {"weight": weight}
        return {"weight": weight,
                "bias": ParameterSpec((self.out_channels,), self.bias_init, self.trainable, fans=fans)}


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
        channels, height, width = self._image(shape)
        (kh, kw), (sh, sw), (ph, pw) = self.kernel_size, self.strides, self.padding
        return (channels, self._slide(height, kh, sh, (ph, ph), 1), self._slide(width, kw, sw, (pw, pw), 1))


class SumPool2d(Pool2d):
    """The sum of each window."""


class AvgPool2d(Pool2d):
    """The mean of each window, padding zeros counted (as NIR and torch do)."""


class Flatten(Node):
    """All axes as one, the last running fastest."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Scale(Node):
    """y = scale * x, elementwise; scale a number, per channel or per neuron."""

    scale: Value


class Dropout(Node):
    """In training, each unit is silenced with probability ``p`` and the others grow by 1 / (1 - p).

    One mask per sample, the same at every time step; drawn from the shared counter-based hash, so
    that every engine silences the same units. Outside training: nothing.
    """

    p: float = Field(0.5, ge=0, lt=1)
