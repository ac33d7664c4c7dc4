"""What each platform does with each NIR node: exact, approximate or unsupported, with the reason. A table.

"exact": what the node says, in the platform's own time stepping (see ``presets.py``), up to rounding.
"approximate": it runs, and something else than the file says. "unsupported": it is refused, dropped or fails. Evidence
is the code of the release named (its importer) and the recordings that the NIR paper published (Pedersen et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from neuroport.nir.contents import NirGraph, NirNode
from neuroport.nir.uses import GRAPH_USES, USES, uses_of, uses_of_graph

Level = Literal["exact", "approximate", "unsupported"]
LEVELS: tuple[Level, ...] = ("exact", "approximate", "unsupported")


@dataclass(frozen=True)
class Claim:
    """level, and the bound or the reason in words."""

    level: Level
    reason: str = ""


EXACT = Claim("exact")


def exact(reason: str) -> Claim:
    return Claim("exact", reason)


def about(reason: str) -> Claim:
    return Claim("approximate", reason)


def no(reason: str) -> Claim:
    return Claim("unsupported", reason)


@dataclass(frozen=True)
class Platform:
    """One platform as of one release.

    nodes: by NIR type; what is not named is unsupported, for the reason ``missing``. uses: by (type, use), or by
    use alone for all types; see ``uses.py``. graph: uses of the graph as a whole. evidence: code and recordings.
    """

    name: str
    version: str
    evidence: str
    nodes: Mapping[str, Claim]
    missing: str
    uses: Mapping[str, Claim] = field(default_factory=dict)
    graph: Mapping[str, Claim] = field(default_factory=dict)

    def node(self, node: NirNode, dt: float | None = None) -> Claim:
        """What it does with one node, its parameters looked at. dt: seconds, where known."""
        claims = [self.nodes.get(node.type, no(self.missing))]
        for name in uses_of(node, dt) if claims[0].level != "unsupported" else ():
            claim = self.uses.get(f"{node.type} {name}", self.uses.get(name))
            if claim is not None and claim.level != "exact":
                claims.append(Claim(claim.level, f"{USES[name].words}: {claim.reason}"))
        return worst(claims)

    def whole(self, graph: NirGraph, cyclic: bool) -> list[Claim]:
        """What it does with the graph's form, as far as that is known."""
        return [Claim(self.graph[use].level, f"{GRAPH_USES[use]}: {self.graph[use].reason}")
                for use in uses_of_graph(graph, cyclic) if use in self.graph]


def worst(claims: list[Claim]) -> Claim:
    """The lowest level among claims, with the reasons of that level."""
    level = max((claim.level for claim in claims), key=LEVELS.index)
    reasons = [claim.reason for claim in claims if claim.level == level and claim.reason]
    return Claim(level, "; ".join(dict.fromkeys(reasons)))


ENDS = {"Input": EXACT, "Output": EXACT}
_PLAIN = {**ENDS, "Affine": EXACT, "Linear": EXACT}
_NEEDS_BIAS = {"no bias": no("the importer reads a bias and fails without one")}
_DEPTHWISE = {"groups": no("input channels are taken from the weight, which has those of one group")}
_FLATTEN = about("axes are counted with the batch, one off: start_dim=1 flattens all of a sample")
_BATCH_AXIS = {"start_dim 0": no("axes are counted with the batch, so that samples are merged")}
_RESETS_TO_ZERO = {"v_reset": about("ignored, the reset goes to 0")}
_R_IGNORED = "ignored, with a warning"

