"""The helpers that every task leans on, with values worked by hand."""

import pytest

from unmask.tasks.base import extract_final, normalise_number, rough_length, stable_bucket
from unmask.tasks.sequence import Lazy
from unmask.tasks.wordprob import problem


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("1,234", "1234"),
        ("18.0", "18"),
        ("$5", "5"),
        ("5.", "5"),
        ("$1,234.50", "1234.5"),
        (".50", "0.5"),
        ("-.5", "-0.5"),
        ("-$3", "-3"),
        ("0.0", "0"),
        ("100", "100"),
        ("  7 ", "7"),
        ("yes.", "yes."),
        ("", ""),
    ],
)
def test_normalise_number_writes_equal_numbers_alike(written: str, normal: str) -> None:
    assert normalise_number(written) == normal
    assert normalise_number(normal) == normal


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("<<9*2=18>> #### 18", "18"),
        ("####18", "18"),
        ("#### $1,061.0 dollars", "1061"),
        ("#### 3 <<1+1=2>> #### 4 5", "4"),
        ("#### -7", "-7"),
        ("#### 5.", "5"),
        ("so it is 18", None),
        ("#### many", None),
        ("18 ####", None),
        ("", None),
    ],
)
def test_extract_final_takes_the_first_number_after_the_last_marker(text: str, final: str | None) -> None:
    assert extract_final(text) == final


def test_rough_length_counts_digits_marks_and_the_end() -> None:
    assert rough_length("<<16-3-4=9>> #### 9") == 9 + 1 + 2 + 1  # <<16-3-4=9 is 1+8...
    assert rough_length("") == 1
    assert rough_length("two words, .5") == 2 + 1 + 2 + 1


def test_stable_bucket_never_moves() -> None:
    assert [stable_bucket(text) for text in ("", "a", "how many ?")] == [52, 50, 0]


def test_lazy_sequence_indexes_like_a_list() -> None:
    def make(index: int):
        made = problem("train", index)
        return made.question

    rows = Lazy(make, 5)  # type: ignore[arg-type]
    whole = list(rows)
    assert len(rows) == len(whole) == 5
    assert rows[1:4] == whole[1:4]
    assert rows[-1] == whole[-1]
    with pytest.raises(IndexError):
        rows[5]
