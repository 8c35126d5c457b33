import math
from itertools import product

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.table import LearnableTable, TableDenoiser, context_digits, context_index

from ..exact.problems import exact_denoiser, random_joint

M = 9  # what stands at a masked position means nothing


def canvas_of(rows: list[list[int]]) -> Canvas:
    tokens = torch.tensor(rows)
    return Canvas.make(tokens, tokens == M, 3)


def test_conditionals_of_two_binary_positions_by_hand() -> None:
    # p(0,0) = 0.1, p(0,1) = 0.2, p(1,0) = 0.3, p(1,1) = 0.4
    denoiser = TableDenoiser.of(torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64))
    denoised = denoiser(canvas_of([[M, M], [M, 1], [0, M]]))
    assert denoised.where.tolist() == [[0, 0], [0, 1], [1, 0], [2, 1]]
    probability = denoised.logits(slice(None)).exp()
    expected = [[0.3, 0.7], [0.4, 0.6], [0.2 / 0.6, 0.4 / 0.6], [0.1 / 0.3, 0.2 / 0.3]]
    assert torch.allclose(probability, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("length", "vocabulary"), [(1, 2), (4, 2), (3, 3)])
def test_conditionals_match_brute_force_in_every_context(length: int, vocabulary: int) -> None:
    joint = random_joint(0, length, vocabulary)
    denoiser = TableDenoiser.of(joint)
    digits = context_digits(length, vocabulary)
    canvas = Canvas.make(torch.where(digits < vocabulary, digits, M), digits == vocabulary, 1)
    denoised = denoiser(canvas)
    for (row, position), logits in zip(denoised.where.tolist(), denoised.logits(slice(None)), strict=True):
        for token in range(vocabulary):
            seen = [vocabulary if i == position else d for i, d in enumerate(digits[row].tolist())]
            total, same = 0.0, 0.0
            for text in product(range(vocabulary), repeat=length):
                if all(d in (vocabulary, t) for d, t in zip(seen, text, strict=True)):
                    total += float(joint[text])
                    same += float(joint[text]) * (text[position] == token)
            assert math.exp(float(logits[token])) == pytest.approx(same / total, abs=1e-12)


def test_any_order_of_reveals_multiplies_to_the_joint() -> None:
    joint, denoiser = random_joint(1, 3, 2), exact_denoiser(1, 3, 2)
    tokens = torch.cartesian_prod(*[torch.arange(2)] * 3)
    for order in ([0, 1, 2], [2, 0, 1]):
        canvas = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), 3)
        total = torch.zeros(8, dtype=torch.float64)
        for position in order:
            denoised = denoiser(canvas)
            total += denoised.to_rows(denoised.log_prob(denoised.from_rows(tokens)), 0.0)[:, position]
            here = torch.zeros_like(canvas.masked)
            here[:, position] = True
            canvas = canvas.reveal(here, tokens)
        assert torch.allclose(total, joint.flatten().log())


def test_contexts_are_numbered_as_they_are_listed() -> None:
    digits = context_digits(3, 2)
    canvas = Canvas.make(digits.clamp(max=1), digits == 2, 1)
    assert torch.equal(context_index(canvas, 3, 2), torch.arange(27))


def test_an_impossible_context_gives_every_token_the_same_chance() -> None:
    joint = torch.zeros(2, 2, dtype=torch.float64)
    joint[0, 0] = 1.0
    denoised = TableDenoiser.of(joint)(canvas_of([[1, M], [0, M]]))
    assert denoised.logits(slice(None)).exp().tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert denoised.log_prob(torch.tensor([1, 0])).tolist() == pytest.approx([math.log(0.5), 0.0])


def test_padding_on_either_side_changes_nothing_and_a_short_row_is_marginalised() -> None:
    denoiser = exact_denoiser(2, 3, 2)
    tokens = torch.tensor([[5, 5, 1, M, M], [1, M, M, 5, 5], [5, 1, M, 5, 5]])
    valid = tokens != 5
    canvas = Canvas.make(tokens, tokens == M, 2, valid=valid)
    denoised = denoiser(canvas)
    alone = denoiser(canvas_of([[1, M, M]])).logits(slice(None))
    assert torch.equal(denoised.logits(slice(0, 2)), alone)
    assert torch.equal(denoised.logits(slice(2, 4)), alone)
    assert torch.equal(denoised.logits(slice(4, 5)), alone[:1])


def test_features_tell_contexts_and_places_apart() -> None:
    denoiser = TableDenoiser.of(random_joint(0, 3, 2), features=True)
    hidden = denoiser(canvas_of([[M, M, 1], [M, M, 0]])).hidden
    assert hidden is not None
    assert hidden.shape == (4, 3 * 3 + 3)
    assert len({tuple(row) for row in hidden.tolist()}) == 4
    assert hidden[0].tolist() == [0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        ([[0.5, math.nan], [0.25, 0.25]], r"entry \(0, 1\) is not a number"),
        ([[0.5, 0.7], [-0.2, 0.0]], r"entry \(1, 0\) is negative: -0.2"),
        ([[math.inf, 0.0], [0.0, 0.0]], r"entry \(0, 0\) is infinite"),
        ([[0.5, 0.2], [0.2, 0.0]], r"sums to 0\.[89]"),
        ([[0.5, 0.25, 0.25]], r"not shape \(1, 3\)"),
    ],
)
def test_what_is_not_a_distribution_is_refused(joint: list[list[float]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TableDenoiser.of(torch.tensor(joint, dtype=torch.float64))


def test_tokens_and_rows_the_table_does_not_know_are_refused() -> None:
    denoiser = exact_denoiser(0, 3, 2)
    with pytest.raises(UserError, match=r"outside 0\.\.1"):
        denoiser(canvas_of([[2, M, M]]))
    with pytest.raises(UserError, match="4 valid positions; this table has 3"):
        denoiser(canvas_of([[1, M, M, M]]))


def test_a_learnable_table_gives_its_own_softmax_and_a_gradient_only_where_it_was_read() -> None:
    generator = torch.Generator().manual_seed(0)
    table = LearnableTable(torch.randn(27, 3, 2, generator=generator, dtype=torch.float64))
    canvas = canvas_of([[0, M, M]])
    denoised = table(canvas)
    log_prob = denoised.log_prob(torch.tensor([1, 0]))
    context = int(context_index(canvas, 3, 2))
    expected = table.logits[context].log_softmax(-1)
    assert torch.allclose(log_prob, torch.stack([expected[1, 1], expected[2, 0]]))
    log_prob.sum().backward()
    assert table.logits.grad is not None
    touched = table.logits.grad.abs().sum(-1).nonzero().tolist()
    assert touched == [[context, 1], [context, 2]]


def test_a_reread_is_the_conditional_given_all_the_others():
    """p(x_0 | x_1 = 1) of a table of two bits, whatever stands at position 0."""
    joint = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)
    for token in (0, 1):
        tokens, masked = torch.tensor([[token, 1]]), torch.zeros(1, 2, dtype=torch.bool)
        canvas = Canvas.make(tokens, masked, 1)
        said = TableDenoiser.of(joint).reread(canvas, torch.tensor([[True, False]]))
        torch.testing.assert_close(said.logits(slice(None)).exp(), torch.tensor([[2 / 6, 4 / 6]], dtype=torch.float64))
