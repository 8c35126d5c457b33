import math
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.denoisers.base import Denoised
from unmask.orders.features import (
    POSITION_FEATURES,
    ROW_FEATURES,
    log_odds,
    pack,
    position_features,
    row_features,
    token_codes,
)

from .conftest import HashDenoiser, widen


def test_packing_puts_each_masked_position_of_a_row_to_the_left_in_order(canvas, denoiser):
    denoised = denoiser(canvas)
    packed = pack(canvas, denoised)
    counts = canvas.masked.sum(-1)
    assert packed.present.shape == (6, int(counts.max()))
    assert torch.equal(packed.present.sum(-1), counts)
    for row in range(6):
        count = int(counts[row])
        assert packed.present[row].tolist() == [True] * count + [False] * (packed.present.shape[1] - count)
        where = canvas.masked[row].nonzero().flatten()
        first = int(canvas.valid[row].long().argmax())
        assert packed.rotary[row, :count].tolist() == (where - first).tolist()
        assert torch.equal(packed.hidden[row, :count], denoised.hidden[denoised.where[:, 0] == row])
        assert torch.equal(packed.guesses[row, :count], denoised.top2_tokens[denoised.where[:, 0] == row])
        assert torch.equal(packed.scalars[row, :count], position_features(canvas, denoised)[row, where])


def test_what_is_packed_comes_back_to_where_it_stood(canvas, denoiser):
    denoised = denoiser(canvas)
    packed = pack(canvas, denoised)
    back = torch.zeros(*canvas.masked.shape, denoised.hidden.shape[1], dtype=denoised.hidden.dtype)
    back[packed.row, packed.position] = packed.hidden[packed.row, packed.place]
    assert torch.equal(back[canvas.masked], denoised.hidden)
    assert (back[~canvas.masked] == 0).all()


def test_padding_moves_nothing_that_is_packed(canvas, denoiser):
    plain = pack(canvas, denoiser(canvas))
    wide = widen(canvas, 3, 2)
    padded = pack(wide, denoiser(wide))
    for name in ("row", "place", "present", "rotary", "hidden", "guesses", "scalars", "rows"):
        assert torch.equal(getattr(padded, name), getattr(plain, name)), name
    assert torch.equal(padded.position, plain.position + 3)


def test_inside_a_wrapper_what_is_not_open_is_left_out(canvas, denoiser):
    """`denoised` covers all that is masked; the packed list is as if it had covered only what is open."""
    denoised = denoiser(canvas)
    open_here = torch.arange(10).expand(6, 10) % 3 != 0
    inside = canvas.restrict(open_here)
    kept = open_here[canvas.masked]
    fewer = Denoised.from_logits(inside, denoised.logits(slice(None))[kept], denoised.hidden[kept])
    for ours, theirs in zip(pack(inside, denoised), pack(inside, fewer), strict=True):
        assert torch.equal(ours, theirs)


def test_without_hidden_states_there_are_none(canvas):
    assert pack(canvas, HashDenoiser(hidden=False)(canvas)).hidden is None


def test_a_finished_canvas_packs_to_width_zero(canvas, denoiser):
    finished = replace(canvas, masked=torch.zeros_like(canvas.masked))
    packed = pack(finished, denoiser(finished))
    assert packed.present.shape == (6, 0)
    assert packed.scalars.shape == (6, 0, POSITION_FEATURES)
    assert packed.rows.isfinite().all()


def test_position_features_by_hand():
    """Two masked positions among four; the second is surer of its token."""
    masked = torch.tensor([[True, False, False, True]])
    canvas = Canvas.make(torch.zeros(1, 4, dtype=torch.long), masked, 3)
    probability = torch.tensor([[0.6, 0.3, 0.1], [0.9, 0.05, 0.05]], dtype=torch.float64)
    features = position_features(canvas, Denoised.from_logits(canvas, probability.log()))[0]
    entropy = (-probability * probability.log()).sum(-1).tolist()
    expected = [
        [math.log(0.6 / 0.4) / 3, 0.6, 0.3, entropy[0], 1 / 2, 1 / 2, 0 / 2],
        [math.log(0.9 / 0.1) / 3, 0.9, 0.85, entropy[1], 0 / 2, 0 / 2, 1 / 2],
    ]
    for position, row in zip((0, 3), expected, strict=True):
        assert features[position].tolist() == pytest.approx(row, abs=1e-5)


def test_row_features_by_hand():
    masked = torch.tensor([[True] * 6, [False] * 6])
    canvas = Canvas.make(torch.zeros(2, 6, dtype=torch.long), masked, 8)
    canvas = replace(canvas, step=torch.tensor([5, 8]))
    left, budget, count = 3, 8, 6
    by_hand = [math.log(left), 1 / left, math.log(budget), 1 / budget, math.log(count) / 2, math.log(2) / 2]
    features = row_features(canvas)
    assert features.shape == (2, ROW_FEATURES)
    assert features[0].tolist() == pytest.approx(by_hand, abs=1e-6)
    assert features[1].isfinite().all()  # finished, out of steps


def test_certainty_beyond_what_can_be_told_apart_stays_finite():
    odds = log_odds(torch.tensor([0.0, 1e-9, 0.5, 1 - 1e-9, 1.0]))
    assert odds.isfinite().all()
    assert odds.tolist() == pytest.approx([-9.21, -9.21, 0, 9.21, 9.21], abs=0.01)


def test_codes_are_signs_the_same_for_a_token_everywhere_and_agree_by_chance_for_two():
    codes = token_codes(torch.arange(2_000), 64)
    assert codes.unique().tolist() == [-1.0, 1.0]
    assert torch.equal(token_codes(torch.tensor([[7, 1_999]]), 64)[0], codes[[7, 1_999]])
    assert torch.equal(token_codes(torch.arange(2_000), 9), codes[:, :9])
    agree = (codes @ codes.T / 64).fill_diagonal_(0)
    assert abs(agree.mean()) < 0.001
    assert agree.abs().max() < 0.8, "2 million pairs, each a mean of 64 signs: 6.4 standard deviations"
