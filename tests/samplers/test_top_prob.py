from unmask.samplers.top_prob import TopProb


def test_five_positions_in_two_steps_by_hand(confident):
    """n_1 = 3: the largest are .9, .8, .7. Then the other two."""
    assert confident([0.6, 0.9, 0.7, 0.55, 0.8]).revealed_at(TopProb(), budget=2) == [2, 1, 1, 2, 1]


def test_the_argmax_counts_whichever_token_it_is(confident):
    """Position 1 prefers token 1, with .95."""
    assert confident([0.6, 0.05, 0.7]).picks(TopProb(), budget=3) == [1]


def test_ties_go_to_the_left(confident):
    assert confident([0.7, 0.8, 0.8, 0.8]).revealed_at(TopProb(), budget=4) == [4, 1, 2, 3]
