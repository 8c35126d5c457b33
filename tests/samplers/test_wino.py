import pytest
import torch

from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.samplers import decode_canvas
from unmask.samplers.wino import WINO, Drafts


def edit(case, sampler, written=(), accepted=0):
    """The first edit of a row where `written` hold token 0 and the last step revealed `accepted`."""
    start = case.canvas(9)
    canvas = start
    for position in written:
        canvas = canvas.reveal(torch.arange(start.masked.shape[1])[None] == position, torch.zeros_like(start.tokens))
    state = Drafts(start.masked, torch.tensor([accepted]))
    denoised = case.reread(canvas, start.masked & ~canvas.masked)
    found, state = sampler.edit(canvas, denoised, None, state, Draws(0).at(canvas))
    return [part[0].nonzero().flatten().tolist() for part in found], state.accepted.tolist()


def test_drafts_are_above_the_level_and_at_least_the_surest(confident):
    assert edit(confident([0.7, 0.61, 0.6, 0.55]), WINO()) == ([[0, 1], []], [2])
    assert edit(confident([0.55, 0.58, 0.52]), WINO()) == ([[1], []], [1])


@pytest.mark.parametrize(("masked", "most"), [(4, 4), (6, 5), (9, 6), (10, 7), (28, 19), (40, 20)])
def test_at_most_so_many_drafts_of_so_many_masked(confident, masked, most):
    """min(max(floor(.7 n), 5), 20), the surest first."""
    (revealed, _), accepted = edit(confident([0.7 + 0.001 * i for i in range(masked)]), WINO())
    assert revealed == list(range(masked - most, masked))
    assert accepted == [most]


def test_what_does_not_stand_up_is_taken_back_the_least_sure_first(confident):
    """Written 0..3 with token 0, whose probabilities seen again are .95, .2, .8, .3; below .9: 1, 2, 3. The step before
    revealed 3, so at most two go: 1 and 3."""
    case = confident([0.95, 0.2, 0.8, 0.3, 0.7, 0.55])
    assert edit(case, WINO(), written=(0, 1, 2, 3), accepted=3)[0] == [[4], [1, 3]]
    assert edit(case, WINO(), written=(0, 1, 2, 3), accepted=9)[0] == [[4], [1, 2, 3]]
    assert edit(case, WINO(), written=(0, 1, 2, 3), accepted=1)[0] == [[4], []]
    assert edit(case, WINO(verify=0.25), written=(0, 1, 2, 3), accepted=9)[0] == [[4], [1]]


def test_a_prompt_is_never_taken_back(confident):
    case = confident([0.2, 0.3, 0.7, 0.55], visible=(0,))
    assert edit(case, WINO(), written=(1,), accepted=9)[0] == [[2], [1]]


def test_a_denoiser_that_does_not_reread_is_refused(confident):
    case = confident([0.6, 0.7])
    with pytest.raises(UserError, match=r"WINO looks again at what it wrote.*give it a method `reread`"):
        decode_canvas(case.__call__, case.canvas(2), WINO())


@pytest.mark.parametrize("options", [{"draft": 2}, {"verify": -1}, {"share": 1.5}, {"least": 0}, {"most": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=rf"{next(iter(options))} must be a (whole )?number"):
        WINO(**options)
