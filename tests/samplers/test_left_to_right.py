from unmask.samplers.left_to_right import LeftToRight


def test_five_positions_in_three_steps_by_hand(confident):
    """n = 2, 2, 1, whatever the confidence; what is visible is skipped."""
    assert confident([0.5, 0.9, 0.7, 0.6, 0.8]).revealed_at(LeftToRight(), budget=3) == [1, 1, 2, 2, 3]
    case = confident([0.5, 0.9, 0.7, 0.6, 0.8], visible=(1,))
    assert case.revealed_at(LeftToRight(), budget=4) == [1, 0, 2, 3, 4]
