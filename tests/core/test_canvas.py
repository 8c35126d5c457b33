import torch

from unmask.core.canvas import Canvas


def example() -> Canvas:
    return Canvas.make(
        torch.arange(12).view(3, 4),
        torch.tensor([[True] * 4, [False, True, False, True], [False] * 4]),
        torch.tensor([2, 5, 1]),
        valid=torch.tensor([[True, True, True, False], [True] * 4, [True] * 4]),
        row=torch.tensor([10, 11, 12]),
    )


def copy_of(canvas: Canvas) -> Canvas:
    return Canvas(*(getattr(canvas, name).clone() for name in canvas.__dataclass_fields__))


def same(first: Canvas, second: Canvas) -> bool:
    names = first.__dataclass_fields__
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_nothing_invalid_is_masked() -> None:
    assert not (example().masked & ~example().valid).any()


def test_reveal_writes_only_masked_positions_and_steps_only_unfinished_rows() -> None:
    canvas = example()
    before = copy_of(canvas)
    positions = torch.tensor([[False, True, True, True]]).expand(3, 4)
    after = canvas.reveal(positions, -canvas.tokens)
    assert after.tokens.tolist() == [[0, -1, -2, 3], [4, -5, 6, -7], [8, 9, 10, 11]]
    assert after.masked.tolist() == [[True, False, False, False], [False] * 4, [False] * 4]
    assert after.step.tolist() == [1, 1, 0]
    assert after.unfinished.tolist() == [True, False, False]
    assert after.last_step.tolist() == [True, False, True]
    assert same(canvas, before)


def test_restrict_never_adds_a_position_and_leaves_the_step() -> None:
    canvas = example()
    within = torch.tensor([[True, False, False, True]]).expand(3, 4)
    restricted = canvas.restrict(within)
    assert torch.equal(restricted.masked, canvas.masked & within)
    assert torch.equal(restricted.step, canvas.step)
    assert torch.equal(restricted.tokens, canvas.tokens)


def test_take_selects_repeats_and_reorders_every_field_together() -> None:
    canvas = example()
    taken = canvas.take(torch.tensor([2, 0, 0]))
    assert taken.row.tolist() == [12, 10, 10]
    assert taken.budget.tolist() == [1, 2, 2]
    assert torch.equal(taken.tokens[1], canvas.tokens[0])
    assert same(canvas.take(canvas.unfinished), canvas.take(torch.tensor([0, 1])))
