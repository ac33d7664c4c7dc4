"""The first product on CUDA, from packed bits: tiles of them are unpacked in registers and multiplied at once.

x (T * B, K) stands in bits along time, values (N, T / 8, K), of which ``samples`` (B,) are taken; row t * B + b is
step t of sample b. Zeros and ones are exact in bfloat16, so a product in three bfloat16 pieces is as accurate as a
float32 product (``bf16_products.py``); where operands are rounded there is one piece.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from neuroport_torch.bf16_products import pieces
from neuroport_torch.kernels.triton_tiles import on

Tensor = torch.Tensor
ROWS, COLUMNS, TERMS = 64, 64, 64  # of a tile. Fixed, not measured: sums depend on them
SHARES = 16  # stretches of rows whose parts of a gradient are summed in a second step


@triton.jit
def unpacked(values, samples, row, rows, k, width, batch, stride):
    """x at rows (R, 1) and columns (1, C), float32."""
    step = row // batch
    sample = tl.load(samples + row % batch, row < rows, 0)
    place = values + sample * stride + (step // 8).to(tl.int64) * width + k
    byte = tl.load(place, (row < rows) & (k < width), 0).to(tl.int32)
    return ((byte >> (step % 8)) & 1).to(tl.float32)


@triton.jit
def widened(bits):
    """bfloat16 numbers, by their bits, in float32."""
    return (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def leading(x):
    """The nearest bfloat16 to float32 numbers, ties to even, held in float32; NaN stays."""
    bits = x.to(tl.uint32, bitcast=True)
    return tl.where(x == x, ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).to(tl.float32, bitcast=True), x)


@triton.jit
def forward(
    values, samples, weight, bias, y, rows, batch, width, columns, stride,
    PIECES: tl.constexpr, BIASED: tl.constexpr, NATIVE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
):
    """y (T * B, N) = x W^T + b. weight: (PIECES, N, K) bfloat16 by its bits."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    column = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, width, TERMS):
        x = unpacked(values, samples, row, rows, start + tl.arange(0, TERMS)[None, :], width, batch, stride)
        k = start + tl.arange(0, TERMS)[:, None]
        for piece in tl.static_range(PIECES - 1, -1, -1):  # the last digits first
            lying = weight + (piece * columns + column) * width + k
            w = widened(tl.load(lying, (column < columns) & (k < width), 0))
            if NATIVE:
                total = tl.dot(x.to(tl.bfloat16), w.to(tl.bfloat16), total)
            else:
                total = tl.dot(x, w, total, input_precision="ieee")
    if BIASED:
        total += tl.load(bias + column, column < columns, 0.0)
    place = row.to(tl.int64) * columns + column
    tl.store(y + place, total, (row < rows) & (column < columns))


@triton.jit
def reverse(
    values, samples, dy, parts, rows, batch, width, columns, stride, share,
    PIECES: tl.constexpr, NATIVE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TERMS: tl.constexpr,
):
    """parts (SHARES, N, K): of dW = dy^T x over rows share * p .. share * (p + 1)."""
    column = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[:, None]
    k = (tl.program_id(1) * TERMS + tl.arange(0, TERMS))[None, :]
    first = tl.program_id(2) * share
    last = tl.minimum(first + share, rows)
    total = tl.zeros((COLUMNS, TERMS), tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        x = unpacked(values, samples, row[:, None], last, k, width, batch, stride)
        place = row[None, :].to(tl.int64) * columns + column
        rest = tl.load(dy + place, (row[None, :] < last) & (column < columns), 0.0)
        for _ in tl.static_range(PIECES):
            piece = leading(rest)
            rest -= piece
            if NATIVE:
                total = tl.dot(piece.to(tl.bfloat16), x.to(tl.bfloat16), total)
            else:
                total = tl.dot(piece, x, total, input_precision="ieee")
    tl.store(parts + (tl.program_id(2) * columns + column).to(tl.int64) * width + k, total,
             (column < columns) & (k < width))


def times(values: Tensor, samples: Tensor, steps: int, weight: Tensor, bias: Tensor | None, rounded: bool) -> Tensor:
    """y (T * B, N) = x W^T + b; values (N, T / 8, K), weight (N, K) float32."""
    rows, columns = steps * len(samples), len(weight)
    split = (weight.to(torch.bfloat16),) if rounded else pieces(weight)
    bits = torch.stack(split).contiguous().view(torch.int16)
    y = torch.empty(rows, columns, device=weight.device)
    grid = (triton.cdiv(rows, ROWS), triton.cdiv(columns, COLUMNS))
    with on(weight.device):
        forward[grid](
            values, samples, bits, weight if bias is None else bias.contiguous(), y, rows, len(samples),
            values.shape[2], columns, values.stride(0), len(split), bias is not None, weight.device.type == "cuda",
            ROWS, COLUMNS, TERMS, num_warps=4)
    return y


def outer(values: Tensor, samples: Tensor, steps: int, dy: Tensor, rounded: bool) -> Tensor:
    """dW (N, K) = dy^T x, from dy (T * B, N) float32."""
    rows, columns, width = steps * len(samples), dy.shape[1], values.shape[2]
    share = triton.cdiv(triton.cdiv(rows, SHARES), ROWS) * ROWS
    parts = torch.zeros(SHARES, columns, width, device=dy.device)
    grid = (triton.cdiv(columns, COLUMNS), triton.cdiv(width, TERMS), SHARES)
    with on(dy.device):
        reverse[grid](
            values, samples, dy.contiguous(), parts, rows, len(samples), width, columns, values.stride(0), share,
            1 if rounded else 3, dy.device.type == "cuda", ROWS, COLUMNS, TERMS, num_warps=4)
    return parts.sum(0)
