"""Numerics: everything that turns an ODE into steps."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import field_validator, model_serializer, model_validator

from neuroport.errors import Problem
from neuroport.model.description import Description, nested


class Numerics(Description):
    """How the equations of a neuron become steps. A node's own numerics override, field by field, the model's.

    discretization: "exponential" (exact for input held over the step), "euler" (forward) or "impulse" (exact for
    input that arrives at the end of the step, sinabs).
    comparison: a spike where v > threshold ("gt") or v >= threshold ("ge", SpikingJelly).
    reset: "soft" (v - threshold), "hard" (to v_reset) or "none". "subtract" and "value" are accepted.
    reset_delay: 1 applies a spike's reset in the next step, on the decayed potential (snnTorch, Spyx).
    reset_rule: "snntorch" resets by the potential before the step, then corrects by the spike after it.
    reset_gradient: whether the reset passes a gradient to the spike (snnTorch detaches it).
    multi_spike: several spikes a step, as many as thresholds fit under v (sinabs).
    output_delay: 1 emits a spike one step after the potential crossed (Spyx).
    bias_on: the bias of the layers before acts on the neuron's "input" or past its synapse on the
    "membrane" (SpiNNaker2), there with the membrane's input gain, in every step from the first one on, whatever
    delay lies between.
    """

    discretization: Literal["exponential", "euler", "impulse"] = "exponential"
    comparison: Literal["gt", "ge"] = "gt"
    reset: Literal["soft", "hard", "none"] = "soft"
    reset_delay: Literal[0, 1] = 0
    reset_rule: Literal["plain", "snntorch"] = "plain"
    reset_gradient: bool = True
    multi_spike: bool = False
    output_delay: Literal[0, 1] = 0
    bias_on: Literal["input", "membrane"] = "input"

    @field_validator("reset", mode="before")
    @classmethod
    def _other_names(cls, value: Any) -> Any:
        return {"subtract": "soft", "value": "hard"}.get(value, value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.reset_rule == "snntorch" and (self.reset_delay or self.multi_spike):
            wrong = "the snntorch rule resets within the step, and once"
            raise nested([Problem("reset_rule", wrong, "use reset_delay=0 and multi_spike=False with it")])
        return self

    @model_serializer(mode="plain")
    def _only_what_was_set(self) -> dict[str, Any]:
        """A field set to its default still overrides the model's, so it is what was set that is kept."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    def over(self, base: Numerics) -> Numerics:
        """These numerics, with the fields that were not set taken from ``base``."""
        own = {name: getattr(self, name) for name in self.model_fields_set}
        return Numerics(**{**{name: getattr(base, name) for name in base.model_fields_set}, **own})
