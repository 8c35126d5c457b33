import pytest

from unmask.train.schedule import trapezoid


def test_ten_updates_by_hand():
    """Two up, five level, three down: the last update is a third of the way above zero."""
    factors = [trapezoid(update, 10, warmup=2, decay=0.3) for update in range(11)]
    assert factors == pytest.approx([1 / 2, 1, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3, 0])


def test_no_warm_up_starts_at_the_peak_and_no_decay_ends_there():
    assert [trapezoid(update, 5, warmup=0, decay=0.0) for update in range(5)] == [1.0] * 5


def test_where_the_slopes_meet_the_lower_one_counts():
    factors = [trapezoid(update, 4, warmup=4, decay=1.0) for update in range(4)]
    assert factors == pytest.approx([1 / 4, 1 / 2, 1 / 2, 1 / 4])


def test_a_longer_run_is_the_same_up_to_the_end_of_the_shorter_plateau():
    short = [trapezoid(update, 10, warmup=2, decay=0.3) for update in range(8)]
    assert short == [trapezoid(update, 30, warmup=2, decay=0.3) for update in range(8)]
