"""Samplers are compared by what they mean, not by how they are typed."""

import pytest

from unmask.evaluate.meaning import meaning, named
from unmask.evaluate.pinned import Pinned
from unmask.evaluate.table import TableRow, references

SAME = [
    ("threshold:level=0.9", "threshold:level=0.90"),
    ("threshold:level=.9", "threshold"),
    ("threshold:level=1", "threshold:level=1.0"),
    ("margin:block=16,eot=defer", "margin:eot=defer,block=16"),
    ("margin:eot=free,pace=false", "margin"),
    ("margin:pace=True", "margin:pace=true"),
    ("remdm:conf=False", "remdm:eta=0.02"),
]
OTHER = [
    ("threshold:level=0.9", "threshold:level=0.91"),
    ("margin", "margin:block=16"),
    ("margin", "entropy"),
    ("learned", "ours"),
    ("margin:pace=true", "margin:pace=exact"),
    ("margin:block=1", "margin"),
    ("ours:one-per-step", "ours"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_sampler_in_other_words(one: str, other: str) -> None:
    assert meaning(one) == meaning(other)
    assert named(one, ["iid", other]) == other


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_sampler(one: str, other: str) -> None:
    assert meaning(one) != meaning(other)
    assert named(one, ["iid", other]) is None


def row(sampler: str, budget: int = 48) -> TableRow:
    return TableRow(sampler, budget, 4.0, 4, 4, 4.0, 2.0, 0.5, 0.0, 1.0, 10, 1.0, 0)


def test_a_row_is_found_by_what_its_name_means() -> None:
    """A sweep calls its row 0.90; nobody types the nought."""
    rows = [row("threshold:level=0.80"), row("threshold:level=0.90"), row("threshold:level=0.90", 4), row("iid")]
    assert references(rows, Pinned("threshold:level=0.9", None)) == [1, 2]
    assert references(rows, Pinned("threshold:level=0.9", 48)) == [1]
    assert references(rows, Pinned("threshold:level=0.80", None)) == [0]
    assert references(rows, Pinned("threshold", None)) == [0, 1, 2], "a bare name stands for all"
    assert references(rows, Pinned("threshold:level=0.7", None)) == []
