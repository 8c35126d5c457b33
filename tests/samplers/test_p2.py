from dataclasses import dataclass

import torch

from unmask.core.canvas import Canvas
from unmask.denoisers.base import Denoised
from unmask.samplers import decode_canvas
from unmask.samplers.p2 import P2


def test_where_nothing_changes_its_mind_it_is_the_surest_first(confident):
    """N = 4, T = 4: 3, 2, 1, 0 masked after each step; what is written is surer than what is not, so it stays."""
    assert confident([0.6, 0.9, 0.8, 0.7]).revealed_at(P2(), budget=4) == [4, 1, 2, 3]


def test_fewer_steps_and_more(confident):
    """T = 2: floor(.5 * 5) = 2 masked after the first. T = 10: floor(.9 * 5) = 4, 4, 3, 3, ...: the even steps change
    nothing and cost nothing, and the row ends after step 9, which leaves floor(.1 * 5) = 0."""
    assert confident([0.6, 0.9, 0.8, 0.7, 0.95]).revealed_at(P2(), budget=2) == [2, 1, 1, 2, 1]
    decoded = confident([0.6, 0.9, 0.8, 0.7, 0.95]).decode(P2(), 10)
    assert decoded.revealed_at[0].tolist() == [9, 3, 5, 7, 1]
    assert (decoded.steps.tolist(), decoded.nfe.tolist()) == ([9], [5])


@dataclass(frozen=True)
class Doubts:
    """Two tokens; p(token 0) per position depends on how many are written: a list for 0, 1, 2, ... of them."""

    table: list[list[float]]

    def reread(self, canvas: Canvas, again: torch.Tensor) -> Denoised:
        written = (~canvas.masked).sum(-1)
        asked = canvas.remask(again)
        row, column = asked.masked.nonzero(as_tuple=True)
        first = torch.tensor(self.table, dtype=torch.float64)[written[row], column]
        return Denoised.from_logits(asked, torch.stack([first, 1 - first], dim=-1).log())

    def __call__(self, canvas: Canvas) -> Denoised:
        return self.reread(canvas, torch.zeros_like(canvas.masked))


def test_what_was_written_is_masked_again_where_it_became_the_least_sure():
    """N = 3, T = 3. Step 1 leaves two masked: the least sure, 1 and 2; 0 is written (token 0, .9). Step 2 leaves one:
    token 0 at position 0 now has .2, below .7 and .8, so 0 is masked and both others are written. Step 3: 0 again, now
    with token 1, which has .6."""
    case = Doubts([[0.9, 0.6, 0.7], [0.2, 0.7, 0.8], [0.4, 0.7, 0.8], [0.4, 0.7, 0.8]])
    canvas = Canvas.make(torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool), 3)
    seen = []
    decoded = decode_canvas(case, canvas, P2(), on_step=lambda step: seen.append(step.after.masked[0].tolist()))
    assert seen == [[False, True, True], [True, False, False], [False, False, False]]
    assert decoded.revealed_at[0].tolist() == [3, 2, 2]
    assert decoded.canvas.tokens[0].tolist() == [1, 0, 0]
    torch.testing.assert_close(decoded.probability[0], torch.tensor([0.6, 0.7, 0.8], dtype=torch.float64))


def test_sure_is_of_the_token_that_stands_there_and_not_of_the_likeliest():
    """At step 2 position 0 has .1 for its token 0, .9 for token 1: it is the least sure of all."""
    case = Doubts([[0.9, 0.6, 0.7], [0.1, 0.7, 0.8], [0.1, 0.7, 0.8], [0.1, 0.7, 0.8]])
    canvas = Canvas.make(torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool), 3)
    assert decode_canvas(case, canvas, P2()).revealed_at[0].tolist() == [3, 2, 2]


def test_a_prompt_is_not_counted_and_stays(confident):
    """N = 2 of 3: one masked after the first of two steps, whatever the prompt's probability."""
    assert confident([0.01, 0.9, 0.8], visible=(0,)).revealed_at(P2(), budget=2) == [0, 1, 2]
