"""An order: which positions are revealed at step 1, 2, ... The latent variable of the whole library."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor


@dataclass(frozen=True)
class Order:
    """`B` ordered partitions of (some of) `L` positions.

    steps: long [B, L], the step a position is revealed at, counted from 1; 0 where it was never masked.
    """

    steps: Tensor

    @staticmethod
    def from_sets(rows: Sequence[Sequence[AbstractSet[int]]], length: int) -> "Order":
        """From the sets revealed at step 1, 2, ... of each row. ValueError if a position comes twice."""
        steps = torch.zeros(len(rows), length, dtype=torch.long)
        for row, sets in enumerate(rows):
            for step, positions in enumerate(sets, start=1):
                for position in positions:
                    if steps[row, position] != 0:
                        first = int(steps[row, position])
                        raise ValueError(f"row {row}: position {position} is in steps {first} and {step}")
                    steps[row, position] = step
        return Order(steps)

    def to_sets(self) -> list[list[set[int]]]:
        """The sets revealed at step 1, 2, ... of each row; an empty set where a step revealed nothing."""
        rows = []
        for steps in self.steps.tolist():
            sets: list[set[int]] = [set() for _ in range(max(steps, default=0))]
            for position, step in enumerate(steps):
                if step > 0:
                    sets[step - 1].add(position)
            rows.append(sets)
        return rows

    @property
    def num_steps(self) -> Tensor:
        """long [B]: the step that reveals the last position; 0 where nothing was masked."""
        return self.steps.amax(dim=-1)

    def masked_before(self, step: int | Tensor) -> Tensor:
        """bool [B, L]: M_t, what is still to be written before `step` (long [B], or one for all rows)."""
        return self.steps >= self._column(step)

    def revealed_at(self, step: int | Tensor) -> Tensor:
        """bool [B, L]: S_t, what `step` (long [B], or one for all rows; at least 1) reveals."""
        return self.steps == self._column(step)

    def take(self, rows: Tensor) -> "Order":
        """The given rows (long or bool index over B), in that order."""
        return Order(self.steps[rows])

    @staticmethod
    def _column(step: int | Tensor) -> int | Tensor:
        return step[:, None] if isinstance(step, Tensor) else step


def ordered_partitions(length: int, max_steps: int | None = None) -> Order:
    """Every order of `length` positions in at most `max_steps` steps (default: no limit), one per row.

    There are 1, 3, 13, 75, 541, ... of them (ordered Bell numbers). For enumeration only: it walks all
    max_steps^length maps from positions to steps and keeps those that skip no step.
    """
    most = length if max_steps is None else min(max_steps, length)
    maps = product(range(1, most + 1), repeat=length)
    orders = [steps for steps in maps if len(set(steps)) == max(steps, default=0)]
    return Order(torch.tensor(orders, dtype=torch.long).reshape(len(orders), length))