_PLATFORMS = (
    Platform(
        "norse", "1.1.0",
        "norse/torch/utils/import_nir.py. Recordings: one LIF to |dv| <= 5e-8; all 9,728 hidden spikes of Braille with "
        "bias; all 12,288,000 of the CNN's first layer.",
        {**_PLAIN, "Conv2d": EXACT, "Flatten": _FLATTEN, "SumPool2d": EXACT,
         "IF": exact("v + x in each step, reset to zero"), "LIF": exact("forward Euler, reset to zero"),
         "CubaLIF": exact("forward Euler; the reset is passed by hand (reset_method)")},
        "its importer has no module for it and leaves it out without a word",
        {"r": about(_R_IGNORED), "CubaLIF r": EXACT, **_RESETS_TO_ZERO, **_NEEDS_BIAS, **_DEPTHWISE, **_BATCH_AXIS,
         "CubaLIF v_leak": about("added to the synapse too"), "pool padding": about(_R_IGNORED)},
        {"cycle": exact("one step later; the bias of the connection is absent at t = 0"),
         "branches": about("nodes run depth first, in the order of the edges: where ways join again, one may come a "
                           "step late, or its output be returned in place of the network's")},
    ),
    Platform(
        "snntorch", "1.0.0",
        "snntorch/import_nir.py, with nirtorch 2.6. Recordings: all 9,728 and 10,240 hidden spikes of both Braille "
        "files, made with the release of 2023; today's fails on them and on the CNN.",
        {**_PLAIN, "Conv2d": EXACT, "Flatten": _FLATTEN, "AvgPool2d": EXACT,
         "IF": about("runs as Leaky with beta 0.9: a tenth of the potential leaks away in each step"),
         "LIF": exact("forward Euler; the threshold is scaled in place of the input, so that potentials are in "
                      "another unit"),
         "CubaLIF": exact("forward Euler, reset to zero, not again in the step after a spike")},
        "its importer refuses it",
        {"IF r": no("refused"), "uneven v_threshold": no("refused"), "v_leak": no("refused"),
         "CubaLIF r is not tau/dt": no("refused: r must be tau_mem/dt"),
         "LIF uneven gain": about("that of the first neuron is taken for all"),
         "CubaLIF uneven gain": no("refused: thresholds are scaled by it"),
         "dt is not 1e-4": no("its importer knows no other step"), **_RESETS_TO_ZERO, **_NEEDS_BIAS, **_DEPTHWISE,
         **_BATCH_AXIS},
        {"plain cycle": no("what comes from before is fed into the recurrent weights"),
         "nested": exact("a recurrence acts one step later; the bias of the connection is absent at t = 0")},
    ),
    Platform(
        "sinabs", "3.1.3",
        "sinabs/nir.py, for nir up to 1.0.4. Recordings: one LIF to |dv| <= 4e-9 with tau in steps; today's release "
        "gives 340 spikes in place of 4 with the file's seconds, and 9 of the CNN's 10 digits.",
        {**ENDS, "Affine": EXACT, "Conv2d": EXACT, "Flatten": EXACT, "SumPool2d": EXACT,
         "Conv1d": no("its importer takes the file's arrays for torch tensors and fails"),
         "IF": about("subtracts the threshold, several spikes a step, never below -v_threshold"),
         "LIF": about("exp(-1/tau), tau in steps; an input counts fully, whatever r and tau; subtracts the threshold; "
                      "several spikes a step"),
         "LI": about("exp(-1/tau), tau in steps; an input counts fully, whatever tau")},
        "its importer has no module for it",
        {"IF r": about("ignored"), "LI r": no("refused"), "v_leak": no("refused"),
         "tau below 1": about("read as steps, so that all decays within one: 340 spikes in place of 4"),
         "v_reset": about("ignored, the threshold is subtracted"), "pool padding": about("ignored"), **_NEEDS_BIAS,
         **_DEPTHWISE},
    ),
    Platform(
        "spyx", "1.0.0",
        "spyx/nir.py and nn.py. Recordings: all hidden spikes of both Braille files with a soft reset and the output "
        "one step later; its published accuracies (84.29, 92.14 %) are not reproduced by that.",
        {**_PLAIN, "Conv2d": EXACT, "SumPool2d": EXACT,
         "Flatten": about("flattens all axes, whatever start_dim and end_dim say"),
         "IF": about("subtracts the threshold, one step later; r is ignored"),
         "LIF": exact("1 - dt/tau; subtracts the threshold; a spike leaves one step later"),
         "CubaLIF": exact("1 - dt/tau; subtracts the threshold; a spike leaves one step later"),
         "LI": no("only in front of a Threshold, which together become a neuron"),
         "Threshold": no("only behind an LI, which together become a neuron")},
        "it is left out without a word",
        {"gain": about("ignored: each input counts fully"), "v_leak": about("ignored"),
         "v_reset": about("ignored, the threshold is subtracted"), "groups": no("ignored, and the shapes then differ"),
         "dilation": no("ignored"), "pool padding": about("any padding becomes 'same'")},
        {"branches": no("it follows one chain of edges from input to output"),
         "cycle": about("between a population and one Linear or Affine, whose bias is dropped"),
         "nested": about("only a recurrence of four nodes")},
    ),
    Platform(
        "spikingjelly", "2.0.0",
        "activation_based/nir_exchange/from_nir.py, with nirtorch 2.6. Today's release: one LIF right, Braille 94.29 "
        "and 90.00 %, all ten digits of the CNN with dt = 1. No published recordings.",
        {**_PLAIN, "Conv1d": EXACT, "Conv2d": EXACT, "AvgPool2d": EXACT, "Flatten": EXACT, "SumPool2d": EXACT,
         "IF": exact("a spike where v >= v_threshold; r must be 1/dt"),
         "LIF": exact("forward Euler, a spike where v >= v_threshold; r must be 1 or tau/dt"),
         "CubaLIF": exact("forward Euler, a spike where v >= v_threshold; r must be tau_mem/dt, w_in tau_syn/dt")},
        "refused: there is no mapping for it",
        {"uneven": no("refused"), "r is not 1/dt": no("refused"), "r is neither 1 nor tau/dt": no("refused"),
         "CubaLIF r is not tau/dt": no("refused"), "w_in is not tau/dt": no("refused"),
         "v_leak": no("refused where it is not v_reset, for CubaLIF where it is not 0"), "groups": no("refused"),
         "no bias": no("the importer reads a bias and fails without one"),
         "pool padding": about("of SumPool2d it is ignored (nirtorch's mapping)"), "AvgPool2d pool padding": EXACT},
        {"cycle": exact("stepwise alone")},
    ),
    Platform(
        "spinnaker2", "py-spinnaker2, branch of 2024",
        "s2_nir.py; the paper's recordings of both Braille files: 85.00 and 93.57 %, where snnTorch has 95.00 and "
        "92.14.",
        {**ENDS, **dict.fromkeys(("Affine", "Linear", "Conv2d", "SumPool2d"), about(
            "int8 weights by truncation: each is off by less than 1/127 of the largest into its population")),
         "AvgPool2d": about("weights divided and scaled again"), "Flatten": EXACT,
         **dict.fromkeys(("IF", "LIF", "CubaLIF"), about(
             "thresholds scaled like the weights; a bias is a constant current on the membrane; each connection takes "
             "one step; a CubaLIF may not stand behind a Conv2d"))},
        "refused: the chip has no model for it",
        {**_RESETS_TO_ZERO, "groups": no("not read"), "dilation": no("not read"), "same": no("not read")},
        {"cycle": about("one step later, as every other connection")},
    ),
    Platform(
        "nengo", "converter of the NIR paper, 2023",
        "paper/02_cnn and 03_rnn/nir_to_nengo.py. Recordings: all 12,288,000 spikes of the CNN's first layer; Braille "
        "55.71 and 78.57 %, where snnTorch has 95.00 and 92.14.",
        {**_PLAIN, "IF": exact("v + x in each step, reset to zero"),
         "LIF": about("decays exactly between spikes and places them within a step"),
         "CubaLIF": about("as LIF, behind a low-pass: Braille 55.71 % in place of 95.00"),
         "LI": about("a low-pass of exact decay; one tau for all"),
         **dict.fromkeys(("Conv2d", "SumPool2d", "Flatten"), about(
             "the shapes of the paper's CNN stand in the converter: other networks need changes there"))},
        "the converter raises an error",
        {"IF r": no("refused"), "LIF r": no("refused"), "v_leak": no("refused"), **_RESETS_TO_ZERO,
         "CubaLIF uneven": no("refused"), "LIF uneven tau": about("the first one is taken for all"),
         "LI uneven tau": about("the first one is taken for all"), "groups": no("not read"), "dilation": no("not read"),
         "same": no("not read"), "pool padding": no("not read")},
    ),
    Platform(
        "rockpool", "3.1.0",
        "rockpool/nn/modules/torch/nir.py, for nir up to 1.0.4. Recordings: one LIF to |dv| <= 4e-9, Braille without "
        "bias 71.43 %; today's release fails on the LIF and reaches 74.3 % there.",
        {**_PLAIN, "LIF": no("its importer reads tau_mem, which a LIF of NIR does not have"),
         "CubaLIF": about("decays exp(-dt/tau), dt guessed from tau_mem/(1 + r); subtracts the threshold; w_in is not "
                          "read"),
         "LI": about("a low-pass, dt guessed from tau/(1 + r); tau cut to a whole number")},
        "refused: there is no module for it",
        {"LI tau below 1": no("cut to a whole number it is 0"), "v_leak": about("taken for a bias"),
         "v_reset": about("ignored, the threshold is subtracted")},
        {"nested": about("only a recurrence of four nodes; the bias of the connection is dropped, with a warning"),
         "cycle": about("74.3 % on Braille without bias, where snnTorch has 92.14")},
    ),
    Platform(
        "lava", "lava-dl, main branch of 2024",
        "lava/lib/dl/netx/nir_lava.py; the paper's own converter reached 48.57 % on Braille with bias.",
        {**ENDS, "Flatten": about("flattens all axes"),
         **dict.fromkeys(("Affine", "Linear", "Conv2d"), no("the layer is built, its weights are not copied")),
         "CubaLIF": about("only behind a layer; decays of 1/tau, so that tau must be in steps; r, v_leak and w_in are "
                          "not read")},
        "refused: there is no block for it",
        {**_RESETS_TO_ZERO, "uneven": no("one value for a layer")},
        {"cycle": no("refused"), "nested": no("refused"), "branches": no("refused"), "several Inputs": no("refused")},
    ),
    Platform(
        "xylo", "Xylo-Audio 2, through rockpool 3.1.0",
        "rockpool/devices/xylo/syns61201; the paper's recording: Braille without bias 85.71 %, where snnTorch has "
        "92.14.",
        {**ENDS, "Linear": about("8-bit weights"), "Affine": about("8-bit weights"),
         "CubaLIF": about("decays by bit shifts, thresholds in whole numbers; 1,000 neurons and 8 outputs at most")},
        "the chip has no model for it",
        {"v_reset": about("ignored, the threshold is subtracted"), "v_leak": about("taken for a bias")},
        {"nested": about("only a recurrence of four nodes"), "cycle": about("within the hidden neurons"),
         "branches": about("as far as the chip's connections go")},
    ),
    Platform(
        "speck", "Speck 2f, through sinabs 3.1.3",
        "sinabs/backend/dynapcnn and the paper's script for the CNN: asynchronous, so that spikes have no step to "
        "compare.",
        {**ENDS, **dict.fromkeys(("Conv2d", "Affine"), about("8-bit weights, followed by IF alone")),
         "SumPool2d": about("only with a stride equal to the kernel"), "Flatten": EXACT,
         "IF": about("asynchronous, without time steps; one threshold for a layer; subtracts it")},
        "the chip has no model for it",
        {"IF uneven v_threshold": about("the first one is taken for all"), "IF r": about("ignored"),
         "v_reset": about("ignored, the threshold is subtracted"), "pool padding": no("not read"), **_NEEDS_BIAS,
         **_DEPTHWISE},
        {"cycle": no("not possible in time steps"), "nested": no("not read")},
    ),
)

PLATFORMS: Mapping[str, Platform] = {platform.name: platform for platform in _PLATFORMS}
