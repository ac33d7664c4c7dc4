"""From XLA's calls to numba's functions: what reads the structs, and what shares out the work.

A call goes  XLA -> trampoline (one for each function, a few instructions: it adds the function's address)
-> ``serve`` -> ``take``, on this thread and on those that XLA lends -> the function's own ``work``, generated
below, which turns buffers into arrays.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from functools import cache
from pathlib import Path
from typing import Any

import jax
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from neuroport_loops.load import folder, load
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from neuroport_jax.native import API_HEAD, ASKED, Call, capsule, functions

KEPT = folder() is not None
Kind = tuple[str, int, int, str]  # "argument" or "result", its place, its axes, its dtype

# words of a job: the call's frame, the function, the next block, blocks in all, blocks done, who still holds it, and
# how many blocks failed
FRAME, WORK, NEXT, BLOCKS, DONE, HOLDERS, FAILED, WORDS = range(8)
DONE_WELL = 1  # what a function's ``work`` gives; numba gives 0 after an exception
INTERNAL = 13  # XLA_FFI_Error_Code
MESSAGE = np.frombuffer(b"a generated loop of neuroport's failed, see above: is there no memory left?\0", np.uint8)

_malloc = types.ExternalFunction("malloc", types.intp(types.intp))
_free = types.ExternalFunction("free", types.void(types.intp))


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing: Any, address: Any) -> Any:
    """An address as a pointer."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), make


@intrinsic  # type: ignore[untyped-decorator]
def add(typing: Any, address: Any, value: Any) -> Any:
    """Add to a word, at once for all threads; gives what it was before."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", word, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), make


def _caller(count: int) -> Any:
    """Calls the C function at an address with words, and gives the word that it gives."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word] * count).as_pointer()
        return builder.call(builder.inttoptr(arguments[0], kind), arguments[1:])

    return make


@intrinsic  # type: ignore[untyped-decorator]
def call1(typing: Any, function: Any, a: Any) -> Any:
    return types.int64(types.int64, types.int64), _caller(1)


@intrinsic  # type: ignore[untyped-decorator]
def call3(typing: Any, function: Any, a: Any, b: Any, c: Any) -> Any:
    return types.int64(types.int64, types.int64, types.int64, types.int64), _caller(3)


@njit(inline="always")
def words(address: int, count: int) -> Any:
    """The first words of a struct."""
    return carray(pointer(address), (count,), np.int64)


@njit(inline="always")
def argument(frame: int, index: int) -> Any:
    """An argument's buffer: its address is word 3, its axes word 4, their lengths at word 5."""
    return words(words(words(frame, 15)[9], index + 1)[index], 6)


@njit(inline="always")
def result(frame: int, index: int) -> Any:
    return words(words(words(frame, 15)[14], index + 1)[index], 6)


@njit(inline="always")
def at(job: int, word: int) -> int:
    return job + 8 * word


@njit
def taken(job: int) -> int:
    """Work on blocks until none is left, then let go of the job."""
    of = words(job, WORDS)
    frame, work, blocks = of[FRAME], of[WORK], of[BLOCKS]
    while True:
        block = add(at(job, NEXT), 1)
        if block >= blocks:
            break
        # the frame is there as long as a block is not done: the caller waits for it
        total, grain = shared_out(frame)
        if call3(work, frame, block * grain, min(total, (block + 1) * grain)) != DONE_WELL:
            add(at(job, FAILED), 1)
        add(at(job, DONE), 1)
    if add(at(job, HOLDERS), -1) == 1:
        _free(job)
    return 0


@njit(inline="always")
def shared_out(frame: int) -> Any:
    """What a call is told first: how much there is, and multiples of what it may be cut at."""
    numbers = carray(pointer(argument(frame, 0)[3]), (2,), np.int32)
    return np.int64(numbers[0]), np.int64(numbers[1])


@njit(inline="always")
def function_at(frame: int, places: int, number: int) -> int:
    """The address of one of XLA's functions, by its number in ``ASKED``."""
    place = (places >> 8 * number) & 0xFF
    return words(words(frame, 15)[2], place + 1)[place]


@njit
def helpers(frame: int, job: int, wanted: int, take: int, places: int) -> int:
    """Ask XLA for threads; gives how many were promised."""
    context = words(frame, 15)[3]
    answer, question, task = np.zeros(1, np.int64), np.zeros(4, np.int64), np.zeros(5, np.int64)
    question[0], question[2], question[3] = 32, context, answer.ctypes.data
    error = call1(function_at(frame, places, 1), question.ctypes.data)
    question[1] = 0  # it lives until here
    if error != 0:
        forget(frame, error, places)
        return 0
    task[0], task[2], task[3], task[4] = 40, context, take, job
    promised = 0
    for _ in range(min(wanted, answer[0] - 1)):
        add(at(job, HOLDERS), 1)
        error = call1(function_at(frame, places, 0), task.ctypes.data)
        if error != 0:
            add(at(job, HOLDERS), -1)
            forget(frame, error, places)
            break
        promised += 1
    task[1] = 0
    return promised


@njit
def forget(frame: int, error: int, places: int) -> None:
    """Without a pool of threads the work is done here alone: nothing is wrong."""
    told = np.zeros(3, np.int64)
    told[0], told[2] = 24, error
    call1(function_at(frame, places, 2), told.ctypes.data)
    told[1] = 0


