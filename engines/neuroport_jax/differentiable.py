"""A stepped segment as one differentiable function: a loop over time, by scan or by kernel, and its own reverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.stepping import Arrays, Carry
from neuroport_jax.layers import layers
from neuroport_jax.stepped import Given, scan_backward, scan_forward
from neuroport_jax.ways import Way

Array = jax.Array
PLAIN = Way()
Split = tuple[dict[str, dict[str, float]], dict[str, dict[str, Array]]]


def split_constants(coefficients: Mapping[str, Mapping[str, Any]]) -> Split:
    """Coefficients that are numbers of the model, and those that are arrays."""
    numbers = {name: {key: value for key, value in of.items() if isinstance(value, (int, float))}
               for name, of in coefficients.items()}
    arrays = {name: {key: value for key, value in of.items() if not isinstance(value, (int, float))}
              for name, of in coefficients.items()}
    return numbers, arrays


def differentiable(
    program: Program, segment: Stepped, numbers: Mapping[str, Mapping[str, float]], way: Way = PLAIN,
    record: tuple[tuple[str, str], ...] = (),
) -> Callable[..., Any]:
    """(coefficients, parameters, carry, given) -> (last carry, outputs, records), with its own reverse.

    What is recorded, such as ``v_pre``, stands inside the step, where that reverse takes no cotangents:
    a recorded run is differentiated by jax, through the scan.
    """
    ahead, back = _both(way)
    neurons = [name for name in segment.nodes if name in program.neurons]
    keep = {name: program.neurons[name].traced.saved for name in neurons}

    def merged(coefficients: Any, parameters: Any) -> Arrays:
        return Arrays({name: {**numbers[name], **coefficients[name]} for name in neurons}, parameters)

    @jax.custom_vjp
    def run(coefficients: Any, parameters: Any, carry: Carry, given: Given) -> Any:
        carry, outputs, _, records = ahead(
            program, segment, merged(coefficients, parameters), carry, given, {}, record)
        return carry, outputs, records

    def forward(coefficients: Any, parameters: Any, carry: Carry, given: Given) -> Any:
        last, outputs, cuts, _ = ahead(program, segment, merged(coefficients, parameters), carry, given, keep)
        # what the reverse does not read is dropped by the compiler
        return (last, outputs, {}), (coefficients, parameters, carry, given, outputs, cuts)

    def backward(saved: Any, cotangents: Any) -> Any:
        coefficients, parameters, carry, given, outputs, cuts = saved
        of_last, of_outputs, _ = cotangents
        return back(
            program, segment, merged(coefficients, parameters), coefficients, parameters, carry, given, outputs,
            cuts, of_last, of_outputs,
        )

    def plain(coefficients: Any, parameters: Any, carry: Carry, given: Given) -> Any:
        carry, outputs, _, records = scan_forward(
            program, segment, merged(coefficients, parameters), carry, given, {}, record, way.unroll,
            layers(way.bfloat16, way.products))
        return carry, outputs, records

    def recorded(*args: Any) -> Any:
        return jax.vjp(plain, *args)

    if record:
        run.defvjp(recorded, lambda through, cotangents: through(cotangents))
    else:
        run.defvjp(forward, backward)
    return run


def _both(way: Way) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The loop over time of a way, and its reverse."""
    if way.native:
        from neuroport_jax import native_loops  # needs numba

        return (partial(native_loops.native_forward, bfloat16=way.bfloat16),
                partial(native_loops.native_backward, bfloat16=way.bfloat16))
    if not way.kernel:
        how = {"unroll": way.unroll, "layers": layers(way.bfloat16, way.products)}
        return partial(scan_forward, **how), partial(scan_backward, **how)
    from neuroport_jax import pallas  # where there is no GPU it need not be there

    return (partial(pallas.kernel_forward, interpret=way.interpret),
            partial(pallas.kernel_backward, interpret=way.interpret))
