"""Grade-school word problems (GSM8K, Cobbe et al. 2021), answered by their equations alone.

    question   "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.
                How many clips did Natalia sell altogether in April and May?"
    answer     "Natalia sold 48/2 = <<48/2=24>>24 clips in May.
                Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.
                #### 72"
becomes the response
    "<<48/2=24>> <<48+24=72>> #### 72"

Reads a folder with train.jsonl and test.jsonl, or without one the hub's `openai/gsm8k`. Validation is
valid_equations.txt (`question||<<..>> <<..>> #### n` per line) if the folder has it, else the last 500 rows
of train; no question of validation or test is ever in train. Training rows whose response does not fit into
64 tokens are left out; validation and test keep them, as only the final number is judged.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.core.errors import UserError
from unmask.tasks.base import Example, check_split, extract_final, rough_length
from unmask.tasks.lines import Parsed, numbered_lines, parse_object, parse_rows, read_text

HUB = "openai/gsm8k"
RESPONSE_LENGTH = 64
PROMPT_LENGTH = 128
VALIDATION_ROWS = 500  # the last ones of train, where no file names others
_ANNOTATION = re.compile(r"<<[^<>]*>>")  # the calculator's notes inside an answer


def make_example(name: str, question: object, solution: object) -> Example:
    """An example from a question and any text with `<<..>>` steps and a final `#### n`."""
    if not isinstance(question, str) or not question.strip():
        raise ValueError("no question")
    answer = extract_final(solution) if isinstance(solution, str) else None
    if not isinstance(solution, str) or answer is None:
        raise ValueError("the answer does not end in `#### number`")
    steps = _ANNOTATION.findall(solution.rpartition("####")[0])
    return Example(name, question.strip(), " ".join([*steps, f"#### {answer}"]), answer)


def parse_json(name: str, line: str) -> Example:
    """An example from a line of train.jsonl or test.jsonl."""
    record = parse_object(line)
    return make_example(name, record.get("question"), record.get("answer"))


def parse_equations(name: str, line: str) -> Example:
    """An example from a line of valid_equations.txt."""
    question, bars, solution = line.partition("||")
    if not bars:
        raise ValueError("no `||` between question and answer")
    return make_example(name, question, solution)


def read_jsonl(path: Path) -> Parsed[Example]:
    """All usable rows of train.jsonl or test.jsonl."""
    lines = numbered_lines(read_text(path, "gsm8k"))
    return parse_rows(path, lines, lambda number, line: parse_json(f"gsm8k/{path.stem}/{number}", line))


def read_equations(path: Path) -> Parsed[Example]:
    """All usable rows of valid_equations.txt."""
    lines = numbered_lines(read_text(path, "gsm8k"))
    return parse_rows(path, lines, lambda number, line: parse_equations(f"gsm8k/{path.stem}/{number}", line))


@dataclass(frozen=True)
class GradeSchoolMath:
    """The task; see the module for an example."""

    rows: dict[str, tuple[Example, ...]]
    skipped: int  # rows that could not be used
    too_long: int  # training rows left out for their length
    name: str = "gsm8k"
    splits: tuple[str, ...] = ("train", "validation", "test")
    response_length: int = RESPONSE_LENGTH
    prompt_length: int = PROMPT_LENGTH

    def examples(self, split: str) -> Sequence[Example]:
        """The rows of a split, in the order of the file."""
        return self.rows[check_split(split, self)]

    def extract(self, text: str) -> str | None:
        """The number after the last `####`."""
        return extract_final(text)

    def correct(self, text: str, example: Example) -> bool:
        """Whether the final numbers are the same text once normalised, as in the official evaluation."""
        return extract_final(text) == example.answer


def _same(question: str) -> str:
    """What two copies of a question have in common whatever their spaces."""
    return " ".join(question.split())


def assemble(
    train: Parsed[Example], test: Parsed[Example], validation: Parsed[Example] | None = None
) -> GradeSchoolMath:
    """Take the questions of validation and test out of train, and the training rows that are too long."""
    if validation is None:
        count = min(VALIDATION_ROWS, len(train.rows) // 2)
        validation = Parsed(train.rows[len(train.rows) - count :], 0)
    held_out = {_same(row.prompt) for row in [*validation.rows, *test.rows]}
    candidates = [row for row in train.rows if _same(row.prompt) not in held_out]
    kept = [row for row in candidates if rough_length(row.response) <= RESPONSE_LENGTH]
    return GradeSchoolMath(
        rows={"train": tuple(kept), "validation": tuple(validation.rows), "test": tuple(test.rows)},
        skipped=train.skipped + validation.skipped + test.skipped,
        too_long=len(candidates) - len(kept),
    )


def _from_hub() -> GradeSchoolMath:
    """Load the hub's copy through `datasets`."""
    instead = "or name a folder with train.jsonl and test.jsonl"
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UserError(
            f"task `gsm8k` without data needs the `datasets` library: pip install datasets, {instead}"
        ) from error
    try:
        loaded: Mapping[str, Any] = load_dataset(HUB, "main")
    except Exception as error:  # whatever the network, the cache or the hub's library comes up with
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"cannot load {HUB} from the hub ({reason}): check the network, {instead}") from error

    def read(split: str) -> Parsed[Example]:
        return parse_rows(
            Path(HUB) / split,
            enumerate(loaded[split], start=1),
            lambda number, row: make_example(f"gsm8k/{split}/{number}", row["question"], row["answer"]),
        )

    return assemble(read("train"), read("test"))


def load(data: str | Path | None) -> GradeSchoolMath:
    """Read the folder `data`, or the hub's copy if there is none."""
    if data is None:
        return _from_hub()
    folder = Path(data)
    equations = folder / "valid_equations.txt"
    return assemble(
        train=read_jsonl(folder / "train.jsonl"),
        test=read_jsonl(folder / "test.jsonl"),
        validation=read_equations(equations) if equations.exists() else None,
    )
