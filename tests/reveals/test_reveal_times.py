"""Independent reveal times, by hand."""

import torch

from unmask.exact.enumerate import all_sets
from unmask.reveals import RevealTimes


def test_hazards_of_a_time_worked_by_hand() -> None:
    logits = torch.tensor([[[0.2, 0.3, 0.5]]]).double().log()
    masked = torch.tensor([[True]])
    hazards = [float(RevealTimes(logits, torch.tensor([step]), masked).probabilities()) for step in range(3)]
    assert torch.allclose(torch.tensor(hazards), torch.tensor([0.2, 0.375, 1.0]), atol=1e-5)


def test_hazards_step_after_step_give_the_times_drawn_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 3, generator=generator).double()
    chance = logits.softmax(-1)[0]
    for first in range(3):
        for second in range(3):
            masked, total = torch.tensor([[True, True]]), 0.0
            for step in range(3):
                positions = torch.tensor([[first == step, second == step]])
                total += float(RevealTimes(logits, torch.tensor([step]), masked).log_prob(positions))
                masked = masked & ~positions
            assert abs(total - float((chance[0, first] * chance[1, second]).log())) < 1e-5


def test_the_chance_of_standing_at_a_set_is_that_no_time_has_come() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 3, 4, generator=generator).double()
    chance = logits.softmax(-1)[0]  # [L, T]
    mass = {7: 1.0}
    for step in range(2):
        after: dict[int, float] = {}
        for number, here in mass.items():
            masked = all_sets(3)[number][None]
            law = RevealTimes(logits, torch.tensor([step]), masked)
            for revealed in range(8):
                positions = all_sets(3)[revealed][None]
                if not bool((positions & ~masked).any()):
                    left = number - revealed
                    after[left] = after.get(left, 0.0) + here * float(law.log_prob(positions).exp())
        mass = after
    still = chance[:, 2:].sum(-1)  # P(t_i > 2)
    for number, here in mass.items():
        expected = torch.where(all_sets(3)[number], still, 1 - still).prod()
        assert abs(here - float(expected)) < 1e-5
