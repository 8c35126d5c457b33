"""The canvas: the sequence being written. The only thing that evolves during decoding."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unmask.core.errors import UserError


@dataclass(frozen=True)
class Canvas:
    """`B` rows of `L` positions, some of them still to be written.

    tokens: long [B, L]. What stands at a masked or invalid position means nothing.
    masked: bool [B, L], True where a token is still to be written. Always a subset of `valid`.
    valid:  bool [B, L], False on padding (which may be on either side).
    step:   long [B], steps taken so far.
    budget: long [B], the most steps this row may take.
    row:    long [B], the identity of the row; its random draws depend on this and not on where it stands.
    """

    tokens: Tensor
    masked: Tensor
    valid: Tensor
    step: Tensor
    budget: Tensor
    row: Tensor

    @staticmethod
    def make(
        tokens: Tensor,
        masked: Tensor,
        budget: int | Tensor,
        valid: Tensor | None = None,
        row: Tensor | None = None,
    ) -> "Canvas":
        """A canvas at step 0; every position is valid and rows are numbered 0..B-1 unless said otherwise.

        Arrays, nested lists and other whole numbers will do, masks of 0 and 1 among them. Raises UserError on what does
        not fit together.
        """
        tokens = whole_numbers("tokens", tokens)
        rows, device = len(tokens) if tokens.dim() else 0, tokens.device
        masked = _mask("masked", masked).to(device)
        valid = torch.ones_like(masked) if valid is None else _mask("valid", valid).to(device)
        budget = whole_numbers("budget", budget).to(device)
        canvas = Canvas(
            tokens=tokens,
            masked=masked & valid if masked.shape == valid.shape else masked,
            valid=valid,
            step=torch.zeros(rows, dtype=torch.long, device=device),
            budget=budget.repeat(rows) if budget.numel() == 1 else budget,
            row=torch.arange(rows, device=device) if row is None else whole_numbers("row", row).to(device),
        )
        check_canvas(canvas)
        return canvas

    @property
    def unfinished(self) -> Tensor:
        """bool [B]: rows with something left to write."""
        return self.masked.any(dim=-1)

    @property
    def steps_left(self) -> Tensor:
        """long [B]: steps this row may still take, the coming one included."""
        return self.budget - self.step

    @property
    def last_step(self) -> Tensor:
        """bool [B]: at this step all that is left must be revealed."""
        return self.steps_left <= 1

    def reveal(self, positions: Tensor, tokens: Tensor) -> "Canvas":
        """Write `tokens` (long [B, L]) at `positions` (bool [B, L]); a step for every unfinished row.

        Positions that are not masked are left alone. Returns a new canvas; this one is not changed.
        """
        positions = positions & self.masked
        return replace(
            self,
            tokens=torch.where(positions, tokens, self.tokens),
            masked=self.masked & ~positions,
            step=self.step + self.unfinished.long(),
        )

    def remask(self, positions: Tensor) -> "Canvas":
        """The same canvas where `positions` (bool [B, L]) are to be written again; padding stays as it is."""
        return replace(self, masked=self.masked | (positions & self.valid))

    def restrict(self, positions: Tensor) -> "Canvas":
        """The same canvas where only `positions` (bool [B, L]) count as still to be written."""
        return replace(self, masked=self.masked & positions)

    def take(self, rows: Tensor) -> "Canvas":
        """The given rows (long or bool index over B), in that order: compaction, repetition, resampling."""
        return Canvas(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def to(self, device: torch.device | str) -> "Canvas":
        """The same canvas on another device."""
        return Canvas(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def check_canvas(canvas: Canvas) -> None:
    """Raise UserError unless every part has the type and shape it must have, and nothing is masked on padding."""
    shape = tuple(canvas.tokens.shape) if isinstance(canvas.tokens, Tensor) else ()
    for name in canvas.__dataclass_fields__:
        value = getattr(canvas, name)
        kind = torch.bool if name in ("masked", "valid") else torch.long
        wanted = shape[:1] if name in ("step", "budget", "row") else shape
        if not isinstance(value, Tensor) or value.dtype != kind or tuple(value.shape) != wanted or len(shape) != 2:
            found = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            axes = "[rows]" if name in ("step", "budget", "row") else "[rows, positions]"
            raise UserError(
                f"`{name}` of a canvas must be {kind} {axes}, as many of both as there are tokens, got {found}"
                f"{f' beside tokens {list(shape)}' if name != 'tokens' else ''}"
            )
    if bool((canvas.masked & ~canvas.valid).any()):
        raise UserError("a canvas has masked positions on its padding: what is to be written must be valid too")


def whole_numbers(name: str, value: Any) -> Tensor:
    """`value` as a long tensor. Raises UserError if it is no whole number, or one beyond 64 bits."""
    found = _tensor(name, value)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise UserError(f"`{name}` of a canvas must be whole numbers, got {found.dtype}")
    return found.long()


def _mask(name: str, value: Any) -> Tensor:
    """`value` as a bool tensor. Raises UserError unless it is made of true and false, or of 1 and 0."""
    found = _tensor(name, value)
    if found.dtype != torch.bool and not bool(((found == 0) | (found == 1)).all()):
        raise UserError(f"`{name}` of a canvas must be true or false at each position, got {found.dtype}")
    return found.bool()


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        what = "numbers of at most 64 bits, in a tensor or lists"
        raise UserError(f"`{name}` of a canvas must be {what}: {error}") from error
