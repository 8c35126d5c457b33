import pytest
import torch

from unmask.core.order import Order, ordered_partitions


@pytest.mark.parametrize(("length", "count"), [(0, 1), (1, 1), (2, 3), (3, 13), (4, 75), (5, 541)])
def test_there_are_as_many_ordered_partitions_as_fubini_counted(length: int, count: int) -> None:
    orders = ordered_partitions(length)
    assert orders.steps.shape == (count, length)
    assert len({tuple(steps) for steps in orders.steps.tolist()}) == count


def test_ordered_partitions_of_two_positions_by_hand() -> None:
    assert ordered_partitions(2).to_sets() == [[{0, 1}], [{0}, {1}], [{1}, {0}]]


@pytest.mark.parametrize("max_steps", [1, 2, 3])
def test_max_steps_keeps_exactly_the_short_orders(max_steps: int) -> None:
    every = ordered_partitions(4)
    short = every.steps[every.num_steps <= max_steps]
    assert {*map(tuple, short.tolist())} == {*map(tuple, ordered_partitions(4, max_steps).steps.tolist())}


def test_sets_round_trip_even_with_prompts_and_empty_steps() -> None:
    rows = [[{0, 3}, set(), {1}], [], [{2}]]
    order = Order.from_sets(rows, 4)
    assert order.steps.tolist() == [[1, 3, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert order.to_sets() == rows
    assert order.num_steps.tolist() == [3, 0, 1]


def test_masked_before_and_revealed_at_agree_with_the_sets() -> None:
    order = Order.from_sets([[{1}, {0, 2}]], 4)
    assert order.masked_before(1).tolist() == [[True, True, True, False]]
    assert order.masked_before(2).tolist() == [[True, False, True, False]]
    assert order.revealed_at(2).tolist() == [[True, False, True, False]]
    assert order.masked_before(torch.tensor([3])).tolist() == [[False] * 4]


def test_a_position_revealed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="row 0: position 1 is in steps 1 and 2"):
        Order.from_sets([[{1}, {0, 1}]], 3)
