"""What the loop and the wrappers hold every editor to."""

import pytest
import torch

from unmask.core.errors import UserError
from unmask.exact import sampler_nll
from unmask.samplers import (
    Blockwise,
    BlockwiseEditor,
    Budgeted,
    EarlyExit,
    Edit,
    EndOfText,
    decode_canvas,
    make_sampler,
)

NAMES = ("wino", "remdm", "p2")


class Greedy:
    """Reveals the leftmost masked position and asks for all the others back, the prompt's too."""

    reads_tokens = may_be_empty = rereads = False

    def init(self, canvas):
        return None

    def edit(self, canvas, denoised, written, state, draws):
        first = canvas.masked & (canvas.masked.long().cumsum(-1) == 1)
        return Edit(first, torch.ones_like(first)), state


def test_a_row_ends_within_its_budget_and_keeps_its_prompt(confident):
    """Reveals 1, then 2 and takes 1 back, then 1 and takes 2 back, ...; at the last step all that is masked is written
    and nothing is taken back. When a position was revealed is the last time it was."""
    case = confident([0.6, 0.7, 0.8, 0.9], visible=(0,))
    seen = []

    def note(step) -> None:
        assert step.number <= 4, "a loop that takes back at the last step would go on for ever"
        seen.append((~step.after.masked[0]).nonzero().flatten().tolist())

    decoded = case.decode(Greedy(), 4, on_step=note)
    assert seen == [[0, 1], [0, 2], [0, 1], [0, 1, 2, 3]]
    assert decoded.revealed_at[0].tolist() == [0, 3, 4, 4]
    assert (decoded.steps.tolist(), decoded.nfe.tolist()) == ([4], [4])
    assert decoded.probability[0].isnan().tolist() == [True, False, False, False]


def test_what_is_masked_when_a_row_is_stopped_was_revealed_at_no_step(confident):
    decoded = confident([0.6, 0.7, 0.8]).decode(Greedy(), 9, stop=lambda canvas: canvas.step == 2)
    assert decoded.canvas.masked[0].tolist() == [True, False, True]
    assert decoded.revealed_at[0].tolist() == [0, 2, 0]
    assert decoded.probability[0].isnan().tolist() == [True, False, True]


def test_in_blocks_what_is_done_stays(confident):
    """Blocks of two, three steps each for the greedy one: the third writes what is left of the block."""
    case = confident([0.6, 0.7, 0.7, 0.6])
    assert case.revealed_at(make_sampler("p2:block=2"), 4) == [2, 1, 3, 4]
    seen = []
    unmasker = BlockwiseEditor(Greedy(), 2)
    case.decode(unmasker, 6, on_step=lambda step: seen.append((~step.after.masked[0]).nonzero().flatten().tolist()))
    assert seen == [[0], [1], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize("name", NAMES)
def test_pace_end_rules_and_early_exit_refuse_them_in_a_sentence(name):
    refused = {"pace=true": "a pace", "eot=tail": "an end-of-text rule", "exit=prophet": "an early exit"}
    for options, what in refused.items():
        with pytest.raises(UserError, match=rf"^{what} does not go with .*, which re-masks what it wrote; only blocks"):
            make_sampler(f"{name}:{options}", end_token=1)
    inner = make_sampler(name)
    for wrapper in (Budgeted, EarlyExit, lambda inner: EndOfText(inner, "tail", 1), Blockwise):
        with pytest.raises(UserError, match="re-masks what it wrote"):
            wrapper(inner)


@pytest.mark.parametrize("spec", [*NAMES, "remdm:conf=true", "p2:block=2"])
def test_they_have_no_exact_nll(spec):
    with pytest.raises(UserError, match="re-masks what it wrote, so it can come by the same text in many ways"):
        sampler_nll(torch.full((2, 2), 0.25, dtype=torch.float64), spec, 2)


def test_the_canvas_given_is_not_changed(confident):
    case = confident([0.6, 0.7, 0.8])
    canvas = case.canvas(3)
    decode_canvas(case, canvas, Greedy())
    assert canvas.masked.all()
    assert canvas.step.tolist() == [0]
