"""Plain decode loops, written from the published rules and sharing nothing with `unmask.samplers`.

Logits at every position, written or not; the whole batch until its last row is done; nothing kept, nothing left out.
They are what `decode_speed.py` measures against, and what its tokens are held to.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.denoisers.transformer import Transformer


class Written(NamedTuple):
    """tokens: long [B, L]. nfe: long [B], passes until the row was done, though the batch went on."""

    tokens: Tensor
    nfe: Tensor


def predict(network: Transformer, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability and its token at every position, each [B, L]."""
    logits = network.head(network.encode(tokens, valid))  # [B, L, V]
    logits[..., network.config.mask_token] = float("-inf")
    probability = logits.float().log_softmax(dim=-1).exp()
    found = probability.max(dim=-1)
    return found.values, found.indices


def transfer_counts(masked: Tensor, steps: Tensor) -> Tensor:
    """long [B, most steps]: how many positions each step of a row writes, the remainder first."""
    total = masked.sum(dim=1)
    steps = torch.minimum(steps, total.clamp(min=1))
    counts = torch.zeros(len(steps), int(steps.max()), dtype=torch.long)
    for row in range(len(steps)):
        count, number = int(total[row]), int(steps[row])
        counts[row, :number] = count // number
        counts[row, : count % number] += 1
    return counts


@torch.no_grad()
def low_confidence(network: Transformer, canvas: Canvas) -> Written:
    """LLaDA's and SMDM's loop at temperature 0: at each step the surest positions, as many as the schedule says."""
    mask_token = network.config.mask_token
    tokens, masked = torch.where(canvas.masked, mask_token, canvas.tokens), canvas.masked.clone()
    counts, nfe = transfer_counts(masked, canvas.budget), torch.zeros_like(canvas.step)
    for step in range(counts.shape[1]):
        nfe += masked.any(dim=1).long()
        confidence, best = predict(network, tokens, canvas.valid)
        confidence = torch.where(masked, confidence, -torch.inf)
        transfer = torch.zeros_like(masked)
        for row in range(len(tokens)):
            surest = confidence[row].argsort(descending=True, stable=True)[: int(counts[row, step])]
            transfer[row, surest] = True
        tokens = torch.where(transfer, best, tokens)
        masked &= ~transfer
    return Written(tokens, nfe)


@torch.no_grad()
def confident_enough(network: Transformer, canvas: Canvas, level: float) -> Written:
    """Fast-dLLM's loop without cache: all positions that are sure enough, the surest at least; the rest at the end."""
    mask_token = network.config.mask_token
    tokens, masked = torch.where(canvas.masked, mask_token, canvas.tokens), canvas.masked.clone()
    nfe = torch.zeros_like(canvas.step)
    while masked.any():
        nfe += masked.any(dim=1).long()
        confidence, best = predict(network, tokens, canvas.valid)
        confidence = torch.where(masked, confidence, -torch.inf)
        transfer = confidence >= level
        for row in range(len(tokens)):
            transfer[row, confidence[row].argmax()] = True
        transfer |= (nfe >= canvas.budget)[:, None]
        tokens = torch.where(transfer & masked, best, tokens)
        masked &= ~transfer
    return Written(tokens, nfe)


@torch.no_grad()
def low_confidence_in_blocks(network: Transformer, canvas: Canvas, size: int) -> Written:
    """LLaDA's loop with blocks of `size`, for rows whose response stands in the same columns."""
    mask_token, columns = network.config.mask_token, canvas.masked[0].nonzero()[:, 0]
    assert torch.equal(canvas.masked, canvas.masked[:1].expand_as(canvas.masked)), "responses must be aligned"
    tokens, nfe = torch.where(canvas.masked, mask_token, canvas.tokens), torch.zeros_like(canvas.step)
    blocks = columns.split(size)
    for block in blocks:
        counts = transfer_counts(torch.ones(1, len(block), dtype=torch.bool), canvas.budget[:1] // len(blocks))
        for count in counts[0].tolist():
            nfe += 1
            confidence, best = predict(network, tokens, canvas.valid)
            confidence = torch.where(tokens == mask_token, confidence, -torch.inf)
            confidence[:, block[-1] + 1 :] = -torch.inf
            surest = confidence.argsort(dim=-1, descending=True, stable=True)[:, :count]
            tokens = tokens.scatter(1, surest, best.gather(1, surest))
    return Written(tokens, nfe)
