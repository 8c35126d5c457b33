"""Random numbers that depend on what they are for, not on when they were asked for.

A draw is a hash of (seed, row, step, position counted from the first valid one, purpose). A row therefore
sees the same numbers alone or in a batch, padded left or right, on any device and in any order of execution,
and the global generator is never touched. What a network makes of its row may still round differently beside others:
in bfloat16 and float16 that turns near ties, and `decode(..., exact=True)` is without it.
"""

import zlib
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError


def _signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift(bits: Tensor, by: int) -> Tensor:
    """Logical right shift of int64 (torch's is arithmetic)."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def mix(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection of 64-bit words that hides patterns."""
    bits = bits + _GOLDEN
    bits = (bits ^ _shift(bits, 30)) * _FIRST
    bits = (bits ^ _shift(bits, 27)) * _SECOND
    return bits ^ _shift(bits, 31)


def to_unit(bits: Tensor) -> Tensor:
    """Map 64-bit words to float64 strictly inside (0, 1): the middle of one of 2^52 cells.

    Not 2^53 of them: the last middle would have no float64 of its own and would round to 1.
    """
    return (_shift(bits, 12).double() + 0.5) * 2.0**-52


def positions_from_first_valid(valid: Tensor) -> Tensor:
    """long [B, L]: 0 at each row's first valid position, so that padding moves nothing. [B, L] bool in."""
    index = torch.arange(valid.shape[-1], device=valid.device).expand(valid.shape)
    first = valid.long().argmax(dim=-1, keepdim=True)
    return index - first


@dataclass(frozen=True)
class Draws:
    """A source of uniform numbers for one run. Two sources with the same seed are the same source."""

    seed: int

    def __post_init__(self) -> None:
        seed: Any = self.seed
        if not isinstance(seed, Integral):
            raise UserError(f"seed must be a whole number, got {seed!r}")
        object.__setattr__(self, "seed", int(seed))  # numpy's would pass their 64 bits

    def uniform(self, canvas: Canvas, purpose: str) -> Tensor:
        """float64 [B, L] in (0, 1): one number per position, for this step of each row and this purpose."""
        place = positions_from_first_valid(canvas.valid)
        return to_unit(mix(self._row_words(canvas, canvas.step, purpose)[:, None] ^ mix(place)))

    def row_uniform(self, canvas: Canvas, purpose: str) -> Tensor:
        """float64 [B] in (0, 1): one number per row."""
        return to_unit(mix(self._row_words(canvas, canvas.step, purpose) ^ _SECOND))

    def ahead(self, canvas: Canvas, purpose: str, steps: int, where: Tensor) -> Tensor:
        """float64 [S, M]: `uniform` at the positions `where` (bool [B, L]), in this step and the S - 1 after it."""
        row, column = where.nonzero(as_tuple=True)
        coming = canvas.step + torch.arange(steps, device=canvas.step.device)[:, None]  # [S, B]
        place = positions_from_first_valid(canvas.valid)[row, column]
        return to_unit(mix(self._row_words(canvas, coming, purpose)[:, row] ^ mix(place)))

    def at(self, canvas: Canvas) -> "StepDraws":
        """The same source, bound to where a canvas stands: what a RevealLaw samples from."""
        return StepDraws(self, canvas)

    def _row_words(self, canvas: Canvas, step: Tensor, purpose: str) -> Tensor:
        start = _signed(self.seed * 0x9E3779B97F4A7C15 + zlib.crc32(purpose.encode()))
        words = mix(torch.full_like(canvas.row, start))
        words = mix(words ^ mix(canvas.row))
        return mix(words ^ mix(step + _FIRST))


@dataclass(frozen=True)
class StepDraws:
    """`Draws` bound to one canvas: purpose in, uniforms out."""

    draws: Draws
    canvas: Canvas

    def uniform(self, purpose: str) -> Tensor:
        """float64 [B, L] in (0, 1)."""
        return self.draws.uniform(self.canvas, purpose)

    def ahead(self, purpose: str, steps: int, where: Tensor) -> Tensor:
        """float64 [S, M]: `uniform` at the positions `where` (bool [B, L]), in this step and the S - 1 after it."""
        return self.draws.ahead(self.canvas, purpose, steps, where)

    def row_uniform(self, purpose: str) -> Tensor:
        """float64 [B] in (0, 1)."""
        return self.draws.row_uniform(self.canvas, purpose)
