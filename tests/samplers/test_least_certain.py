from unmask.samplers.least_certain import LeastCertain


def test_five_positions_in_two_steps_by_hand(confident):
    """n_1 = 3: the smallest are .55, .6, .7. Then the other two."""
    assert confident([0.6, 0.9, 0.7, 0.55, 0.8]).revealed_at(LeastCertain(), budget=2) == [1, 2, 1, 1, 2]
