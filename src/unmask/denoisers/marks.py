"""The marks that say where in a text something is to be written: `<|mask|>`, or `<|mask:8|>` for eight positions."""

import re
from typing import NamedTuple

from unmask.core.errors import UserError

MARK = "<|mask|>"
_ANY = r"<\|mask(?::[^|>\n]*)?\|>"
MOST = 2**20  # positions of a text where no context says how many there may be
HOW = f"mark what to write with {MARK}, or <|mask:8|> for eight positions"


class Part(NamedTuple):
    """Positions to be written, and the text that follows them."""

    blanks: int
    text: str


def has_mark(text: str) -> bool:
    """Whether somebody marked something in it."""
    return re.search(_ANY, text) is not None


def read_marks(text: str, mask: str, most: int | None = None) -> list[Part]:
    """A text in parts, the first of which has no blanks. mask: a name of the mask token, which marks a position too.

    Raises UserError on a mark that marks nothing, or where there are more than `most` positions.
    """
    first, *others = re.split(f"({_ANY}|{re.escape(mask)})", text)
    parts, blanks = [Part(0, first)], 0
    for mark, after in zip(others[::2], others[1::2], strict=True):
        count = _count(mark) if re.fullmatch(_ANY, mark) else 1
        blanks += count
        if blanks > (MOST if most is None else most):
            raise UserError(
                f"{blanks:,} positions to write, up to `{mark:.40}`, passes the context of {most or MOST:,}; mark fewer"
            )
        parts.append(Part(count, after))
    return parts


def _count(mark: str) -> int:
    number = mark.removeprefix("<|mask").removesuffix("|>").removeprefix(":")
    if mark == MARK:
        return 1
    if not re.fullmatch("0*[1-9][0-9]*", number):
        raise UserError(f"`{mark:.40}` marks nothing; {HOW}")
    return int(number) if len(number) < 12 else 10**12


def around_marks(text: str, mask: str) -> list[str]:
    """What stands before, between and after the positions that `text` marks to be written; `mask` marks one too."""
    first, *others = read_marks(text, mask)
    return [first.text, *(words for part in others for words in [""] * (part.blanks - 1) + [part.text])]
