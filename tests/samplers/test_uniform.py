from collections import Counter

from unmask.samplers.uniform import Random


def test_every_pair_of_four_positions_is_equally_likely(confident):
    """4 positions in 2 steps: 2 a step, one of 6 pairs."""
    rows = 6000
    first = confident([0.9, 0.6, 0.7, 0.8], rows=rows).first_choice(Random(), budget=2)
    pairs = Counter(tuple(row.nonzero().flatten().tolist()) for row in first)
    assert len(pairs) == 6
    standard_error = (1 / 6 * 5 / 6 / rows) ** 0.5
    assert all(abs(count / rows - 1 / 6) < 4 * standard_error for count in pairs.values())


def test_the_remainder_goes_first(confident):
    """7 positions in 3 steps: 3, 2, 2."""
    steps = confident([0.5] * 7).revealed_at(Random(), budget=3)
    assert sorted(steps) == [1, 1, 1, 2, 2, 3, 3]
