"""How likely a text is, from denoiser calls alone: the bound a masked-diffusion model is evaluated with.

For a count l uniform over 1..L and l of the L positions masked, every choice of them equally likely,

    log p(x) >= E_l E_mask [ L/l * sum_{i masked} log p_theta(x_i | visible) ]

(LLaDA, arXiv 2502.09992, Eq. 6 and Algorithm 3; the same expectation as 1/t with independent coins, of lower variance
as the weight belongs to the masks that were drawn). It is the mean over all orders of writing one position at a time
of the log-probability written along, so it equals log p(x) where the conditionals are those of one joint distribution.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.core.numerics import top_within_row
from unmask.denoisers.base import Denoised


class TextElbo(NamedTuple):
    """elbo: float64 [B], in nats per text, an unbiased estimate of the bound; 0 for a row with nothing to write.

    standard_error: float64 [B], from the spread over the samples as if they were independent. They are spread evenly
        over l, which makes the true one smaller. NaN for a single sample.
    """

    elbo: Tensor
    standard_error: Tensor


@torch.no_grad()
def text_elbo(
    denoiser: Callable[[Canvas], Denoised], clean: Canvas, samples: int, draws: Draws, rows: int = 64
) -> TextElbo:
    """Estimate the bound on log p of what `clean` says at `clean.masked`, given the rest, from `samples` masks a row.

    clean: the whole text in `tokens`, and in `masked` the L positions it is asked about; rows may differ in L.
    rows:  masked texts given to the denoiser at a time. Changes nothing else: sample j of a row draws from
        (seed, row, j), so neither batch nor neighbours matter but for rounding.
    The counts are stratified: sample j of n has l from the j-th n-th of 1..L. Each l is as likely as before.
    Raises UserError if `samples` or `rows` is below 1.
    """
    for name, count in (("samples", samples), ("rows", rows)):
        if count < 1:
            raise UserError(f"{name} must be a whole number of at least 1, got {count}")
    size, device = len(clean.row), clean.tokens.device
    place = torch.arange(size, device=device).repeat_interleave(samples)  # [B * n]
    number = torch.arange(samples, device=device).repeat(size)
    value = torch.zeros(size * samples, dtype=torch.float64, device=device)
    for start in range(0, len(value), rows):
        part = slice(start, start + rows)
        value[part] = _weighted(denoiser, clean.take(place[part]), number[part], samples, draws)
    value = value.reshape(size, samples)
    spread = value.std(dim=-1) if samples > 1 else torch.full_like(value[:, 0], torch.nan)
    return TextElbo(value.mean(dim=-1), spread / samples**0.5)


def _weighted(
    denoiser: Callable[[Canvas], Denoised], clean: Canvas, number: Tensor, samples: int, draws: Draws
) -> Tensor:
    """float64 [b]: L/l * sum of log p at the masked positions, of sample `number` (long [b]) of each row."""
    drawn = replace(clean, step=number)
    length = clean.masked.sum(dim=-1)  # [b]
    stratum = (number + draws.row_uniform(drawn, "masked count")) / samples  # in (0, 1)
    count = ((length * stratum).long() + 1).minimum(length)
    masked = top_within_row(draws.uniform(drawn, "masked positions"), clean.masked, count)
    denoised = denoiser(clean.restrict(masked))
    log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(clean.tokens)).double(), 0.0)  # [b, L]
    # summed from left to right, so that not even the rounding depends on padding
    total = log_prob.cumsum(dim=-1)[:, -1:].sum(dim=-1)
    return total * length / count.clamp(min=1)
