"""What platforms do with a NIR file: how its equations become steps, platform by platform, with the evidence.

A file says *what* a network is; none says *how in discrete time*. One file gives 4 spikes on one platform and
340 on another. A preset names one reading. All of them share a base: a spike where v > threshold, the reset in
the same step, a recurrence that arrives one step later and starts from zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from neuroport.model.numerics import Numerics

Reset = Literal["soft", "hard", "none"]
Gains = Literal["full", "one"]
Charge = Literal["step", "second"]


@dataclass(frozen=True)
class Preset:
    """One platform's reading of a file.

    numerics: of its neurons; kinds: what differs for NIR's neurons of one type. reset: what the platform always
    does; None: it can do both, and the caller (or the file) says which. bias_at_start: whether the bias of a
    recurrent connection acts in the first step. resets_to_zero: a hard reset goes to 0, whatever v_reset says.
    unit_gains: the platform keeps decays alone, so that each input counts fully: the gains dt/tau, r and w_in,
    and v_leak, are not read. if_decay: it runs NIR's IF as a leaky neuron with this decay. charge: whether IF and I
    add r x ("step") or r dt x ("second") in a step. hop: steps that every way from one population to the next takes.
    weight_bits: weights are cut to whole numbers of so many bits, with one scale for all that reaches a population,
    thresholds and biases scaled alike. constant_bias: a bias acts on the membrane, past the synapse, as what the
    synapse would settle at. evidence: recordings, papers or code on which this rests.

    For files that are written for it: dt: the only step that its importer knows (s). gains: by NIR type, the only r
    and w_in that its importer takes or heeds: "full", under which an input counts fully in a step, or "one". nests: a
    recurrence must be a nested graph.
    """

    name: str
    numerics: Numerics
    evidence: str
    kinds: Mapping[str, Numerics] = field(default_factory=dict)
    reset: Reset | None = None
    bias_at_start: bool = True
    resets_to_zero: bool = False
    unit_gains: bool = False
    if_decay: float | None = None
    charge: Charge = "step"
    hop: int = 0
    weight_bits: int | None = None
    constant_bias: bool = False
    dt: float | None = None
    gains: Mapping[str, Gains] = field(default_factory=dict)
    nests: bool = False

    def of(self, kind: str, reset: Reset) -> Numerics:
        """The numerics of a neuron whose NIR type is ``kind``."""
        numerics = self.kinds[kind].over(self.numerics) if kind in self.kinds else self.numerics
        return Numerics(reset=reset).over(numerics)


_PRESETS = (
    Preset(
        "norse", Numerics(discretization="euler"), bias_at_start=False, resets_to_zero=True,
        gains={"IF": "one", "LIF": "one"},
        evidence="Forward Euler, reset by hand to soft or hard. Equal to the NIR paper's recordings: one LIF (voltages "
        "to 5e-8), every hidden spike of the Braille file with bias, the first layer of the CNN. The bias of a "
        "recurrence is absent at t = 0. Accuracies 94.29 and 93.57 % as published. In norse 1.1.0 (import_nir.py) "
        "from_nir's reset_method reaches CubaLIF alone, LIF and IF reset to 0; r of LIF and IF and every v_reset are "
        "ignored; LI and CubaLI are left out without a word. A trained network spikes there as under this preset, "
        "in all 1,361,920 entries.",
    ),
    Preset(
        "snntorch", Numerics(discretization="euler", reset_rule="snntorch", reset_gradient=False), if_decay=0.9,
        resets_to_zero=True, dt=1e-4, gains={"IF": "one", "LIF": "full", "CubaLIF": "full"}, nests=True,
        evidence="Forward Euler; no reset within the step after one that fired already. Equal to the paper's "
        "recordings: all 9,728 and 10,240 hidden spikes of the Braille files, accuracies 95.00 and 92.14 %. Its "
        "importer runs IF as Leaky with beta 0.9: equal in all 12,288,000 entries of the CNN's first layer. The "
        "recordings are of 2023. snntorch 1.0.0 with nirtorch 2.6 (import_nir.py) knows dt = 1e-4 alone, takes CubaLIF "
        "with r = tau_mem/dt and equal scaled thresholds, resets it to zero until told otherwise, feeds the input of a "
        "plain cycle into the recurrent weights, so that only a nested recurrence is wired rightly, and adds the bias "
        "of that from the second step on. A trained network spikes there as under this preset, in all 1,361,920 "
        "entries, with either reset.",
    ),
    Preset(
        "sinabs", Numerics(discretization="impulse"), reset="soft",
        evidence="Decay exp(-dt/tau), input gain dt/tau, the threshold subtracted. Equal to the paper's recording of "
        "one LIF to 4e-9. It allows several spikes a step, which no recording shows: set multi_spike for it.",
    ),
    Preset(
        "spyx", Numerics(discretization="euler", output_delay=1), reset="soft", unit_gains=True, resets_to_zero=True,
        kinds={"LIF": Numerics(reset_delay=1)}, gains={"IF": "one", "LIF": "full", "CubaLIF": "full"},
        evidence="A spike leaves one step after the potential crossed; the threshold is subtracted, for a LIF on the "
        "decayed potential (code of spyx 1.0: nn.py). Equal to the paper's hidden spikes of both Braille files. Its "
        "importer keeps 1 - dt/tau alone (nir.py).",
    ),
    Preset(
        "spikingjelly", Numerics(discretization="euler", comparison="ge"), charge="second",
        evidence="v + (x - (v - v_reset)) / tau in steps, a spike where v >= threshold; IF asks for r = 1/dt, so that "
        "its charge in a step is r dt x. No recordings: code of spikingjelly 2.0.",
    ),
    Preset(
        "spinnaker2", Numerics(discretization="euler", bias_on="membrane"), resets_to_zero=True, hop=1,
        weight_bits=8, constant_bias=True,
        evidence="int8 weights, trunc(127 w / max|w|) with one scale for all that reaches a population; thresholds "
        "scaled alike; a bias constant on the membrane, b tau_syn/dt before the gains; a spike arrives one step after "
        "it left, recurrent or not (code of py-spinnaker2: s2_nir.py). Gives the published accuracies of both "
        "Braille files, 85.00 and 93.57 %.",
    ),
    Preset(
        "nengo", Numerics(discretization="euler"), reset="hard", resets_to_zero=True,
        evidence="Forward Euler, IF as v + r x with a reset to zero. Equal to the paper's recording in all 12,288,000 "
        "entries of the CNN's first layer.",
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _PRESETS}


def custom(numerics: Numerics) -> Preset:
    """A reading by numerics of one's own, on the common base; its reset is fixed where they set one."""
    reset = numerics.reset if "reset" in numerics.model_fields_set else None
    return Preset("own", numerics, evidence="given by the caller", reset=reset)