@njit
def failure(frame: int, places: int) -> int:
    """An error for XLA to raise."""
    message, told = MESSAGE.copy(), np.zeros(4, np.int64)
    told[0], told[2], told[3] = 32, message.ctypes.data, INTERNAL
    error = call1(function_at(frame, places, 3), told.ctypes.data)
    message[0], told[1] = 0, 0
    return error


@cfunc("int64(int64)", cache=KEPT, error_model="numpy")
def take(job: int) -> int:
    return taken(job)


@cfunc("int64(int64, int64, int64, int64)", cache=KEPT, error_model="numpy")
def serve(frame: int, work: int, take: int, places: int) -> int:
    """One call by XLA, or its question for the version of the interface.

    places: of the functions ``ASKED`` in XLA_FFI_Api, a byte each: they are this jaxlib's, and this is kept on disk.
    """
    f = words(frame, 15)
    if f[1] != 0:
        extension = words(f[1], 4)
        if extension[1] & 0xFFFFFFFF == 1:
            words(extension[3], 4)[3] = words(f[2], 5)[4]  # that of the caller: structs are read by its header
            return 0
    total, grain = shared_out(frame)
    blocks = (total + grain - 1) // grain
    job = _malloc(8 * WORDS) if blocks > 1 else 0
    if job == 0:  # little to do, or no memory to share it out
        well = blocks <= 0 or call3(work, frame, 0, total) == DONE_WELL
        return 0 if well else failure(frame, places)
    of = words(job, WORDS)
    of[FRAME], of[WORK], of[BLOCKS], of[HOLDERS] = frame, work, blocks, 2
    of[NEXT], of[DONE], of[FAILED] = 0, 0, 0
    helpers(frame, job, blocks - 1, take, places)
    taken(job)
    while add(at(job, DONE), 0) < blocks:
        pass  # at most as long as one block takes
    failed = add(at(job, FAILED), 0)
    if add(at(job, HOLDERS), -1) == 1:
        _free(job)
    return 0 if failed == 0 else failure(frame, places)


def registered(how: Call, kinds: tuple[Kind, ...]) -> str:
    """The name under which XLA finds a function that gets its arrays from such places."""
    with _one_at_a_time:  # XLA takes a name once
        return _registered(_work(how, kinds))


_one_at_a_time = threading.RLock()


@cache
def _registered(text: str) -> str:
    work = load(text, "work")
    name = "neuroport_" + hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    jax.ffi.register_ffi_target(name, capsule(_trampoline(name, work.address)), platform="cpu")
    return name


@cache
def _written() -> str:
    """A digest of what is compiled into such a source beside itself: numba's cache looks at its own file alone."""
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("native*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _work(how: Call, kinds: tuple[Kind, ...]) -> str:
    """Source of what turns a frame's buffers into arrays."""
    text = f"# {_written()}\nimport numpy as np\nfrom numba import carray, cfunc\n"
    text += "from neuroport_jax.native_adapter import argument, pointer, result\n"
    text += f"from {how.module} import {how.name} as function\n\n"
    text += '@cfunc("int64(int64, int64, int64)", cache=True, error_model="numpy")\ndef work(frame, lo, hi):\n'
    count = 2 + sum(isinstance(value, int) for value in how.leading)
    text += f"    numbers = carray(pointer(argument(frame, 0)[3]), ({count},), np.int32)\n"
    for index, (side, place, axes, dtype) in enumerate(kinds):
        text += f"    b = {side}(frame, {place})\n    d = carray(pointer(b[5]), ({axes},), np.int64)\n"
        shape = "".join(f"d[{axis}], " for axis in range(axes))
        text += f"    a{index} = carray(pointer(b[3]), ({shape}), np.{dtype})\n"
    places = iter(range(2, count))
    leading = [value if isinstance(value, str) else f"np.int64(numbers[{next(places)}])" for value in how.leading]
    arguments = [*leading, *(f"a{index}" for index in range(len(kinds)))]
    return text + f"    function({', '.join(arguments)})\n    return {DONE_WELL}\n"


_kept: list[Any] = []  # trampolines live as long as the process


def _trampoline(name: str, work: int) -> int:
    """A C function ``frame -> serve(frame, work, take, places)``, by its address."""
    word = ir.IntType(64)
    module = ir.Module(name)
    function = ir.Function(module, ir.FunctionType(word, [word]), name)
    builder = ir.IRBuilder(function.append_basic_block())
    kind = ir.FunctionType(word, [word] * 4).as_pointer()
    target = builder.inttoptr(ir.Constant(word, serve.address), kind)
    names = functions() or ()
    places = sum(API_HEAD + names.index(one) << 8 * number for number, one in enumerate(ASKED))
    own = [ir.Constant(word, value) for value in (work, take.address, places)]
    builder.ret(builder.call(target, [function.args[0], *own]))
    made = llvm.parse_assembly(str(module))
    made.verify()
    engine = llvm.create_mcjit_compiler(made, llvm.Target.from_default_triple().create_target_machine())
    engine.finalize_object()
    _kept.append(engine)
    return int(ctypes.c_int64(engine.get_function_address(name)).value)
