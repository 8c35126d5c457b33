"""Values out of a file against the types of a dataclass."""

from dataclasses import dataclass
from typing import Literal

import pytest

from unmask.core.errors import UserError
from unmask.core.typed import brief, build, check_fields


@dataclass(frozen=True)
class Shape:
    count: int
    share: float = 0.5
    tied: bool = True
    name: str = "a"
    heads: int | None = None
    layers: tuple[int, ...] = (0,)
    kind: Literal["one", "two"] = "one"

    def __post_init__(self) -> None:
        check_fields(self, {"count": 1})


def test_what_is_of_its_type_comes_through():
    shape = build(Shape, {"count": 3, "share": 1, "heads": 2, "layers": [1, 2], "kind": "two"})
    assert shape == Shape(3, 1.0, True, "a", 2, (1, 2), "two")
    assert type(shape.share) is float  # as it was meant, so that digests agree
    assert type(shape.layers) is tuple


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 1.0}, {"count": True}, {"count": "1"}, {"count": None}, {"count": 0}, {"count": 2**31},
        {"count": 10**400}, {"share": "x"}, {"share": float("nan")}, {"share": float("inf")}, {"share": 10**400},
        {"share": False}, {"share": None}, {"tied": 1}, {"tied": "true"}, {"tied": None}, {"name": 3}, {"heads": 1.5},
        {"heads": []}, {"layers": 3}, {"layers": [1.5]}, {"layers": [True]}, {"layers": "12"}, {"kind": "three"},
        {"kind": []}, {"kind": {}},
    ],
)  # fmt: skip
def test_what_is_not_of_its_type_is_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"^{name} must be ") as caught:
        build(Shape, {"count": 2} | wrong)
    assert brief(value) in str(caught.value)
    assert len(str(caught.value)) < 200


def test_unknown_and_missing_entries_are_named():
    with pytest.raises(UserError, match=r"unknown entries \['counts'\]; it knows count, share"):
        build(Shape, {"counts": 2})
    with pytest.raises(UserError, match="has no `count`"):
        build(Shape, {})
