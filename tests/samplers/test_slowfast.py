import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.samplers.slowfast import Cycle, SlowFast

# three tokens, so that confidences below one half are possible; .25 is below `reach`
SURE = {0.95: [0.95, 0.05, 0, 0], 0.6: [0.6, 0.4, 0, 0], 0.5: [0.5, 0.5, 0, 0], 0.25: [0.25] * 4}


def row(fixed, *confidences):
    return fixed([SURE[c] for c in confidences])


def test_a_cycle_by_hand(fixed):
    """Step 1, slow: the surest, 1; farthest of at least .3: 4. Step 2, slow: 3; farthest still 4, distance 0, so the
    stretch is 0..4. Step 3, fast: none of 0, 2, 4 has .9, so the surest, 4. Steps 4 and 5: 0, 2. Then a new cycle."""
    case = row(fixed, 0.6, 0.95, 0.5, 0.95, 0.6, 0.25)
    assert case.revealed_at(SlowFast(), budget=9) == [3, 1, 5, 2, 4, 6]


def test_the_fast_stage_is_parallel_and_inside_the_stretch_only(fixed):
    """Steps 1 and 2 reveal 0 and 1 and see the end 4 twice; step 3 takes 2, 3, 4 together. Then 5, 6 one by one."""
    case = row(fixed, 0.95, 0.95, 0.95, 0.95, 0.95, 0.25, 0.25)
    assert case.revealed_at(SlowFast(), budget=9) == [1, 2, 3, 3, 3, 4, 5]


def test_with_one_exploring_step_the_first_end_closes_the_stretch(fixed):
    case = row(fixed, 0.95, 0.95, 0.95, 0.25, 0.25)
    assert case.revealed_at(SlowFast(explore=1), budget=9) == [1, 2, 2, 3, 4]


def test_an_end_that_moves_keeps_exploring(fixed):
    """The surest is also the farthest, so the end falls from 4 to 2: deviation 1, not below 1. From 2 to 1: settled."""
    rows = [[0.9, 0.1, 0, 0], [0.91, 0.09, 0, 0], [0.92, 0.08, 0, 0], [0.25] * 4, [0.94, 0.06, 0, 0]]
    assert fixed(rows).revealed_at(SlowFast(level=0.9), budget=9) == [4, 3, 2, 5, 1]
    assert fixed(rows).revealed_at(SlowFast(level=0.9, spread=1.1), budget=9) == [3, 3, 2, 4, 1]


def test_nothing_within_reach_is_a_stretch_of_one(fixed):
    case = row(fixed, 0.25, 0.25, 0.25)
    assert case.revealed_at(SlowFast(), budget=9) == [1, 2, 3]


@pytest.mark.parametrize("options", [{"explore": 0}, {"reach": 2}, {"spread": -1}, {"level": "high"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=rf"{next(iter(options))} must be a (whole )?number"):
        SlowFast(**options)


def test_a_stretch_is_that_of_its_own_row():
    """Row 0 has its stretch end at column 1, row 1 at column 3. Fast, row 0 leaves column 2, sure or not, for later."""
    masked = torch.tensor([[True, True, True, True], [True, True, True, True]])
    canvas = Canvas.make(torch.zeros(2, 4, dtype=torch.long), masked, 9)
    said = Denoised.from_logits(canvas, torch.tensor([[0.95, 0.05]] * 8).log())
    state = Cycle(torch.tensor([True, True]), torch.tensor([2, 2]), torch.tensor([1, 3]))
    chosen, _ = SlowFast().select(canvas, said, None, state, Draws(0).at(canvas))
    assert chosen.positions.tolist() == [[True, True, False, False], [True] * 4]
