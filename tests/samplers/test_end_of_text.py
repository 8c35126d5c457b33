import pytest

from unmask.core.errors import UserError
from unmask.samplers import make_sampler
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.end_of_text import EndOfText
from unmask.samplers.entropy import Entropy
from unmask.samplers.margin import Margin
from unmask.samplers.threshold import Threshold
from unmask.samplers.top_prob import TopProb

# token 1 is the end: predicted at 1, 3, 4, with more confidence than the words at 0, 2
ROW = [0.6, 0.1, 0.7, 0.05, 0.02]


def test_without_a_rule_ends_are_written_first(confident):
    case = confident(ROW)
    assert case.revealed_at(TopProb(), budget=5) == [5, 3, 4, 2, 1]
    assert case.revealed_at(EndOfText(TopProb(), "free", 1), budget=5) == [5, 3, 4, 2, 1]


def test_defer_hides_them_until_only_they_are_left_and_then_reveals_all(confident):
    """The words at steps 1 and 2, by confidence; then the three ends at once."""
    assert confident(ROW).revealed_at(EndOfText(TopProb(), "defer", 1), budget=5) == [2, 3, 1, 3, 3]


def test_tail_reveals_an_end_together_with_the_last_word_to_its_left(confident):
    """Step 1 writes position 2, but 0 is unwritten. Step 2 writes 0, and nothing is left of any end."""
    assert confident(ROW).revealed_at(EndOfText(TopProb(), "tail", 1), budget=5) == [2, 2, 1, 2, 2]


def test_tail_reveals_an_end_in_the_middle_once_all_to_its_left_is_written(confident):
    """Now 0 goes first: the end at 1 goes with it, those behind 2 wait for it."""
    case = confident([0.8, *ROW[1:]])
    assert case.revealed_at(EndOfText(TopProb(), "tail", 1), budget=5) == [1, 1, 2, 2, 2]
    assert case.revealed_at(EndOfText(TopProb(), "defer", 1), budget=5) == [1, 3, 2, 3, 3]


@pytest.mark.parametrize("rule", ["defer", "tail"])
def test_if_only_ends_are_predicted_all_go_at_once(confident, rule):
    assert confident([0.1, 0.2, 0.3]).revealed_at(EndOfText(TopProb(), rule, 1), budget=3) == [1, 1, 1]


def test_the_quota_counts_only_what_is_not_hidden(confident):
    """Two candidates over two steps: one, although five positions are masked."""
    assert confident(ROW).picks(EndOfText(TopProb(), "defer", 1), budget=2) == [2]


def test_paced_around_defer_fills_the_quota_with_ends_last_as_llada_does(confident):
    """Five over two steps: three; the two words, and the leftmost end for want of another."""
    assert confident(ROW).picks(Budgeted(EndOfText(TopProb(), "defer", 1)), budget=2) == [0, 1, 2]


def test_zero_ranks_ends_last_inside_the_quota(confident):
    """Five over two steps: three; the two words, and the leftmost end for want of another."""
    assert confident(ROW).picks(EndOfText(TopProb(), "zero", 1), budget=2) == [0, 1, 2]
    assert confident(ROW).revealed_at(EndOfText(TopProb(), "zero", 1), budget=5) == [1, 3, 2, 4, 5]


def test_zero_ranks_by_probabilities_without_the_ends(fixed):
    """.5 against .1 without its rival, the end, is .83; .6 against .3 is .67."""
    case = fixed([[0.6, 0.3, 0.1], [0.5, 0.1, 0.4]])
    assert case.picks(EndOfText(TopProb(), "defer", 2), budget=2) == [0]
    assert case.picks(EndOfText(TopProb(), "zero", 2), budget=2) == [1]
    assert case.picks(EndOfText(Entropy(), "zero", 2), budget=2) == [1]
    assert case.picks(EndOfText(Margin(), "zero", 2), budget=2) == [1]


@pytest.mark.parametrize("sampler", [TopProb(), Margin(), Entropy(), Threshold(0.3)])
def test_zero_takes_an_end_although_nothing_else_is_possible(fixed, sampler):
    case = fixed([[0.0, 0.0, 1.0], [0.4, 0.6, 0.0]])
    assert case.picks(EndOfText(sampler, "zero", 2), budget=2) == [1]
    assert case.decode(EndOfText(sampler, "zero", 2), budget=2).canvas.tokens.tolist() == [[2, 1]]


def test_an_end_above_the_threshold_waits_too(confident):
    assert confident(ROW).picks(EndOfText(Threshold(0.9), "defer", 1), budget=5) == [2]


def test_an_unknown_rule_is_refused_with_the_choices():
    with pytest.raises(UserError, match="eot must be one of free, defer, tail, zero, got never"):
        EndOfText(TopProb(), "never", 1)


@pytest.mark.parametrize("rule", ["defer", "tail"])
@pytest.mark.parametrize("sampler", ["top-prob:pace=true", "threshold:level=0.6", "iid:block=3"])
def test_whichever_of_several_ends_is_predicted_the_order_is_the_same(fixed, rule, sampler):
    """The same confidences, with `<|eot_id|>` (2) in the place of `<|endoftext|>` (1), or one after the other."""
    first = [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.7, 0.3, 0.0], [0.05, 0.95, 0.0], [0.02, 0.98, 0.0]]
    second = [[word, 0.0, end] for word, end, _ in first]
    spec = f"{sampler},eot={rule}"
    wanted = fixed(first).revealed_at(make_sampler(spec, 1), budget=5)
    for rows in (first, second, [*first[:3], *second[3:]]):
        assert fixed(rows).revealed_at(make_sampler(spec, {1, 2}), budget=5) == wanted


def test_ends_are_one_id_or_several_in_any_collection():
    assert EndOfText(TopProb(), "tail", 1) == EndOfText(TopProb(), "tail", [1])
    assert EndOfText(TopProb(), "tail", (2, 1)) == EndOfText(TopProb(), "tail", frozenset((1, 2)))


@pytest.mark.parametrize("ends", ["1", -1, [1, None], 1.0, True, [[1]]])
def test_what_is_no_id_is_refused(ends):
    with pytest.raises(UserError, match="an end token is a whole number of at least 0"):
        EndOfText(TopProb(), "tail", ends)
