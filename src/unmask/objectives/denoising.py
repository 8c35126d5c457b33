"""The loss that trains a denoiser: predict the masked tokens at a random rate of masking.

For a rate t uniform over (0, 1], every response position masked independently with chance t,

    -log p(x) <= E_t E_mask [ 1/t * sum_{i masked} -log p_theta(x_i | visible) ]

(Sahoo et al. 2024 and Ou et al. 2024, with the linear schedule): the average over all orders of revealing one
position at a time, equal to -log p(x) when the conditionals are those of one joint distribution.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.denoisers.base import Denoised

Weight = Literal["elbo", "mean"]


class DenoisingLoss(NamedTuple):
    """loss: scalar, to minimise: the mean of per_row, [B]. masked: long [B], how many positions were."""

    loss: Tensor
    per_row: Tensor
    masked: Tensor


def stratified_times(rows: int, uniform: Tensor, floor: float = 1e-3) -> Tensor:
    """float64 [B]: one masking rate per row, spread evenly: (u + b / B) mod 1, squeezed into [floor, 1).

    Each rate alone is uniform when `uniform` (a scalar tensor) is; together they cover the range, which takes
    most of the variance out of the loss. `floor` keeps 1/t finite: rates below it are never asked for, a bias
    of order `floor`.
    """
    places = torch.arange(rows, dtype=torch.float64, device=uniform.device)
    even = (uniform + places / rows) % 1.0
    return floor + (1 - floor) * even


def mask_for_denoising(clean: Canvas, times: Tensor, uniform: Tensor) -> Canvas:
    """Mask each position of `clean.masked` independently with chance `times` ([B]); `uniform` is [B, L].

    `clean` holds the whole text in `tokens`, and in `masked` the positions that may be masked. A row may
    come out with nothing masked: leaving those out, or forcing one, would bias the loss.
    """
    return clean.restrict(uniform < times[:, None])


def denoising_loss(denoised: Denoised, clean: Canvas, times: Tensor, weight: Weight = "elbo") -> DenoisingLoss:
    """Negative log-likelihood of the masked tokens of each row, weighted; `times` [B] are the masking rates.

    weight "elbo": 1/t, divided by how many positions could have been masked. Its expectation is an upper
        bound on -log p(x) / n in nats per response token, and it is what to report.
    weight "mean": divided by how many were masked (0 if none). Bounds nothing, but its variance is lower and
        it does not favour the nearly clean rows.

    Rows count equally, whatever their length; a row with no response counts 0.
    """
    clean_tokens = denoised.from_rows(clean.tokens)  # [M]
    log_prob = denoised.to_rows(denoised.log_prob(clean_tokens), 0.0)  # [B, L]
    masked = denoised.to_rows(torch.ones_like(clean_tokens), 0).sum(-1)  # [B]
    total = -log_prob.sum(-1)  # [B]
    if weight == "elbo":
        per_row = total / times.to(total.dtype) / clean.masked.sum(-1).clamp(min=1)
    elif weight == "mean":
        per_row = total / masked.clamp(min=1)
    else:
        raise ValueError(f"unknown weight `{weight}`. Choices: elbo, mean")
    return DenoisingLoss(per_row.mean(), per_row, masked)
