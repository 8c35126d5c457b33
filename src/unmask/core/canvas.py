"""The canvas: the sequence being written. The only thing that evolves during decoding."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


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
        """A canvas at step 0; every position is valid and rows are numbered 0..B-1 unless said otherwise."""
        rows, device = tokens.shape[0], tokens.device
        valid = torch.ones_like(masked) if valid is None else valid
        return Canvas(
            tokens=tokens,
            masked=masked & valid,
            valid=valid,
            step=torch.zeros(rows, dtype=torch.long, device=device),
            budget=torch.as_tensor(budget, dtype=torch.long, device=device).expand(rows).clone(),
            row=torch.arange(rows, device=device) if row is None else row,
        )

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
