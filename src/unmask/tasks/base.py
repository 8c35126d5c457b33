"""What a task is: examples of prompt and response, and a judge for generated responses.

One example, from `wordprob`:
    prompt    "Kevin has 26 ribbons. He gives half of the ribbons to Noah and finds 2 more on the way to the
               library. How many ribbons does Kevin have now?"
    response  "<<26/2=13>> <<13+2=15>> #### 15"
    answer    "15"
A task knows no model and no tokenizer: both sides are plain text.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from unmask.core.registry import check_name

ENDLESS = 2**40  # the length of a split that is generated on demand

# A number as people write it: 7, 1,234, 18.0, .5, -3.
_NUMBER = re.compile(r"-?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)")
# Every digit by itself, every mark of the equation format, any other run of letters or single sign.
_ROUGH_TOKEN = re.compile(r"<<|>>|####|\d|[^\W\d_]+|[^\w\s]|_")


class Example(NamedTuple):
    """One row of a task."""

    id: str  # unique within the task, e.g. "wordprob/train/17"
    prompt: str  # always visible
    response: str  # the clean text of the canvas
    answer: str  # the normalised final answer


class Task(Protocol):
    """Examples by split and index, and the judge of a response."""

    @property
    def name(self) -> str:
        """What it is called in TASKS."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have examples."""
        ...

    @property
    def response_length(self) -> int:
        """Tokens of the response canvas, digits as single tokens, the end token included."""
        ...

    def examples(self, split: str) -> Sequence[Example]:
        """Random access to a split; deterministic. An endless split has length 2**40."""
        ...

    def extract(self, text: str) -> str | None:
        """The final answer in a generated response, or None if it gives none."""
        ...

    def correct(self, text: str, example: Example) -> bool:
        """Whether a generated response ends in the right answer."""
        ...


def check_split(split: str, task: Task) -> str:
    """Return `split` if `task` has it, else raise a UserError that lists the ones there are."""
    return check_name(split, task.splits, f"split of {task.name}")


def normalise_number(text: str) -> str:
    """Write a number the way answers are compared; leave any other text as it is, but for the ends.

    The official GSM8K rules (drop commas, `$` and a final point), and `18.0` is `18`, `.50` is `0.5`.

    >>> normalise_number("$1,234.")
    '1234'
    """
    text = text.strip()
    bare = text.replace(",", "").replace("$", "").removesuffix(".")
    if not _NUMBER.fullmatch(bare):
        return text
    whole, _, fraction = bare.partition(".")
    fraction = fraction.rstrip("0")
    whole = {"": "0", "-": "-0"}.get(whole, whole)
    return f"{whole}.{fraction}" if fraction else whole


def extract_final(text: str) -> str | None:
    """The first number after the last `####`, normalised; None if there is none.

    >>> extract_final("<<30+31=61>> #### $1,061.0")
    '1061'
    """
    _, marker, tail = text.rpartition("####")
    number = _NUMBER.search(tail.replace("$", "")) if marker else None
    return normalise_number(number.group()) if number else None


def rough_length(text: str) -> int:
    """Count tokens as if each digit, each mark and each word were one, and add the end token.

    Spaces count nothing: a tokenizer either glues them to what follows or drops them.
    """
    return len(_ROUGH_TOKEN.findall(text)) + 1


def checksum(task: Task, split: str, count: int = 200) -> str:
    """A short sha256 over the first `count` examples of a split: tells records of different data apart at a glance.

    What must not be overlooked is in `whole_checksum`, or compared row by row.
    """
    rows = task.examples(split)
    return _checksum(rows, min(count, len(rows)))


def whole_checksum(task: Task, split: str) -> str:
    """The same over all of a split; over its first 200 where it is generated on demand, from its number alone."""
    rows = task.examples(split)
    return _checksum(rows, len(rows) if len(rows) < ENDLESS else 200)


def checksums(task: Task, *splits: str) -> dict[str, str]:
    """`whole_checksum` of those of the splits that the task has."""
    return {split: whole_checksum(task, split) for split in splits if split in task.splits}


def _checksum(rows: Sequence[Example], count: int) -> str:
    digest = hashlib.sha256()
    for index in range(count):
        digest.update(json.dumps(rows[index]).encode())
    return digest.hexdigest()[:12]


def stable_bucket(text: str) -> int:
    """0..99, the same for the same text on every machine: what splits by hash are made of."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100
