import torch

from unmask.samplers.iid import IID

BUDGET, LENGTH, ROWS = 4, 5, 4000


def test_each_position_is_revealed_at_a_uniformly_drawn_step(confident):
    """Coins of 1/4, 1/3, 1/2, 1 make each of the four steps equally likely, for every position."""
    decoded = confident([0.5] * LENGTH, rows=ROWS).decode(IID(), BUDGET)
    frequency = torch.stack(
        [(decoded.revealed_at == step).double().mean(0) for step in (1, 2, 3, 4)]
    )  # [4, L]
    standard_error = (0.25 * 0.75 / ROWS) ** 0.5
    assert ((frequency - 0.25).abs() < 4 * standard_error).all()


def test_positions_are_independent(confident):
    first = confident([0.5] * LENGTH, rows=ROWS).first_choice(IID(), BUDGET).double()
    together = (first[:, 0] * first[:, 1]).mean()
    assert abs(together - 1 / 16) < 4 * (1 / 16 * 15 / 16 / ROWS) ** 0.5


def test_empty_steps_cost_no_denoiser_call(confident):
    """A step costs a call if any of the 5 positions chose it: 4 (1 - (3/4)^5) = 3.05 calls on average."""
    decoded = confident([0.5] * LENGTH, rows=ROWS).decode(IID(), BUDGET)
    distinct = torch.tensor([len(set(row)) for row in decoded.revealed_at.tolist()])
    assert torch.equal(decoded.nfe, distinct)
    assert torch.equal(decoded.steps, decoded.revealed_at.amax(-1))
    expected = BUDGET * (1 - (1 - 1 / BUDGET) ** LENGTH)
    error = decoded.nfe.double().std() / ROWS**0.5
    assert abs(decoded.nfe.double().mean() - expected) < 4 * error
