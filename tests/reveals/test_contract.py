"""One contract over the whole registry of reveal laws."""

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.reveals import REVEALS

from .checks import (
    check_finished_rows,
    check_frequencies,
    check_inclusion,
    check_sums_to_one,
    values_and_masks,
)

every_law = pytest.mark.parametrize("name", REVEALS)


@every_law
def test_probabilities_of_all_sets_sum_to_one(name: str) -> None:
    check_sums_to_one(REVEALS[name])


@every_law
def test_finished_rows_count_nothing_and_spoil_no_gradient(name: str) -> None:
    check_finished_rows(REVEALS[name])


@every_law
def test_inclusion_and_entropy_match_enumeration(name: str) -> None:
    check_inclusion(REVEALS[name])


@every_law
def test_samples_are_as_frequent_as_their_probability(name: str) -> None:
    check_frequencies(REVEALS[name])


@every_law
def test_a_row_is_drawn_the_same_alone_in_a_batch_and_padded(name: str) -> None:
    values, masked = values_and_masks()
    canvas = Canvas.make(masked.long(), masked, 4)
    together = REVEALS[name](values, masked).sample(Draws(2).at(canvas))
    for row in range(0, len(values), 7):
        here = torch.tensor([row])
        alone = canvas.take(here)
        by_itself = REVEALS[name](values[here], masked[here]).sample(Draws(2).at(alone))
        assert torch.equal(by_itself[0], together[row])
        pad = torch.nn.functional.pad
        wide = Canvas(
            *(pad(field, (3, 2)) for field in (alone.tokens, alone.masked, alone.valid)),
            alone.step,
            alone.budget,
            alone.row,
        )
        padded = REVEALS[name](pad(values[here], (3, 2)), wide.masked).sample(Draws(2).at(wide))
        assert torch.equal(padded[0, 3:-2], together[row])


@every_law
def test_drawing_takes_no_gradient_away(name: str) -> None:
    values, masked = values_and_masks()
    drawn = REVEALS[name](values, masked).sample(Draws(0).at(Canvas.make(masked.long(), masked, 4)))
    gradients = []
    for draw_first in (False, True):
        leaf = values.clone().requires_grad_()
        law = REVEALS[name](leaf, masked)
        if draw_first:
            law.sample(Draws(0).at(Canvas.make(masked.long(), masked, 4)))
        total = law.log_prob(drawn).sum()
        gradients.append(torch.autograd.grad(total, leaf)[0] if total.requires_grad else None)
    before, after = gradients
    assert (before is None) == (name in ("certain", "fixed_size"))
    assert before is None or torch.equal(before, after)


@every_law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_values_keep_every_number_and_gradient_finite(name: str, dtype: torch.dtype) -> None:
    values = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype=dtype)
    values.requires_grad_()
    masked = torch.ones(3, 3, dtype=torch.bool)
    law = REVEALS[name](values, masked)
    drawn = law.sample(Draws(0).at(Canvas.make(masked.long(), masked, 4)))
    total = law.log_prob(drawn).sum() + law.entropy().sum() + law.inclusion().sum()
    assert total.isfinite()
    if total.requires_grad:
        total.backward()
        assert values.grad is not None
        assert values.grad.isfinite().all()
