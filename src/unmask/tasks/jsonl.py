"""Your own data: one JSON object per line with a prompt, a response and, if you like, the final answer.

    {"prompt": "2 pens cost 6 dollars. What does one cost?", "response": "<<6/2=3>> #### 3", "answer": 3}

`data` is one file, divided 90/5/5 by a hash of the prompt, or a folder with any of train.jsonl,
validation.jsonl and test.jsonl. The final answer of a text is what follows its last `####` (the first
number there, if there is one), and the whole text if it has no `####`; a row whose response does not give its
own answer is a bad row.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.core.errors import UserError
from unmask.tasks.base import (
    Example,
    check_split,
    extract_final,
    normalise_number,
    rough_length,
    stable_bucket,
)
from unmask.tasks.lines import Parsed, numbered_lines, parse_rows, read_text

SPLITS = ("train", "validation", "test")
LONGEST = 256  # tokens of a response; longer training rows are left out


def final_answer(text: str) -> str | None:
    """The number after the last `####`, else the text after it, else the whole text; None if empty."""
    return extract_final(text) or normalise_number(text.rpartition("####")[2]) or None


def parse_line(name: str, line: str) -> Example:
    """The example on a line. Raises ValueError if it cannot be used."""
    record: Any = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    prompt, response, given = (record.get(key) for key in ("prompt", "response", "answer"))
    if not isinstance(prompt, str):
        raise ValueError("`prompt` is not a text")
    if not isinstance(response, str):
        raise ValueError("`response` is not a text")
    answer = final_answer(response)
    if answer is None:
        raise ValueError("`response` has no answer")
    if given is not None and final_answer(f"#### {given}") != answer:
        raise ValueError(
            f"`answer` is {given!r}, but the response ends in {answer!r}: end it in `#### {given}`"
        )
    return Example(name, prompt, response, answer)


def read_file(path: Path) -> Parsed[Example]:
    """All usable rows of one file."""
    lines = numbered_lines(read_text(path, "jsonl"))
    return parse_rows(path, lines, lambda number, line: parse_line(f"jsonl/{path.stem}/{number}", line))


def split_of(example: Example) -> str:
    """Which split a row of a single file belongs to."""
    bucket = stable_bucket(example.prompt)
    return "train" if bucket < 90 else "validation" if bucket < 95 else "test"


@dataclass(frozen=True)
class JsonLines:
    """The task; see the module for an example."""

    rows: dict[str, tuple[Example, ...]]
    splits: tuple[str, ...]  # those with at least one row
    response_length: int
    skipped: int  # rows that could not be used
    too_long: int  # training rows left out for their length
    name: str = "jsonl"

    def examples(self, split: str) -> Sequence[Example]:
        """The rows of a split, in the order of the file."""
        return self.rows[check_split(split, self)]

    def extract(self, text: str) -> str | None:
        """The final answer of a text."""
        return final_answer(text)

    def correct(self, text: str, example: Example) -> bool:
        """Whether the final answers are the same text once normalised."""
        return final_answer(text) == example.answer


def load(data: str | Path | None) -> JsonLines:
    """Read the file or folder `data`."""
    if data is None:
        raise UserError('task `jsonl` needs data: name a file of {"prompt": ..., "response": ...} lines')
    source = Path(data)
    if source.is_dir():
        files = {split: source / f"{split}.jsonl" for split in SPLITS}
        parsed = {split: read_file(path) for split, path in files.items() if path.exists()}
        if not parsed:
            raise UserError(f"{source} has none of {', '.join(path.name for path in files.values())}")
        rows = {split: found.rows for split, found in parsed.items()}
        skipped = sum(found.skipped for found in parsed.values())
    else:
        found = read_file(source)
        rows = {split: [row for row in found.rows if split_of(row) == split] for split in SPLITS}
        skipped = found.skipped
    train = rows.get("train", [])
    fitting = [row for row in train if rough_length(row.response) <= LONGEST]
    kept = {split: tuple(fitting if split == "train" else rows[split]) for split in rows}
    longest = max((rough_length(row.response) for split in kept for row in kept[split]), default=1)
    return JsonLines(
        rows=kept,
        splits=tuple(split for split in SPLITS if kept.get(split)),
        response_length=min(longest, LONGEST),
        skipped=skipped,
        too_long=len(train) - len(fitting),
    )
