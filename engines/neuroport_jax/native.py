"""Compiled functions of numba's as custom calls of XLA programs on the CPU.

XLA's loops on a CPU start several small kernels in each step of time; a function of our own runs all
steps of a block of neurons in one go. XLA calls it through its foreign function interface (FFI), a C
interface whose structs are read here as arrays of 64-bit words, as jaxlib's ``xla/ffi/api/c_api.h`` lays
them out. Blocks are shared out to XLA's own threads: whoever is free takes the next one.

No address is written into a program: a program names its function by the content of its source, so that
it can be kept on disk and run by another process that has registered the same source.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax

API_HEAD = 6  # words of XLA_FFI_Api before its first function
# what is called there, and the structs as they are read and written here
ASKED = (
    "XLA_FFI_ThreadPool_Schedule", "XLA_FFI_ThreadPool_NumThreads", "XLA_FFI_Error_Destroy", "XLA_FFI_Error_Create")
STRUCTS = {
    "XLA_FFI_Api": ("struct_size", "extension_start", "api_version", "internal_api"),
    "XLA_FFI_Api_Version": ("struct_size", "extension_start", "major_version", "minor_version"),
    "XLA_FFI_CallFrame": ("struct_size", "extension_start", "api", "ctx", "stage", "args", "rets", "attrs"),
    "XLA_FFI_Args": ("struct_size", "extension_start", "size", "types", "args"),
    "XLA_FFI_Rets": ("struct_size", "extension_start", "size", "types", "rets"),
    "XLA_FFI_Buffer": ("struct_size", "extension_start", "dtype", "data", "rank", "dims"),
    "XLA_FFI_Metadata": ("struct_size", "api_version"),
    "XLA_FFI_Metadata_Extension": ("extension_base", "metadata"),
    "XLA_FFI_ThreadPool_Schedule_Args": ("struct_size", "extension_start", "ctx", "task", "data"),
    "XLA_FFI_ThreadPool_NumThreads_Args": ("struct_size", "extension_start", "ctx", "num_threads"),
    "XLA_FFI_Error_Create_Args": ("struct_size", "extension_start", "message", "errc"),
    "XLA_FFI_Error_Destroy_Args": ("struct_size", "extension_start", "error"),
}
HEADER = "xla/ffi/api/c_api.h"


@cache
def available() -> bool:
    """Whether this process can compile such functions, and this jaxlib's interface is the one that is known here."""
    return all(find_spec(name) is not None for name in ("numba", "llvmlite")) and functions() is not None


@cache
def functions() -> tuple[str, ...] | None:
    """The functions of XLA_FFI_Api in the order in which this jaxlib lays them out; None where nobody knows."""
    try:
        text = (Path(jax.ffi.include_dir()) / HEADER).read_text(encoding="utf-8")
    except (AttributeError, OSError):
        return None
    names = tuple(re.findall(r"_XLA_FFI_API_STRUCT_FIELD\((XLA_FFI_\w+)\);", text))
    known = all(_fields(text, struct)[: len(fields)] == fields for struct, fields in STRUCTS.items())
    return names if known and set(ASKED) <= set(names) else None


def _fields(text: str, struct: str) -> tuple[str, ...]:
    """The names of a struct's fields, in order."""
    body = re.search(rf"struct {struct} {{(.*?)\n}}", text, re.DOTALL)
    return tuple(re.findall(r"(\w+);", re.sub(r"//.*", "", body.group(1)))) if body else ()


class Call(NamedTuple):
    """How a function is called: ``name`` of ``module``, as ``name(*leading, *arrays)``.

    leading: "lo" and "hi", the range that one call works on, or whole numbers. arrays: names, in order. grain:
    ranges are multiples of it.
    """

    module: str
    name: str
    leading: tuple[str | int, ...]
    arrays: tuple[str, ...]
    grain: int


def capsule(address: int) -> Any:
    """A C function as jax takes it."""
    return jax.ffi.pycapsule(ctypes.c_void_p(address))
