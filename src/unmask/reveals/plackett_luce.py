"""A race for the first places, and a draw of how many places there are: Plackett-Luce with a cut."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF, top_within_row
from unmask.reveals.categorical import list_sets

LONGEST = 12  # positions up to which the probability of a set is summed over the orders in which it can come in


@dataclass(frozen=True)
class PlackettLuce:
    """Draw a number n, then the first n of a race in which position i has rate exp(scores_i).

    One position after the other is taken with probability proportional to its rate among those left (Plackett 1975;
    LO-ARM, arXiv 2503.05979, takes one). The set is what counts and not the order within it:

        P(S | n) = sum_{i in S} P(S without i | n - 1) exp(s_i) / sum_{j in M, not in S without i} exp(s_j)

    scores: [B, L]. sizes: [B, L], logits of n = 1..L; those above the number masked count for nothing.
    masked: bool [B, L]. Draws are exact for any length; probabilities take 2^L numbers a row, so at most 12 positions.
    """

    scores: Tensor
    sizes: Tensor
    masked: Tensor

    @property
    def may_be_empty(self) -> bool:
        return False

    @property
    def _log_sizes(self) -> Tensor:
        """[B, L]: log-probability of n = 1..L."""
        number = torch.arange(1, self.masked.shape[-1] + 1, device=self.masked.device)
        most = self.masked.sum(-1, keepdim=True).clamp(min=1)  # finished rows keep a finite gradient
        return torch.where(number <= most, self.sizes, NEG_INF).log_softmax(-1)

    @cached_property
    def _sets(self) -> Tensor:
        length = self.masked.shape[-1]
        if length > LONGEST:
            raise ValueError(f"the probability of a set is summed for at most {LONGEST} positions, not {length}")
        return list_sets(length).to(self.masked.device)

    @property
    def log_probs(self) -> Tensor:
        """[B, 2^L]: log-probability of every set, as `categorical.list_sets` lists them; -inf where impossible."""
        sets, length = self._sets, self.masked.shape[-1]
        shifted = torch.where(self.masked, self.scores, NEG_INF)
        best = torch.where(self.masked.any(-1, keepdim=True), shifted.amax(-1, keepdim=True), 0.0).detach()
        score = torch.where(self.masked, self.scores - best, 0.0)
        outside = self.masked[:, None, :] & ~sets  # [B, 2^L, L], what is left once a set has come in
        left = torch.where(outside, score[:, None, :], NEG_INF).logsumexp(-1)  # [B, 2^L]
        left = torch.where(outside.any(-1), left, 0.0)
        powers = 2 ** torch.arange(length - 1, -1, -1, device=sets.device)
        size = sets.sum(-1)
        log_first = torch.where(size == 0, 0.0, NEG_INF).to(score.dtype).expand(len(score), -1)  # nothing has come in
        for taken in range(1, length + 1):
            here = (size == taken).nonzero().squeeze(-1)
            parts = []
            for position in range(length):
                inside = sets[here, position]
                before = (here - powers[position]).clamp(min=0)
                allowed = inside & self.masked[:, position, None]  # [B, sets of this size]
                step = log_first[:, before] + score[:, position, None] - left[:, before]
                possible = allowed & (log_first[:, before] > NEG_INF)
                parts.append(torch.where(possible, torch.where(possible, step, 0.0), NEG_INF))
            together = torch.stack(parts, -1)
            some = (together > NEG_INF).any(-1)
            safe = torch.where(some[..., None], together, 0.0).logsumexp(-1)
            log_first = log_first.index_copy(1, here, torch.where(some, safe, NEG_INF))
        counted = torch.where(size > 0, self._log_sizes[:, (size - 1).clamp(min=0)], NEG_INF)
        both = (log_first > NEG_INF) & (counted > NEG_INF)
        return torch.where(both, torch.where(both, log_first, 0.0) + torch.where(both, counted, 0.0), NEG_INF)

    def sharpen(self, factor: float) -> "PlackettLuce":
        """The same law with scores and sizes multiplied by `factor`."""
        return replace(self, scores=self.scores * factor, sizes=self.sizes * factor)

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: the first n by Gumbel keys; one uniform per position and one per row."""
        with torch.no_grad():
            bounds = self._log_sizes.double().exp().cumsum(-1)
            size = 1 + (bounds[:, :-1] <= draws.row_uniform("size")[:, None]).sum(-1)
            keys = self.scores.double() - (-draws.uniform("reveal").log()).log()
            return top_within_row(keys, self.masked, size)

    def log_prob(self, positions: Tensor) -> Tensor:
        """[B]: log-probability of `positions` (bool [B, L]); 0 on finished rows, -inf if impossible."""
        length = self.masked.shape[-1]
        number = (positions * 2 ** torch.arange(length - 1, -1, -1, device=positions.device)).sum(-1, keepdim=True)
        return torch.where(self.masked.any(-1), self.log_probs.gather(-1, number).squeeze(-1), 0.0)

    def inclusion(self) -> Tensor:
        """[B, L]: the chance of the sets that hold each position; 0 where not masked."""
        log_probs = self.log_probs
        return log_probs.exp() @ self._sets.to(log_probs.dtype)

    def entropy(self) -> Tensor:
        """[B]: summed over all sets; 0 on finished rows."""
        log_probs = self.log_probs
        possible = log_probs > NEG_INF
        safe = torch.where(possible, log_probs, 0.0)
        return -torch.where(possible, safe.exp() * safe, 0.0).sum(-1)
