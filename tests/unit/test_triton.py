"""Triton's kernels without a GPU: interpreted, in a process of their own, and compiled for CUDA."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton", reason="triton is made for Linux, and comes with torch's GPU builds")

from neuroport_loops.load import load  # noqa: E402
from neuroport_loops.loop_source import parts_of  # noqa: E402
from neuroport_loops.population_source import kept_names  # noqa: E402
from neuroport_torch import runner  # noqa: E402
from neuroport_torch.kernels import measured, triton_bits  # noqa: E402
from neuroport_torch.kernels.triton import population_forward, population_reverse  # noqa: E402
from neuroport_torch.kernels.triton_loop import ROWS, TERMS, TritonLoop  # noqa: E402
from neuroport_torch.kernels.triton_tiles import TABLE, USUAL, tile_for  # noqa: E402
from neuroport_torch.runner import OLDEST, language  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.runtime import driver  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402
from unit import test_torch_gradients as plain  # noqa: E402
from unit.test_torch_gradients import MODELS  # noqa: E402

from neuroport.model.graph import Recurrent  # noqa: E402
from neuroport.model.layers import Linear  # noqa: E402
from neuroport.model.neurons import LIF  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402
from neuroport.program.schedule import Loop  # noqa: E402

ROOT = Path(__file__).parents[2]
KINDS = ["LIF", "IF", "ALIF", "CubaLIF", "CubaLI", "Threshold and I", "trainable ALIF", "own neuron, trained",
         "LIF snntorch hard", "LIF many spikes"]
SURROGATES = ["ATan", "Sigmoid", "Triangular", "Boxcar", "Gaussian", "StraightThrough", "Bump"]


def test_interpreted_kernels_give_what_the_plain_loop_gives(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "1", "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/unit/interpreted_triton.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def kind_of(argument, pointer):
    """Triton's type of a kernel's argument."""
    if argument in ("steps", "width", "lanes", "batch"):
        return "i32"
    if argument in (f"{array}_{axis}" for array in ("x", "gout") for axis in "tbn"):
        return "i64"
    if re.fullmatch(r"w_(n\d+_)?b_\d+", argument):
        return "*i32"
    return "*i64" if argument.startswith("lags_") else pointer


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """A function that compiles a kernel's text for a GPU, without one."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def compiled(source, name, capability, tile=TABLE[0], pointer="*fp32", native=False):
        kernel = load(source, name)
        numbers = {"BLOCK": tile.block, "AHEAD": tile.ahead, "ROWS": ROWS, "TERMS": TERMS["float32"],
                   "NATIVE": native}
        kinds = {parameter.name: "constexpr" if parameter.is_constexpr else kind_of(parameter.name, pointer)
                 for parameter in kernel.params}
        if native:  # bfloat16 by its bits
            kinds |= {argument: "*i16" for argument in kinds if argument.startswith("weight")}
        constants = {(place,): numbers.get(own, False) for place, (own, kind) in enumerate(kinds.items())
                     if kind == "constexpr"}
        return triton.compile(
            ASTSource(kernel, kinds, constants), GPUTarget("cuda", capability, 32),
            {"num_warps": tile.warps, "num_stages": 1, "enable_fp_fusion": False})

    return compiled


def sources(name, dtype="float32"):
    """The kernels of each population of a model, (function, text)."""
    for bound in lower(MODELS[name]).neurons.values():
        written = [*kept_names(bound.kept), "s.v"]
        yield "forward", population_forward(bound.kept, written, dtype)
        yield "reverse", population_reverse(bound.kept, dtype)


@pytest.mark.parametrize("name", KINDS)
def test_every_neurons_kernels_compile_for_cuda(compiled, name):
    for kernel, text in list(sources(name))[:4]:
        for capability in (80, 90):
            assert compiled(text, kernel, capability).asm["cubin"]


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_compiles_for_cuda(compiled, name):
    _, (kernel, text), *_ = sources(name)
    assert kernel == "reverse" and compiled(text, kernel, 90).asm["cubin"]


@pytest.mark.parametrize("name", ["recurrent", "recurrent own neuron", "recurrent Boxcar", "Delay nodes"])
def test_loops_compile_for_cuda(compiled, name):
    program = lower(MODELS[name])
    segment = next(one for one in program.segments if isinstance(one, Loop))
    loop = TritonLoop(program, segment, parts_of(program, segment), torch.float32)
    kept = tuple((own, key) for own, traced in loop.neurons.items() for key in kept_names(traced))
    outside = tuple(loop.neurons)[:1]  # what something outside the loop feeds, and reads
    for kernel, source in (("forward", loop._forward(outside, kept)), ("reverse", loop._reverse(outside))):
        for capability in (80, 90):
            made = compiled(source.text, kernel, capability).asm
            # what one thread writes others read after a barrier: never through the cache of what does not change
            assert made["cubin"] and made["ptx"].count("bar.sync") >= 2 and "ld.global.nc" not in made["ptx"]


