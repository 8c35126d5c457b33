from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pytest

from unmask.core.entries import at_least, between, brief, lines_of, parse, parse_object, reader


class Row(NamedTuple):
    name: str
    count: int
    share: float
    note: str | None = None
    sizes: list[int] | None = None
    more: dict[str, Any] | None = None


@dataclass(frozen=True)
class Same:
    name: str
    count: int = 0


GOOD = {"name": "a", "count": 4, "share": 0.5}
read = reader(Row, count=at_least(0), share=between(0, 1))


def test_what_was_written_is_read_back():
    assert read(GOOD) == Row("a", 4, 0.5)
    assert read(GOOD | {"share": 1, "note": "x", "sizes": [1, 2], "more": {"a": [None]}}).sizes == [1, 2]
    assert reader(Same)({"name": "b"}) == Same("b", 0)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([1], "it is a list, not an object"),
        ({"name": "a", "count": 4}, "it has no share"),
        (GOOD | {"size": 3}, "it has an unknown size"),
        (GOOD | {"count": True}, "count cannot be True"),
        (GOOD | {"count": 4.0}, "count cannot be 4.0"),
        (GOOD | {"count": -1}, "count cannot be -1"),
        (GOOD | {"count": 2**63}, "count cannot be 9223372036854775808"),
        (GOOD | {"count": 10**4999}, "count cannot be a number of thousands of digits"),
        (GOOD | {"share": float("nan")}, "share cannot be nan"),
        (GOOD | {"share": 10**400}, "share cannot be 1000"),
        (GOOD | {"share": "0.5"}, "share cannot be '0.5'"),
        (GOOD | {"share": 1.5}, "share cannot be 1.5"),
        (GOOD | {"note": 3}, "note cannot be 3"),
        (GOOD | {"sizes": [1, "2"]}, "sizes cannot be"),
        (GOOD | {"sizes": {"0": 1}}, "sizes cannot be"),
        (GOOD | {"more": [1]}, "more cannot be"),
    ],
)
def test_what_does_not_fit_is_named(entry, said):
    with pytest.raises(ValueError, match=said):
        read(entry)


@pytest.mark.parametrize("text", [b"{", b"", b"[" * 100_000, b"9" * 5000, b'"\xe9"', "nothing"])
def test_what_is_no_json_is_one_kind_of_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_an_object_is_asked_for_by_name():
    assert parse_object(b'{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="a text, not an object"):
        parse_object('"a"')


def test_half_a_line_is_no_line_and_a_long_value_is_cut():
    assert list(lines_of(b"one\n\ntwo\nhal")) == [b"one", b"", b"two"]
    assert list(lines_of(b"half")) == list(lines_of(b"")) == []
    assert len(brief("x" * 1000)) < 80


class Told(NamedTuple):
    kind: Literal["a", "b"]
    word: str
    number: int
    more: list[int] | str | None = None
    right: bool = True


def test_an_entry_like_one_before_is_checked_as_the_first_was():
    """What fits by its type alone is not looked at again; everything else is, each time."""
    read = reader(Told, number=at_least(0), word=lambda word: word != "no")
    right = {"kind": "a", "word": "x", "number": 1, "more": [1], "right": True}
    assert [read(right), read({**right, "kind": "b"})] == [Told("a", "x", 1, [1]), Told("b", "x", 1, [1])]
    wrong = {"kind": "c", "word": "no", "number": -1, "more": ["1"], "right": 1}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"{name} cannot be"):
            read({**right, name: value})
    for number in (2**63, float("nan"), True, None):
        with pytest.raises(ValueError, match="number cannot be"):
            read({**right, "number": number})
    with pytest.raises(ValueError, match="has no word"):
        read({name: value for name, value in right.items() if name != "word"})
    assert read({**right, "more": None}).more is None
