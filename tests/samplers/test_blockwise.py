from dataclasses import dataclass, replace

import pytest
import torch

from unmask.core.errors import UserError
from unmask.core.numerics import top_within_row
from unmask.samplers import decode_canvas, make_sampler
from unmask.samplers.base import Selection
from unmask.samplers.blockwise import Blockwise, BlockwiseEditor, split_evenly
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.iid import IID
from unmask.samplers.threshold import Threshold
from unmask.samplers.top_prob import TopProb

ROW = [0.6, 0.9, 0.8, 0.7]


@pytest.mark.parametrize(
    ("budget", "revealed_at"),
    [
        (4, [2, 1, 3, 4]),  # two steps for each block of two
        (3, [2, 1, 3, 3]),  # the first block has the odd step
        (2, [1, 1, 2, 2]),
        (1, [1, 1, 1, 1]),  # both blocks opened together
        (9, [2, 1, 3, 4]),  # five and four steps, two used of each
    ],
)
def test_two_blocks_of_two_by_hand(confident, budget, revealed_at):
    assert confident(ROW).revealed_at(Blockwise(TopProb(), size=2), budget) == revealed_at


def test_with_fewer_steps_than_blocks_neighbours_are_opened_together(confident):
    """Three blocks in two steps: the first two together, then the third. Five in three: 2, 2, 1."""
    assert confident([0.6] * 6).revealed_at(Blockwise(TopProb(), size=2), 2) == [1, 1, 1, 1, 2, 2]
    assert confident([0.6] * 5).revealed_at(Blockwise(TopProb(), size=1), 3) == [1, 1, 2, 2, 3]


def test_blocks_are_counted_from_the_first_masked_position_and_empty_ones_get_no_steps(confident):
    """Masked 1, 2, 7, 8 of 9: blocks 1-3, 4-6, 7-8; the middle one is empty. Two steps each."""
    case = confident([0.5, 0.6, 0.9, 0.5, 0.5, 0.5, 0.5, 0.6, 0.9], visible=(0, 3, 4, 5, 6))
    assert case.revealed_at(Blockwise(TopProb(), size=3), 4) == [0, 2, 1, 0, 0, 0, 0, 4, 3]


def test_a_block_that_ends_early_opens_the_next_at_once(confident):
    assert confident(ROW).revealed_at(Blockwise(Threshold(level=0.5), size=2), 8) == [1, 1, 2, 2]


def test_a_block_ends_at_its_own_last_step(confident):
    """Nothing reaches .95: one position a step, then the rest of the block at its second step."""
    assert confident([0.6, 0.9, 0.8, 0.7]).revealed_at(Blockwise(Threshold(0.95), size=3), 4) == [2, 1, 2, 3]


def test_the_inner_grid_is_that_of_the_block(confident):
    """IID in two blocks of one, two steps each: a coin of 1/2 at the first, then all."""
    rows = 4000
    steps = confident([0.5, 0.5], rows=rows).decode(Blockwise(IID(), size=1), 4).revealed_at
    assert set(steps[:, 0].tolist()) == {1, 2}
    first = (steps[:, 0] == 1).double().mean()
    assert abs(first - 0.5) < 4 * (0.25 / rows) ** 0.5
    later = steps[:, 1] - steps[:, 0]  # the second block opens as soon as the first is done
    assert set(later.tolist()) == {1, 2}
    assert abs((later == 1).double().mean() - 0.5) < 4 * (0.25 / rows) ** 0.5


def test_one_block_that_holds_everything_changes_nothing(confident):
    case = confident([0.6, 0.9, 0.8, 0.7, 0.95])
    assert case.revealed_at(Blockwise(TopProb(), size=5), 3) == case.revealed_at(TopProb(), 3)


@dataclass(frozen=True)
class Accelerating:
    """The leftmost position at its first step, two at its second, ..."""

    reads_tokens = False
    may_be_empty = False

    def init(self, canvas):
        return torch.ones_like(canvas.step)

    def select(self, canvas, denoised, written, state, draws):
        score = -torch.arange(canvas.masked.shape[-1]).double().expand(canvas.masked.shape)
        return Selection(top_within_row(score, canvas.masked, state), score), state + 1


def test_the_inner_sampler_starts_afresh_with_every_block(confident):
    case = confident([0.5] * 6)
    assert case.revealed_at(Accelerating(), 6) == [1, 2, 2, 3, 3, 3]
    assert case.revealed_at(Blockwise(Accelerating(), size=3), 6) == [1, 2, 2, 3, 4, 4]


def test_paced_from_outside_it_is_topped_up_in_the_open_block_first_then_from_the_left(confident):
    """Two a step. Alone the first block would give one, one and one; the surest are all in the second."""
    case = confident([0.6, 0.7, 0.8, 0.95, 0.99, 0.97])
    paced = Budgeted(Blockwise(Threshold(1.0), size=3))
    assert case.revealed_at(paced, 3) == [2, 1, 1, 2, 3, 3]


@pytest.mark.parametrize(("items", "groups"), [(1, 1), (5, 1), (5, 2), (5, 3), (5, 5), (6, 4), (7, 3)])
def test_an_even_split_is_in_order_and_gives_the_remainder_first(items, groups):
    split = split_evenly(torch.arange(items)[None], torch.tensor([items]), torch.tensor([groups]))[0]
    sizes = split.bincount(minlength=groups).tolist()
    assert split.tolist() == sorted(split.tolist())
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == items
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("size", [0, -1, 2.5, "all", True])
def test_a_size_that_is_not_whole_and_positive_is_refused(size):
    with pytest.raises(UserError, match="block must be a whole number of at least 1"):
        Blockwise(TopProb(), size)


@pytest.mark.parametrize("name", ["wino", "p2"])
def test_of_closed_blocks_no_logits_are_made_for_an_editor_either(fixed, name):
    """Blocks of four of sixteen positions: at most four are ever read at once, masked or written."""
    case, made = fixed([[0.6, 0.3, 0.1]] * 16), []

    class Rows:
        def __init__(self, logits):
            self.logits = logits

        def __call__(self, part):
            made.append(len(self.logits[part]))
            return self.logits[part]

        def take(self, index):
            return Rows(self.logits[index])

    class Counted:
        def __call__(self, canvas):
            denoised = case(canvas)
            return replace(denoised, logits=Rows(denoised.logits(slice(None))))

        def reread(self, canvas, again):
            return self(canvas.remask(again))

    inner = make_sampler(name)
    wanted = case.decode(BlockwiseEditor(inner, 4), 12, seed=1)
    found = decode_canvas(Counted(), case.canvas(12), BlockwiseEditor(inner, 4), seed=1)
    assert torch.equal(found.revealed_at, wanted.revealed_at)
    assert max(made) <= 4
