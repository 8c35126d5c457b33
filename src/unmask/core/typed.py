"""Values that come from a file, held against the types of the dataclass they go into.

One mechanism for every configuration: a dataclass calls `check_fields(self)` when it is made, and `build` reads one
from what stood in a JSON object.
"""

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from unmask.core.errors import UserError

Kind = TypeVar("Kind")
Check = Callable[[Any], bool]

LARGEST = 2**31 - 1  # of a whole number: no size of a network is larger, and its products still fit 64 bits
SHOWN = 60  # signs of a value in an error


def brief(value: object) -> str:
    """`value` as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def check_fields(record: Any, at_least: Mapping[str, float] | None = None) -> None:
    """Hold every field of a dataclass against its type, and against the least it may be.

    True is no number, a number is never NaN or infinite, and a whole number lies within 32 bits. A whole number where a
    float is asked for becomes one, a list where a tuple is asked for too. Raises UserError naming the field.
    """
    at_least = at_least or {}
    kinds = hints(type(record))
    for field in fields(record):
        value, low = getattr(record, field.name), at_least.get(field.name)
        kind = kinds[field.name]
        right = fits(value, kind) and (value is None or low is None or value >= low)
        if not right:
            least = "" if low is None else f" of at least {low:g}"
            raise UserError(f"{field.name} must be {words(kind)}{least}, got {brief(value)}")
        if kind is float and type(value) is int:
            object.__setattr__(record, field.name, float(value))
        if get_origin(kind) is tuple and isinstance(value, list):
            object.__setattr__(record, field.name, tuple(value))


def build(kind: type[Kind], values: Mapping[str, Any]) -> Kind:
    """The dataclass `kind` from `values`. Raises UserError on an entry that is unknown, missing or cannot be."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UserError(f"has unknown entries {unknown}; it knows {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"has no `{name}`")
    return kind(**values)


def hints(kind: type[Any]) -> dict[str, Any]:
    """The types of its fields, by name."""
    return get_type_hints(kind)


def fits(value: object, kind: Any) -> bool:
    """Whether `value` is of the type `kind`, as `check_fields` means it."""
    return check_of(kind)(value)


@cache
def check_of(kind: Any, largest: int = LARGEST) -> Check:
    """Whether a value is of an annotated type, as JSON has it: a list will do as a tuple, a whole number as a float.

    True is no number, numbers are finite, and whole ones at most `largest`, with either sign.
    """
    origin, inner = get_origin(kind), get_args(kind)
    plain: dict[Any, Check] = {
        Any: lambda value: True,
        float: lambda value: type(value) in (int, float) and is_finite(value),
        int: lambda value: type(value) is int and -largest <= value <= largest,
    }
    if kind in plain:
        return plain[kind]
    if origin in (Union, types.UnionType):
        several = [check_of(each, largest) for each in inner]
        return lambda value: any(check(value) for check in several)
    if origin is Literal:
        return lambda value: any(type(value) is type(each) and value == each for each in inner)
    if origin in (list, tuple):
        kinds, each = (list, tuple) if origin is tuple else (list,), check_of(inner[0], largest)
        return lambda value: isinstance(value, kinds) and all(map(each, value))
    if origin is dict:
        held = check_of(inner[1], largest)
        return lambda value: isinstance(value, dict) and all(map(held, value.values()))
    return lambda value: type(value) is kind


def is_finite(value: Any) -> bool:
    """Whether a number is one, and not too large for a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def words(kind: Any) -> str:
    """What a type is called in an error."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(words(each) for each in inner if each is not type(None))
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin is tuple:
        return "a list of whole numbers"
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return plain.get(kind, getattr(kind, "__name__", str(kind)))