def test_a_loop_in_bfloat16_multiplies_it_on_tensor_cores_into_float32_sums(compiled):
    program = lower(MODELS["recurrent"])
    segment = next(one for one in program.segments if isinstance(one, Loop))
    loop = TritonLoop(program, segment, parts_of(program, segment), torch.float32, rounded=True)
    outside = tuple(loop.neurons)[:1]
    for kernel, source in (("forward", loop._forward(outside, ())), ("reverse", loop._reverse(outside))):
        for capability in (80, 90):
            machine = compiled(source.text, kernel, capability, native=True).asm["ptx"]
            assert re.search(r"mma\S*\.f32\.bf16\.bf16", machine)


def test_the_product_of_packed_bits_compiles_for_tensor_cores(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kinds = {"values": "*u8", "samples": "*i64", "weight": "*i16", "stride": "i64"}
    arrays = ("bias", "y", "dy", "parts")
    numbers = {"PIECES": 3, "BIASED": True, "NATIVE": True, "ROWS": 64, "COLUMNS": 64, "TERMS": 64}
    for kernel in (triton_bits.forward, triton_bits.reverse):
        names = [parameter.name for parameter in kernel.params]
        types = {name: "constexpr" if name in numbers else kinds.get(name, "*fp32" if name in arrays else "i32")
                 for name in names}
        constants = {(names.index(name),): value for name, value in numbers.items() if name in names}
        for capability in (80, 90):
            made = triton.compile(
                ASTSource(kernel, types, constants), GPUTarget("cuda", capability, 32), {"num_warps": 4}).asm
            assert made["cubin"] and "bf16" in made["ptx"]


def test_every_tile_compiles(compiled):
    for tile in TABLE:
        for kernel, text in list(sources("CubaLIF"))[:2]:
            assert compiled(text, kernel, 90, tile).asm["cubin"]


def test_float64_compiles_and_no_multiplication_is_fused_with_an_addition(compiled):
    for dtype, pointer in (("float32", "*fp32"), ("float64", "*fp64")):
        for kernel, text in list(sources("trainable tau", dtype))[:2]:
            machine = compiled(text, kernel, 90, pointer=pointer).asm["ptx"]
            kind = pointer.removeprefix("*fp")
            assert f"mul.f{kind}" in machine or f"mul.rn.f{kind}" in machine
            assert f"fma.rn.f{kind}" not in machine


class Compiler:
    """A driver without a device: kernels are compiled for a GPU that is not there."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Every kernel that is launched, compiled for the very arguments, and not run."""
    found = []
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(runner, "language", lambda device: "triton")
    monkeypatch.setattr(JITFunction, "__getitem__", lambda kernel, grid: lambda *arguments, **options: found.append(
        kernel.run(*arguments, grid=grid, warmup=True, **options)))
    monkeypatch.setattr(driver, "_active", Compiler())
    return found


@pytest.mark.parametrize("steps,batch,width", [(1, 1, 1), (3, 2, 16)])
def test_kernels_take_the_arguments_of_any_size(launched, monkeypatch, steps, batch, width):
    monkeypatch.setattr(plain, "T", steps)
    monkeypatch.setattr(plain, "B", batch)
    layers = [Linear(width), plain.Resonator(tau=plain.spread(3e-3, 9e-3)), Recurrent(Linear(width), LIF(tau=4e-3))]
    model = plain.chain(*layers)
    parameters, state, inputs, targets = plain.task(model)
    found = plain.executable(model, True, "float32")
    assert list(found.compiled.describe().values()) == ["TritonPopulation", "TritonLoop"]
    found.gradients(found.load(parameters), state, inputs, targets)
    assert len(launched) == 4 and all(kernel.asm["cubin"] for kernel in launched)


def test_a_tile_is_measured_once_and_kept(monkeypatch, tmp_path):
    device, tried, best = torch.device("cuda"), [], TABLE[2]

    def bench(call, **options):
        call()
        return 1.0 if tried[-1] == best else 2.0

    monkeypatch.setattr(measured, "folder", lambda: tmp_path)
    monkeypatch.setattr(triton.testing, "do_bench", bench)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert tile_for("a kernel", device, 1000, tried.append) == USUAL and not tried
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert tile_for("a kernel", device, 1000, tried.append) == best and tried == list(TABLE)
    measured._chosen.clear()  # as in another process
    assert tile_for("a kernel", device, 1023, tried.append) == best and len(tried) == len(TABLE)
    assert tile_for("a kernel", device, 1024, tried.append) == best and len(tried) == 2 * len(TABLE)
    measured._chosen.clear()


def test_kernels_are_for_gpus_of_the_tested_kinds(monkeypatch):
    device = torch.device("cuda")
    for capability, expected in ((OLDEST, "triton"), ((9, 0), "triton"), ((7, 5), None)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert language(device) == expected
