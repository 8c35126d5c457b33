import math
from itertools import pairwise

import pytest

from unmask.samplers.blockwise import Blockwise
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.dilated import Dilated


def test_eight_positions_by_hand(confident):
    """Spacing 4: 0 and 4; spacing 2: 2 and 6; then the odd ones."""
    assert confident([0.6] * 8).revealed_at(Dilated(), budget=8) == [1, 3, 2, 3, 1, 3, 2, 3]


def test_five_positions_by_hand(confident):
    """ceil(log2 5) = 3: spacing 4, 2, 1."""
    assert confident([0.6] * 5).revealed_at(Dilated(), budget=5) == [1, 3, 2, 3, 1]


@pytest.mark.parametrize("length", range(1, 40))
def test_it_takes_the_logarithm_and_never_reveals_neighbours(confident, length):
    steps = confident([0.6] * length).revealed_at(Dilated(), budget=length)
    assert max(steps) == max(1, math.ceil(math.log2(length)))
    assert length == 2 or all(one != two for one, two in pairwise(steps))


def test_what_is_not_masked_at_the_start_is_not_counted(confident):
    """Four to write, 1, 2, 4, 6: the first and third, then the others."""
    assert confident([0.6] * 7, visible=(0, 3, 5)).revealed_at(Dilated(), budget=4) == [0, 1, 2, 0, 1, 0, 2]


def test_in_blocks_each_has_its_own_groups(confident):
    assert confident([0.6] * 8).revealed_at(Blockwise(Dilated(), size=4), budget=8) == [1, 2, 1, 2, 3, 4, 3, 4]


def test_with_fewer_steps_the_last_takes_the_rest_unless_it_is_paced(confident):
    assert confident([0.6] * 8).revealed_at(Dilated(), budget=2) == [1, 2, 2, 2, 1, 2, 2, 2]
    assert confident([0.6] * 8).revealed_at(Budgeted(Dilated()), budget=2) == [1, 2, 1, 2, 1, 2, 1, 2]
