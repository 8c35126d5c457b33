"""What is true of any reveal law, as functions of how it is made. Planted bugs are held to the same checks."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.exact.enumerate import all_sets, set_log_probs, set_number
from unmask.reveals import RevealLaw

MakeLaw = Callable[[Tensor, Tensor], RevealLaw]  # one number per position [B, L], what is masked [B, L]


def values_and_masks(seed: int = 0, length: int = 4) -> tuple[Tensor, Tensor]:
    """Random, tied, extreme and equal values; every set of masked positions, the empty one included."""
    generator = torch.Generator().manual_seed(seed)
    masked = all_sets(length).repeat(4, 1)
    kinds = [
        torch.randn(2**length, length, generator=generator),
        torch.randint(2, (2**length, length), generator=generator).float(),  # ties
        40 * torch.randn(2**length, length, generator=generator),
        torch.zeros(2**length, length),
    ]
    return torch.cat(kinds).double(), masked


def check_sums_to_one(make: MakeLaw) -> None:
    """Over all sets of positions, masked or not; and the masked sets alone carry everything."""
    values, masked = values_and_masks()
    law = make(values, masked)
    chance = set_log_probs(law, masked.shape[-1]).double().exp()  # [B, 2^L]
    unfinished = masked.any(-1)
    total = chance.sum(-1)[unfinished]
    assert torch.allclose(total, torch.ones_like(total), atol=1e-12, rtol=0), total
    if not law.may_be_empty:
        assert (chance[unfinished][:, 0] == 0).all()


def check_finished_rows(make: MakeLaw) -> None:
    """log_prob and entropy 0, nothing drawn, no NaN, and no NaN in any gradient."""
    values, masked = values_and_masks()
    values.requires_grad_()
    law = make(values, masked)
    finished = ~masked.any(-1)
    drawn = law.sample(Draws(0).at(Canvas.make(masked.long(), masked, 4)))
    assert not (drawn & ~masked).any()
    everything = [law.log_prob(drawn), law.entropy(), law.inclusion().sum(-1)]
    for value in everything:
        assert not value.isnan().any()
        assert (value[finished] == 0).all()
    total = torch.stack([value.double() for value in everything]).sum()
    if total.requires_grad:
        total.backward()
        assert values.grad is not None
        assert values.grad.isfinite().all()
        assert (values.grad[~masked] == 0).all()


def check_inclusion(make: MakeLaw) -> None:
    """The sum of log_prob over the sets that hold a position; entropy the same way."""
    values, masked = values_and_masks()
    law = make(values, masked)
    unfinished = masked.any(-1)
    log_prob = set_log_probs(law, masked.shape[-1]).double()
    chance = log_prob.exp()  # [B, 2^L]
    enumerated = chance @ all_sets(masked.shape[-1]).double()  # [B, L]
    assert torch.allclose(law.inclusion().double()[unfinished], enumerated[unfinished], atol=1e-12, rtol=0)
    surprise = torch.where(chance > 0, -chance * log_prob, 0.0).sum(-1)
    assert torch.allclose(law.entropy().double()[unfinished], surprise[unfinished], atol=1e-10, rtol=0)


def check_frequencies(make: MakeLaw, count: int = 40_000) -> None:
    """Every set as often as its probability says, within 5 standard errors (fixed seed)."""
    generator = torch.Generator().manual_seed(1)
    for masked in ([True, True, True], [False, True, True], [True, False, False]):
        mask = torch.tensor([masked])
        values = torch.randn(1, 3, generator=generator).double() - 0.8
        expected = set_log_probs(make(values, mask), 3).double().exp()[0]  # [8]
        wide = mask.expand(count, 3)
        drawn = make(values.expand(count, 3), wide).sample(Draws(7).at(Canvas.make(wide.long(), wide, 4)))
        observed = torch.bincount(set_number(drawn), minlength=8).double() / count
        for frequency, chance in zip(observed.tolist(), expected.tolist(), strict=True):
            error = math.sqrt(max(chance * (1 - chance), 1e-12) / count)
            assert abs(frequency - chance) <= 5 * error, (masked, observed, expected)
