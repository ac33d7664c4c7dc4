"""A compiled model as a ``torch.nn.Module``, for anybody's torch code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from neuroport.errors import InvalidData, InvalidModel, Problem
from neuroport.model.layers import Dropout
from neuroport.model.values import Bound
from neuroport.program.arrays import check_run
from neuroport.program.bounds import to_free, to_valid
from neuroport.program.lower import Program, lower
from neuroport_torch.arena import Fresh
from neuroport_torch.runner import Compiled

Tensor = torch.Tensor
Tensors = dict[str, Tensor]
DTYPES, DEVICES = (torch.float32, torch.float64), ("cpu", "cuda")


class Held(nn.Module):
    """The arrays of one node: trainable ones are parameters, frozen ones buffers."""

    def extra_repr(self) -> str:
        own = {**dict(self.named_parameters(recurse=False)), **dict(self.named_buffers(recurse=False))}
        return ", ".join(f"{name}={tuple(value.shape)}" for name, value in own.items())


class Network(nn.Module):
    """A model's run as a layer of torch: ``network(x)`` for x (T, B, *shape) gives the outputs, (T, B, *shape).

    Its parameters are the model's, by "node.parameter". What must stay within bounds while it is trained, a time
    constant or a decay, is held by the free value that stands for it (``program.bounds``), as "node.free_tau":
    every value of it is valid, so that any optimizer may move it, and moves it as ``npt.fit`` does. ``export`` gives
    the valid values. Frozen arrays are buffers. In ``train()`` dropout draws from torch's random numbers; in
    ``eval()`` there is none.
    """

    def __init__(self, compiled: Compiled, parameters: Mapping[str, np.ndarray]):
        """parameters: every array of the model, valid. Raises InvalidData where one lies at the end of its bound."""
        super().__init__()
        program = compiled.program
        self._model, self._fused, self._rounded = program.model, compiled.fused, compiled.rounded
        self._compiled: Compiled | None = compiled
        self.register_buffer("_here", torch.empty(0, dtype=compiled.dtype, device=compiled.device), persistent=False)
        free = to_free(program, {name: np.asarray(value, np.float64) for name, value in parameters.items()})
        for name in program.parameters:
            tensor = torch.tensor(np.asarray(free.get(name, parameters[name])), dtype=compiled.dtype,
                                  device=compiled.device)
            node, attribute = _place(program, name)
            held = self._held(node)
            if hasattr(held, attribute):
                raise _taken(name, attribute)
            if name in free:
                held.register_parameter(attribute, nn.Parameter(tensor))
            else:
                held.register_buffer(attribute, tensor)

    def _held(self, node: str) -> nn.Module:
        """The module of a node, made where there is none. Dots in its name go deeper."""
        found: nn.Module = self
        for part in node.split("."):
            if part not in found._modules:
                if not part or hasattr(found, part):
                    raise _taken(node, part)
                found.add_module(part, Held())
            found = found.get_submodule(part)
        return found

    # --- running -----------------------------------------------------------------------------------

    def forward(self, inputs: Any, state: Mapping[str, Tensor] | None = None, *, record: Sequence[Any] = ()) -> Any:
        """The outputs; with a state or records asked for, ``(outputs, state)`` or ``(outputs, state, records)``.

        inputs: (T, B, *shape), or a dict of them by Input node. state: of the call before, or ``zero_state(B)``;
        None: zeros. record: as in ``npt.run``. Outputs (T, B, *shape), a dict by Output node where there are several,
        and records "spikes" are differentiable, in inputs, state and parameters; so is the state after the last step:
        ``detach`` it where no gradient is to pass on. Other records are there to be looked at. No result
        is written over later; records "spikes" may share memory with the outputs. Raises InvalidData where shapes or
        names do not fit.
        """
        return self._run(inputs, state, record)

    @torch.compiler.disable(reason="neuroport's kernels are compiled already")  # type: ignore[untyped-decorator]
    def _run(self, inputs: Any, state: Mapping[str, Tensor] | None, record: Sequence[Any]) -> Any:
        compiled = self.compiled
        program = compiled.program
        fed = inputs if isinstance(inputs, Mapping) else {next(iter(program.inputs)): inputs}
        self._check(fed, state)
        asked = record if isinstance(record, str) else list(record)
        given = check_run(program, self._outlines, _outlines(inputs), _outlines(state), asked)
        held = compiled.zero_state(given.batch) if state is None else self._put(state)
        spikes = [place for place in given.record if place[1] == "spikes"]  # are what leaves the node
        wanted = {*program.outputs, *(node for node, _ in spikes)}
        with torch.autocast(compiled.device.type, enabled=False):  # what is computed in is decided: see ``DTYPES``
            activity = compiled.run(
                self._valid(), held, self._put(fed), Fresh(), [place for place in given.record if place not in spikes],
                self._masks(given.batch), wanted=wanted,
            )
        outputs = {name: activity.values[name] for name in program.outputs}
        found = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        if state is None and not given.record:
            return found
        if not given.record:
            return found, activity.state
        records: dict[str, Tensors] = {}
        for node, what in given.record:
            trace = activity.values[node] if what == "spikes" else activity.records[node, what].detach()
            records.setdefault(node, {})[what] = trace
        return found, activity.state, records

    @property
    def device(self) -> torch.device:
        """Where its parameters lie, and inputs must."""
        return self._here.device

    def zero_state(self, batch: int) -> Tensors:
        """The state before the first step, by name."""
        return self.compiled.zero_state(batch)

    @property
    def compiled(self) -> Compiled:
        """The program for where the parameters lie."""
        here = self._here
        if self._compiled is None or (self._compiled.dtype, self._compiled.device) != (here.dtype, here.device):
            rounded = self._rounded and here.dtype is torch.float32
            self._compiled = Compiled(lower(self._model), here.dtype, here.device, self._fused, rounded)
        return self._compiled

    def _masks(self, batch: int) -> Tensors:
        """What each dropout multiplies a batch by, (B, *shape), the same in all steps."""
        program = self.compiled.program
        return {name: functional.dropout(self._here.new_ones((batch, *program.leaving[name])), node.p)
                for name, node in program.model.nodes.items() if isinstance(node, Dropout) and self.training}

    def _put(self, tensors: Mapping[str, Tensor]) -> Tensors:
        return {name: value.to(self._here.dtype) for name, value in tensors.items()}

    def _check(self, inputs: Mapping[str, Any], state: Mapping[str, Any] | None) -> None:
        """Whether inputs and state are tensors that lie here. Raises InvalidData."""
        problems = []
        for what, given in (("inputs", inputs), ("state", state)):
            for name, value in given.items() if isinstance(given, Mapping) else ():
                if not isinstance(value, Tensor) or value.is_complex():
                    kind = value.dtype if isinstance(value, Tensor) else f"a {type(value).__name__}"
                    mend = "give a tensor of real numbers, such as torch.as_tensor(x)"
                    problems.append(Problem(f"{what}.{name}", f"is {kind}", mend))
                elif value.device != self.device:
                    wrong = f"lies on {value.device}, the module on {self.device}"
                    problems.append(Problem(f"{what}.{name}", wrong, f"give x.to({str(self.device)!r})"))
        if problems:
            raise InvalidData(problems)

    # --- parameters --------------------------------------------------------------------------------

    def export(self) -> dict[str, np.ndarray]:
        """The parameters as ``npt.run``, ``npt.nir.write`` and the like take them: valid values by "node.parameter"."""
        with torch.no_grad():
            return {name: value.detach().cpu().numpy().copy() for name, value in self._valid().items()}

    def _valid(self) -> Tensors:
        """Every array of the model, valid, differentiable in what is held."""
        program, found = self.compiled.program, {}
        for name in program.parameters:
            node, attribute = _place(program, name)
            value = getattr(self.get_submodule(node), attribute)
            found[name] = to_valid(program, name, value) if name in program.trainable else value
        return found

    @property
    def _outlines(self) -> dict[str, np.ndarray]:
        return {name: _outline(spec.shape) for name, spec in self.compiled.program.parameters.items()}

    # --- moving, copying ---------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """``to``, ``cuda``, ``double`` and the like. Raises InvalidData, and changes nothing, where it cannot run."""
        there = fn(self._here)
        if there.dtype not in DTYPES:
            wrong = f"is to become {there.dtype}, and computes in float32 or float64 alone"
            raise InvalidData([Problem("module", wrong, "use .float() or .double()")], "move")
        if there.device.type not in DEVICES:
            wrong = f"is to move to {there.device}, and runs on {' and '.join(DEVICES)} alone"
            raise InvalidData([Problem("module", wrong, "use .cpu() or .cuda(), or build it anew there")], "move")
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled: a copy compiles anew, which takes from what is kept on disk."""
        return {**self.__dict__, "_compiled": None}


def _place(program: Program, name: str) -> tuple[str, str]:
    """The submodule and the attribute that hold a parameter."""
    node, field = name.rsplit(".", 1)
    bounded = name in program.trainable and program.parameters[name].bound is not Bound.FREE
    return node, f"free_{field}" if bounded else field


def _taken(name: str, part: str) -> InvalidModel:
    wrong = f"{part!r} cannot name a part of a torch.nn.Module: it is empty, or taken"
    return InvalidModel([Problem(f"nodes.{name}", wrong, "rename the node")])


def _outlines(given: Any) -> Any:
    """Ones in the shapes of tensors, whose values are not looked at; they take no memory."""
    if isinstance(given, Mapping):
        return {name: _outlines(value) for name, value in given.items()}
    return _outline(tuple(given.shape)) if isinstance(given, Tensor) else given


def _outline(shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.int8(1), shape)
