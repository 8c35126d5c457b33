"""What an order network reads: the denoiser's output at the masked positions, packed to the left of each row.

Packing means that a decode that has little left to write costs little, and that a row's features do not depend on
its padding or on its neighbours.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import mix, positions_from_first_valid
from unmask.core.numerics import rank_within_row
from unmask.denoisers.base import Denoised

POSITION_FEATURES = 7
ROW_FEATURES = 6
WIDEST_CODE = 64  # bits of a hash
SMALLEST = 1e-4  # probabilities this close to 0 or 1 look alike


class Packed(NamedTuple):
    """`W` = the most masked positions of any row.

    row, position, place: long [M], where each masked position stands on the canvas and in its row's packed list.
    present: bool [B, W], False where a row has fewer.
    rotary:  long [B, W], the position counted from the row's first valid one.
    hidden:  [B, W, D], the denoiser's hidden states, or None if it gives none.
    guesses: long [B, W, 2], the two most probable tokens.
    scalars: [B, W, POSITION_FEATURES], see `position_features`.
    rows:    [B, ROW_FEATURES], see `row_features`.
    """

    row: Tensor
    position: Tensor
    place: Tensor
    present: Tensor
    rotary: Tensor
    hidden: Tensor | None
    guesses: Tensor
    scalars: Tensor
    rows: Tensor


def log_odds(probability: Tensor) -> Tensor:
    """log(p / (1 - p)), with p kept away from 0 and 1."""
    return torch.logit(probability.clamp(SMALLEST, 1 - SMALLEST))


def token_codes(tokens: Tensor, width: int) -> Tensor:
    """[..., width] of +-1, for `tokens` long [...]: the first bits of a hash, at most `WIDEST_CODE`.

    Two tokens agree in about half of them, a token with itself in all, whatever the vocabulary and without a table.
    """
    bits = mix(tokens)[..., None] >> torch.arange(width, device=tokens.device)
    return (bits & 1).float() * 2 - 1


def position_features(canvas: Canvas, denoised: Denoised) -> Tensor:
    """[B, L, POSITION_FEATURES], each of order 1; meaningless where not masked.

    Log-odds of the most probable token, its probability, margin to the second, entropy, and the ranks of the first
    and of the entropy among the row's masked positions (0 = most certain, 1 = least), and how far into the masked
    positions this one lies.
    """
    known = denoised.statistics(entropy=True)
    entropy = denoised.to_rows(known.entropy, 0.0)
    first = denoised.to_rows(known.top2[:, 0], 0.5)
    second = denoised.to_rows(known.top2[:, 1], 0.5)
    count = canvas.masked.sum(dim=-1, keepdim=True).clamp(min=1).float()
    certain = rank_within_row(first, canvas.masked)
    settled = rank_within_row(-entropy, canvas.masked)
    along = canvas.masked.long().cumsum(dim=-1) - 1
    ranks = [rank.float() / count for rank in (certain, settled, along)]
    return torch.stack([log_odds(first) / 3, first, first - second, entropy, *ranks], dim=-1)


def row_features(canvas: Canvas) -> Tensor:
    """[B, ROW_FEATURES]: steps left and budget (log and inverse), how much is left, how much per step."""
    left = canvas.steps_left.clamp(min=1).float()
    budget = canvas.budget.float()
    count = canvas.masked.sum(dim=-1).clamp(min=1).float()
    features = [left.log(), 1 / left, budget.log(), 1 / budget, count.log() / 2, (count / left).log() / 2]
    return torch.stack(features, dim=-1)


def pack(canvas: Canvas, denoised: Denoised) -> Packed:
    """Gather what stands at the masked positions to the left of each row.

    Inside a wrapper `denoised` may cover more positions than `canvas.masked`; those are left out.
    """
    counts = canvas.masked.sum(dim=-1)
    width = int(counts.max()) if counts.numel() else 0
    row, position = canvas.masked.nonzero(as_tuple=True)
    place = (canvas.masked.long().cumsum(dim=-1) - 1)[row, position]

    def gather(values: Tensor) -> Tensor:
        packed = values.new_zeros(len(counts), width, *values.shape[1:])
        return packed.index_put((row, place), values)

    scalars = position_features(canvas, denoised)  # [B, L, POSITION_FEATURES]
    inside = canvas.masked[denoised.where[:, 0], denoised.where[:, 1]]
    return Packed(
        row=row,
        position=position,
        place=place,
        present=torch.arange(width, device=counts.device) < counts[:, None],
        rotary=gather(positions_from_first_valid(canvas.valid)[row, position]),
        hidden=None if denoised.hidden is None else gather(denoised.hidden[inside]),
        guesses=gather(denoised.top2_tokens[inside]),
        scalars=gather(scalars[row, position]),
        rows=row_features(canvas),
    )
