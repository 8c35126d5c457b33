from dataclasses import replace

import numpy as np
import pytest
import torch

from unmask.core.canvas import Canvas, check_canvas
from unmask.core.errors import UserError


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


PLAIN = {"tokens": [[1, 2, 3], [4, 5, 6]], "masked": [[1, 0, 1], [1, 1, 1]], "budget": [3, 2]}


def given(**other: object) -> Canvas:
    """A canvas of plain lists, but for what is said."""
    return Canvas.make(**{**PLAIN, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["lists", "arrays", "bytes", "narrow"])
def test_masks_of_ones_and_noughts_and_numbers_of_any_kind_are_read_as_they_are_meant(kind: str) -> None:
    """An attention mask is a row of ones and noughts; taken as numbers, what is not masked would be minus two."""
    make = {
        "lists": lambda value: value,
        "arrays": np.array,
        "bytes": lambda value: torch.tensor(value, dtype=torch.uint8),
        "narrow": lambda value: torch.tensor(value, dtype=torch.int32),
    }[kind]
    canvas = Canvas.make(**{name: make(value) for name, value in PLAIN.items()}, valid=make([[1, 1, 0], [1, 1, 1]]))
    assert canvas.masked.tolist() == [[True, False, False], [True, True, True]]
    assert canvas.valid.dtype == torch.bool
    assert (canvas.tokens.dtype, canvas.budget.tolist()) == (torch.long, [3, 2])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"tokens": [[1.0, 2, 3], [4, 5, 6]]}, "`tokens` of a canvas must be whole numbers, got torch.float32"),
        ({"tokens": [1, 2, 3]}, r"`tokens` of a canvas must be .* \[rows, positions\].* got torch.int64 \[3\]"),
        ({"tokens": "abc"}, "`tokens` of a canvas must be numbers of at most 64 bits"),
        ({"masked": [[2, 0, 1], [1, 1, 1]]}, "`masked` of a canvas must be true or false at each position"),
        ({"masked": [[0.5, 0, 1], [1, 1, 1]]}, "`masked` of a canvas must be true or false at each position"),
        ({"masked": [[1, 1], [1, 1]]}, r"`masked` of .* got torch.bool \[2, 2\] beside tokens \[2, 3\]"),
        ({"valid": [[1, 1], [1, 1]]}, r"`valid` of .* got torch.bool \[2, 2\]"),
        ({"budget": 2.5}, "`budget` of a canvas must be whole numbers"),
        ({"budget": True}, "`budget` of a canvas must be whole numbers"),
        ({"budget": 10**30}, "`budget` of a canvas must be numbers of at most 64 bits"),
        ({"budget": [1, 2, 3]}, r"`budget` of .* \[rows\].* got torch.int64 \[3\]"),
        ({"row": [0.5, 1]}, "`row` of a canvas must be whole numbers"),
        ({"row": [1]}, r"`row` of .* got torch.int64 \[1\]"),
    ],
)
def test_what_does_not_make_a_canvas_is_refused_by_name(other: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        given(**other)
    assert "\n" not in str(caught.value)


def test_a_canvas_put_together_by_hand_is_checked_too() -> None:
    for name, value in {"masked": torch.ones(2, 3), "row": torch.zeros(2), "step": None}.items():
        with pytest.raises(UserError, match=f"`{name}` of a canvas"):
            check_canvas(replace(given(), **{name: value}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="masked positions on its padding"):
        check_canvas(replace(given(), valid=torch.zeros(2, 3, dtype=torch.bool)))
