"""Exact tabular models of short sequences: the oracle of the tests, and the smallest example of a denoiser.

A context is what is visible of a row of `L` positions over `V` tokens. It is numbered in base V + 1, most
significant digit first: the token where one is visible, V where none is. There are (V + 1)^L contexts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import one_hot

from unmask.core.canvas import Canvas
from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised

SUM_TOLERANCE = 1e-9
Joint = Tensor | ArrayLike  # a tensor, a numpy array, or nested lists


def context_index(canvas: Canvas, length: int, vocabulary: int) -> Tensor:
    """long [B]: the number of what is visible in each row.

    Position 0 of the table stands at the first valid one, so padding on either side changes nothing; places
    of the table beyond the last valid position count as not visible.
    """
    base = vocabulary + 1
    place = positions_from_first_valid(canvas.valid).clamp(0, length - 1)  # [B, L]
    visible = canvas.valid & ~canvas.masked
    if bool((visible & ((canvas.tokens < 0) | (canvas.tokens >= vocabulary))).any()):
        raise UserError(f"a visible token is outside 0..{vocabulary - 1}, the vocabulary of this table")
    longest = int(canvas.valid.sum(-1).max())
    if longest > length:
        raise UserError(f"a row has {longest} valid positions; this table has {length}")
    below = torch.where(visible, vocabulary - canvas.tokens, 0)
    nothing_visible: int = base**length - 1
    powers: Tensor = base ** (length - 1 - place)
    return nothing_visible - (below * powers).sum(dim=-1)


def context_digits(length: int, vocabulary: int) -> Tensor:
    """long [(V+1)^L, L]: the digits of every context in order; V where a position is not visible."""
    return torch.cartesian_prod(*[torch.arange(vocabulary + 1)] * length).reshape(-1, length)


def context_features(context: Tensor, place: Tensor, length: int, vocabulary: int) -> Tensor:
    """[M, L * (V + 1) + L]: one-hot digits of `context` (long [M]) and one-hot `place` (long [M])."""
    base = vocabulary + 1
    powers = base ** torch.arange(length - 1, -1, -1, device=context.device)
    digits = torch.div(context[:, None], powers, rounding_mode="floor") % base  # [M, L]
    features = torch.cat([one_hot(digits, base).flatten(1), one_hot(place, length)], dim=-1)
    return features.to(torch.get_default_dtype())


def _look_up(canvas: Canvas, table: Tensor, features: bool, again: Tensor | None = None) -> Denoised:
    """The rows of `table` ([(V+1)^L, L, V] logits) that belong to the masked positions, and to those of `again`."""
    _, length, vocabulary = table.shape
    asked = canvas if again is None else canvas.remask(again)
    row, column = asked.masked.nonzero(as_tuple=True)
    place = positions_from_first_valid(canvas.valid)[row, column]  # [M]
    context = context_index(canvas, length, vocabulary)[row]  # [M]
    hidden = context_features(context, place, length, vocabulary) if features else None
    return Denoised.from_logits(asked, table[context, place], hidden)


@dataclass(frozen=True)
class TableDenoiser:
    """The true conditionals p(x_i | visible) of a joint distribution, in float64.

    A context of probability 0 has no conditionals; there every token is equally likely.

    joint: float64 [V] * L, non-negative, sums to 1. Build it with `TableDenoiser.of(joint)`.
    log_conditionals: float64 [(V+1)^L, L, V].
    features: if True, `hidden` is the context and the place, one-hot [M, L * (V + 1) + L] in the default
        dtype: all there is to know, for an order network.
    """

    joint: Tensor
    log_conditionals: Tensor
    features: bool = False

    @staticmethod
    def of(joint: Joint, features: bool = False) -> "TableDenoiser":
        """Check `joint` and sum it over every set of positions. UserError says which entry is wrong."""
        joint = read_joint(joint)
        length, vocabulary = joint.dim(), joint.shape[0]
        marginals = joint
        for axis in range(length):  # index V of an axis: that position is summed out
            marginals = torch.cat([marginals, marginals.sum(axis, keepdim=True)], dim=axis)
        tables = []
        for axis in range(length):
            seen = marginals.narrow(axis, 0, vocabulary)  # p(x_axis = v, the rest of what is visible)
            seen = seen.movedim(axis, -1).unsqueeze(axis)  # the same whatever stands at the axis itself
            tables.append(seen.expand(*marginals.shape, vocabulary).reshape(-1, vocabulary))
        together = torch.stack(tables, dim=1)  # [(V+1)^L, L, V]
        total = together.sum(-1, keepdim=True)
        conditionals = torch.where(total > 0, together / total.clamp(min=1e-300), 1.0 / vocabulary)
        return TableDenoiser(joint, conditionals.log(), features)

    @property
    def length(self) -> int:
        return self.joint.dim()

    @property
    def vocabulary(self) -> int:
        return self.joint.shape[0]

    def __call__(self, canvas: Canvas) -> Denoised:
        """The exact conditionals at every masked position."""
        return _look_up(canvas, self.log_conditionals, self.features)

    def reread(self, canvas: Canvas, again: Tensor) -> Denoised:
        """The same at written positions too: there the table does not depend on the token itself."""
        return _look_up(canvas, self.log_conditionals, self.features, again)


class LearnableTable(nn.Module):
    """A free parameter for every (context, position, token): theta of the gradient tests.

    Its conditionals need not come from any joint distribution, like those of a network.

    logits: [(V+1)^L, L, V].
    """

    def __init__(self, logits: Tensor, features: bool = False) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.features = features

    def forward(self, canvas: Canvas) -> Denoised:
        """The softmax of the context's logits at every masked position."""
        return _look_up(canvas, self.logits, self.features)


def read_joint(joint: Joint) -> Tensor:
    """float64 [V] * L, if `joint` is a distribution over texts.

    Raises UserError that says what it is instead: no numbers, not one axis of equal size per position, an entry that is
    NaN, negative or infinite, or a sum other than 1.
    """
    return _checked(numbers(joint))


def numbers(values: Joint) -> Tensor:
    """float64, from a tensor, a numpy array or nested lists. Raises UserError if they are no real numbers."""
    try:
        raw = values.detach() if isinstance(values, Tensor) else np.asarray(values)
        if raw.is_complex() if isinstance(raw, Tensor) else np.iscomplexobj(raw):
            raise ValueError("it is complex")
        return raw.double() if isinstance(raw, Tensor) else torch.from_numpy(raw.astype(np.float64))
    except (TypeError, ValueError) as error:  # ragged lists, texts, objects
        raise UserError(f"a joint is an array of real numbers, one axis of size V per position: {error}") from error


def _checked(joint: Tensor) -> Tensor:
    if joint.dim() == 0 or len(set(joint.shape)) != 1:
        raise UserError(f"a joint must have one axis of size V per position, not shape {tuple(joint.shape)}")
    wrongs = {"not a number": joint.isnan(), "negative": joint < 0, "infinite": joint.isinf()}
    for what, wrong in wrongs.items():
        if bool(wrong.any()):
            entry = tuple(wrong.nonzero()[0].tolist())
            raise UserError(f"joint entry {entry} is {what}: {float(joint[entry])}")
    total = float(joint.sum())
    if abs(total - 1) > SUM_TOLERANCE:
        raise UserError(f"joint sums to {total}, not to 1. hint: divide it by its sum, in float64")
    return joint
