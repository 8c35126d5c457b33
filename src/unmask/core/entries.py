"""Lines and entries of our own files, read back as the records they were: all fields there, of their types.

    read = reader(Choice, budget=at_least(1))
    read({"spec": "margin", "budget": 4})

What does not fit is a ValueError that names the field; the caller says in which line of which file.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from unmask.core.typed import Check, brief, check_of

Kind = TypeVar("Kind")

LARGEST = 2**63 - 1  # of a whole number in a record
SHAPES = 100  # names and types of entries that a reader remembers


def parse(text: str | bytes) -> Any:
    """The value that a JSON text is. Raises ValueError, whatever is wrong with it."""
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("nested too deep") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 at byte {error.start + 1}") from None


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object that a text is. Raises ValueError."""
    value = parse(text)
    if not isinstance(value, dict):
        raise ValueError(f"{article(value)}, not an object")
    return value


def article(value: Any) -> str:
    """What a JSON value is, in words."""
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")


def at_least(low: float) -> Check:
    """Of a number."""
    return lambda value: bool(value >= low)


def between(low: float, high: float) -> Check:
    """Of a number."""
    return lambda value: bool(low <= value <= high)


def reader(kind: type[Kind], **more: Check) -> Callable[[Any], Kind]:
    """How to read a NamedTuple or dataclass from a JSON object; its defaults stand for what is missing.

    Whole numbers lie within 64 bits and are not true or false, other numbers are finite. more: what must hold besides,
    by field, where it is not None.
    """
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(kind._fields)  # type: ignore[attr-defined]
    needed = [name for name in names if not _has_default(kind, name)]
    checks = [(name, check_of(hints[name], LARGEST), more.get(name)) for name in names]
    known = set(names)
    alike: dict[tuple[object, ...], list[tuple[str, Check, Check | None]]] = {}  # by names and types: checks left to do

    def read(entry: Any) -> Kind:
        if not isinstance(entry, dict):
            raise ValueError(f"it is {article(entry)}, not an object")
        shape = (*entry, *map(type, entry.values()))
        left = alike.get(shape)
        if left is None:
            whole(entry)
            left = [
                (name, fitting, further)
                for name, fitting, further in checks
                if name in entry and not (further is None and _fits_by_type(entry[name], hints[name]))
            ]
            if len(alike) < SHAPES:
                alike[shape] = left
        for name, fitting, further in left:
            check(name, entry[name], fitting, further)
        return kind(**entry)

    def whole(entry: dict[str, Any]) -> None:
        for name in needed:
            if name not in entry:
                raise ValueError(f"it has no {name}")
        if not entry.keys() <= known:
            raise ValueError(f"it has an unknown {sorted(entry.keys() - known)[0]}")
        for name, fitting, further in checks:
            if name in entry:
                check(name, entry[name], fitting, further)

    return read


def check(name: str, value: Any, fitting: Check, further: Check | None) -> None:
    """Raise ValueError where a value does not fit a field."""
    if not fitting(value) or (further is not None and value is not None and not further(value)):
        raise ValueError(f"{name} cannot be {brief(value)}")


def _fits_by_type(value: Any, hint: Any) -> bool:
    """Whether every value of the type of one that fits does so too: numbers have bounds, and lists contents."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return type(value) in kinds and type(value) in (str, bool, type(None))


def _has_default(kind: type[Any], name: str) -> bool:
    if is_dataclass(kind):
        field = next(field for field in fields(kind) if field.name == name)
        return field.default is not MISSING or field.default_factory is not MISSING
    return name in kind._field_defaults


def lines_of(data: bytes) -> Iterator[bytes]:
    """The whole lines of a file: what comes after the last line end is half a line, and left out."""
    return iter(data[: data.rfind(b"\n") + 1].split(b"\n")[:-1])
