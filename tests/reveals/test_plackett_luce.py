"""Plackett-Luce with a cut, by hand and against the sum over all races."""

from itertools import permutations

import pytest
import torch

from unmask.exact.enumerate import all_sets
from unmask.reveals import PlackettLuce


def test_one_place_is_a_softmax_and_all_places_are_certain() -> None:
    scores = torch.tensor([[1.0, 2.0, 0.0]]).double()
    masked = torch.ones(1, 3, dtype=torch.bool)
    one = PlackettLuce(scores, torch.tensor([[0.0, -1e9, -1e9]]).double(), masked)
    for position in range(3):
        alone = torch.arange(3)[None] == position
        assert float(one.log_prob(alone).exp()) == pytest.approx(float(scores.softmax(-1)[0, position]))
    every = PlackettLuce(scores, torch.tensor([[-1e9, -1e9, 0.0]]).double(), masked)
    assert float(every.log_prob(masked)) == pytest.approx(0)


def test_sets_are_the_sum_over_the_races_they_can_come_in() -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(1, 4, generator=generator).double()
    sizes = torch.randn(1, 4, generator=generator).double()
    masked = torch.tensor([[True, True, False, True]])
    law = PlackettLuce(scores, sizes, masked)
    members = [0, 1, 3]
    rate = scores[0].exp().tolist()
    count = sizes[0, :3].softmax(-1).tolist()
    for positions in all_sets(4):
        chosen = positions.nonzero().flatten().tolist()
        expected = 0.0
        if chosen and set(chosen) <= set(members):
            for race in permutations(chosen):
                chance, left = 1.0, sum(rate[i] for i in members)
                for i in race:
                    chance, left = chance * rate[i] / left, left - rate[i]
                expected += chance
            expected *= count[len(chosen) - 1]
        assert float(law.log_prob(positions[None]).exp()) == pytest.approx(expected, abs=1e-12)


def test_a_long_text_can_be_drawn_from_but_not_summed() -> None:
    masked = torch.ones(1, 40, dtype=torch.bool)
    with pytest.raises(ValueError, match="at most 12 positions, not 40"):
        PlackettLuce(torch.zeros(1, 40), torch.zeros(1, 40), masked).log_prob(masked)
