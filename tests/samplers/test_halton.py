from fractions import Fraction

import pytest
import torch

from unmask.samplers.halton import Halton, first_visits


def visits_slowly(cells: int) -> list[int]:
    """Walk along 1/2, 1/4, 3/4, 1/8, ... in exact fractions until every cell was visited."""
    found: dict[int, int] = {}
    count = 0
    while len(found) < cells:
        count += 1
        point = sum((Fraction((count >> bit) & 1, 2 ** (bit + 1)) for bit in range(count.bit_length())), Fraction())
        found.setdefault(int(point * cells), count)
    return [found[cell] for cell in range(cells)]


@pytest.mark.parametrize("cells", [*range(1, 20), 31, 32, 33, 100])
def test_first_visits_are_those_of_a_walk(cells):
    alone = first_visits(torch.tensor([cells]), cells)[0, :cells].tolist()
    among = first_visits(torch.tensor([3, cells, 1]), 150)[1, :cells].tolist()
    assert alone == among == visits_slowly(cells)


def test_four_positions_by_hand(confident):
    """1/2, 1/4, 3/4, then 1/8: cells 2, 1, 3, 0."""
    assert confident([0.6] * 4).revealed_at(Halton(), budget=4) == [4, 2, 1, 3]


def test_three_positions_by_hand(confident):
    """1/2, 1/4, 3/4 times 3: cells 1, 0, 2."""
    assert confident([0.6] * 3).revealed_at(Halton(), budget=3) == [2, 1, 3]


def test_two_steps_take_halves_that_interleave(confident):
    """The first four of eight: 1/2, 1/4, 3/4, 1/8 are cells 4, 2, 6, 1."""
    assert confident([0.6] * 8).picks(Halton(), budget=2) == [1, 2, 4, 6]


def test_only_what_is_masked_at_the_start_is_counted(confident):
    assert confident([0.6] * 6, visible=(0, 3)).revealed_at(Halton(), budget=4) == [0, 4, 2, 0, 1, 3]
