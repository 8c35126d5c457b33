"""Read rows that people wrote: skip the bad ones, count them, show the first, refuse a file full of them."""

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from unmask.core import texts
from unmask.core.entries import article
from unmask.core.errors import UserError
from unmask.core.texts import check_characters

MOST_BAD = 0.05  # above this share the file is not what it was taken for

Raw = TypeVar("Raw")
Row = TypeVar("Row")


class Parsed(NamedTuple, Generic[Row]):
    """What became of a file."""

    rows: list[Row]
    skipped: int  # rows that could not be read


def read_text(path: Path, task: str) -> str:
    """The file as text, by `core.texts.decode_text`. Raises UserError if it is missing, empty or no text."""
    try:
        text = texts.read_text(path)
    except OSError as error:
        raise UserError(f"task `{task}` cannot read {path}: {error.strerror or error}") from error
    if not text.strip():
        raise UserError(f"task `{task}` needs rows, but {path} is empty")
    return text


def parse_rows(path: Path, rows: Iterable[tuple[int, Raw]], parse: Callable[[int, Raw], Row]) -> Parsed[Row]:
    """`parse(line, raw)` of every (line, raw); a row for which it raises ValueError is skipped.

    Warns once, with the first bad row as file:line and why. Raises UserError if more than 5 % are bad.
    """
    kept: list[Row] = []
    skipped = 0
    first = ""
    for line, raw in rows:
        try:
            kept.append(parse(line, raw))
        except (ValueError, RecursionError) as error:  # the second from text nested absurdly deep
            skipped += 1
            first = first or f"{path}:{line}: {error}"
    total = len(kept) + skipped
    if not total:
        raise UserError(f"{path} has no rows")
    if skipped > MOST_BAD * total:
        raise UserError(f"{skipped} of {total} rows of {path} cannot be used; the first is {first}")
    if skipped:
        warnings.warn(f"skipped {skipped} of {total} rows; the first is {first}", stacklevel=2)
    return Parsed(kept, skipped)


def parse_object(line: str) -> dict[str, Any]:
    """The JSON object on a line. Raises ValueError where it is something else, holds NaN or half a character."""
    record = json.loads(line, parse_constant=_no_number)
    if not isinstance(record, dict):
        raise ValueError(f"not a JSON object but {article(record)}")
    return whole(record)


def whole(record: dict[str, Any]) -> dict[str, Any]:
    """The same. Raises ValueError where a text in it holds half a character."""
    for name, value in record.items():
        if isinstance(value, str):
            check_characters(value, f"`{name}`")
    return record


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """(line number from 1, line) of the lines that are not blank."""
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
