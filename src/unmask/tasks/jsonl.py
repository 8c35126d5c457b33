"""Your own data: one JSON object per line with a prompt, a response and, if you like, the final answer.

    {"prompt": "2 pens cost 6 dollars. What does one cost?", "response": "<<6/2=3>> #### 3", "answer": 3}

`data` is one file, divided 90/5/5 by a hash of the prompt, or a folder with any of train, validation and test,
each as .jsonl, .json (a list of such objects), .csv or .tsv (with such columns). The final answer of a text is what
follows its last `####` (the first number there, if there is one), and the whole text if it has no `####`; a row whose
response does not give its own answer is a bad row. Rows that others wrote for other tools are read as well:

    {"question": ..., "answer": ...}    {"prompt": ..., "completion": ...}
    {"instruction": ..., "input": ..., "output": ...}
    {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.entries import article
from unmask.core.errors import UserError
from unmask.core.texts import check_characters
from unmask.tasks.base import (
    Example,
    check_split,
    extract_final,
    normalise_number,
    rough_length,
    stable_bucket,
)
from unmask.tasks.lines import Parsed, numbered_lines, parse_object, parse_rows, read_text, whole

KINDS = ("jsonl", "json", "csv", "tsv")
SPLITS = ("train", "validation", "test")
SHOWN = 6  # turns that an error names
LONGEST = 256  # tokens of a response; longer training rows are left out


def final_answer(text: str) -> str | None:
    """The number after the last `####`, else the text after it, else the whole text; None if empty."""
    return extract_final(text) or normalise_number(text.rpartition("####")[2]) or None


class Pair(NamedTuple):
    """What a row asks and what it answers; final: the answer it gives by itself, if it does."""

    prompt: str
    response: str
    final: Any = None


PAIRS = (("prompt", "response"), ("prompt", "completion"), ("question", "answer"), ("instruction", "output"))
WANTED = "`prompt` and `response`, `question` and `answer`, `instruction` and `output`, or `messages`"
CHATS = (("messages", "role", "content"), ("conversations", "from", "value"))
USER, ASSISTANT = ("user", "human"), ("assistant", "gpt")


def parse_line(name: str, line: str) -> Example:
    """The example on a line. Raises ValueError if it cannot be used."""
    return make_example(name, parse_object(line))


def make_example(name: str, record: dict[str, Any]) -> Example:
    """The example that a row is. Raises ValueError if it cannot be used."""
    prompt, response, given = read_pair(record)
    answer = final_answer(response)
    if answer is None:
        raise ValueError("`response` has no answer")
    if given is not None and final_answer(f"#### {given}") != answer:
        raise ValueError(
            f"`answer` is {given!r}, but the response ends in {answer!r}: end it in `#### {given}`"
        )
    return Example(name, prompt, response, answer)


def read_pair(record: dict[str, Any]) -> Pair:
    """Prompt and response of a row, under whichever names. Raises ValueError saying what there is instead."""
    for asked, answered in PAIRS:
        if asked in record and answered in record:
            for name in (asked, answered):
                if not isinstance(record[name], str):
                    raise ValueError(f"`{name}` is not a text")
            more = record.get("input") if asked == "instruction" else None
            prompt = f"{record[asked]}\n\n{more}" if isinstance(more, str) and more.strip() else record[asked]
            return Pair(prompt, record[answered], record.get("answer") if answered != "answer" else None)
    for name, role, content in CHATS:
        if name in record:
            return read_chat(record[name], name, role, content)
    raise ValueError(f"its fields are {', '.join(f'`{name}`' for name in record) or 'none'}; wanted are {WANTED}")


def read_chat(turns: Any, name: str, role: str, content: str) -> Pair:
    """One question and its answer, after what the system is told, if it is told something."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError(f"`{name}` is not a list of objects")
    if not all(isinstance(turn.get(content), str) for turn in turns):
        raise ValueError(f"`{name}` has a turn without a text under `{content}`")
    who = [turn.get(role) for turn in turns]
    told = turns[:1] if who[:1] == ["system"] else []
    if len(turns) != len(told) + 2 or who[-2] not in USER or who[-1] not in ASSISTANT:
        several = len(turns) > len(told) + 2 and all(each in (*USER, *ASSISTANT) for each in who[len(told) :])
        instead = "; make a row of its own for each answer of a longer conversation" if several else ""
        got = ", ".join([*map(str, who[:SHOWN]), *["..."] * (len(who) > SHOWN)]) or "none"
        raise ValueError(f"`{name}` must be one question and its answer, got {got}{instead}")
    prompt = "\n\n".join(turn[content] for turn in turns[:-1])
    check_characters(prompt + turns[-1][content], f"`{name}`")
    return Pair(prompt, turns[-1][content])


def read_file(path: Path) -> Parsed[Example]:
    """All usable rows of one file: JSON lines, a JSON list, or CSV."""
    text = read_text(path, "jsonl")

    def example(number: int, record: Any) -> Example:
        if not isinstance(record, dict):
            raise ValueError(f"not a JSON object but {article(record)}")
        return make_example(f"jsonl/{path.stem}/{number}", whole(record))

    if path.suffix.lower() in (".csv", ".tsv"):
        return parse_rows(path, read_table(path, text), example)
    if text.lstrip().startswith("["):
        return parse_rows(path, enumerate(read_list(path, text), start=1), example)
    check_lines(path, text)
    lines = numbered_lines(text)
    return parse_rows(path, lines, lambda number, line: parse_line(f"jsonl/{path.stem}/{number}", line))


def check_lines(path: Path, text: str) -> None:
    """Raise UserError where a file is one JSON object that spans lines, and not one object per line."""
    first, _, rest = text.strip().partition("\n")
    try:
        json.loads(first if rest else "0")
    except (ValueError, RecursionError):
        pass
    else:
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    names = ", ".join(f"`{name}`" for name in list(value)[:SHOWN])
    raise UserError(
        f"{path} is a single JSON object with the fields {names}; write one object per line, or a JSON list of them"
    )


def read_list(path: Path, text: str) -> list[Any]:
    """The rows of a JSON list."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} begins as a JSON list, and is none: {error}; write one object per line") from error
    return list(rows)


def read_table(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV file by line; the first line names the columns, and shows what parts them: , ; or a tab."""
    head = text.lstrip().partition("\n")[0]
    parted_by = max(",;\t", key=head.count)  # Excel writes semicolons where commas are in numbers
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=parted_by)
    try:
        for row in reader:
            yield reader.line_num, {name: value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num} is not readable as CSV: {error}") from error


def find_split(folder: Path, split: str) -> Path | None:
    """The file of a split. Raises UserError where there are several."""
    found = [path for kind in KINDS if (path := folder / f"{split}.{kind}").exists()]
    if len(found) > 1:
        raise UserError(f"{folder} has both {found[0].name} and {found[1].name}; leave one of them there")
    return found[0] if found else None


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
        files = {split: find_split(source, split) for split in SPLITS}
        parsed = {split: read_file(path) for split, path in files.items() if path is not None}
        if not parsed:
            raise UserError(f"{source} has none of {', '.join(f'{split}.jsonl' for split in SPLITS)}")
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
