"""Word problems written by people (MAWPS and ASDiv-A for training, SVAMP for testing), with their equations.

    Question   "Joan has number0 blue balloons but lost number1 of them . How many ... ?"
    Numbers    "9.0 2.0"
    Equation   "- number0 number1"
    Answer     "7.0"
becomes
    prompt     "Joan has 9 blue balloons but lost 2 of them . How many ... ?"
    response   "<<9-2=7>> #### 7"

Reads DIR/train.csv and DIR/svamp_test.csv in the layout of the SVAMP repository (Patel et al. 2021).
Equations are in prefix form; they become one step per operation, operands first, left before right. A tenth
of train.csv is `validation`, by a hash of the question without its numbers, so problems that differ in their
numbers only stay together. Values are not rounded between steps, and written with at most four decimals.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.core.errors import UserError
from unmask.tasks.base import Example, check_split, extract_final, rough_length, stable_bucket
from unmask.tasks.lines import Parsed, parse_rows, read_text

COLUMNS = ("Question", "Numbers", "Equation", "Answer")
TOLERANCE = 1e-3  # relative; what SVAMP's own evaluation allows
LONGEST = 64  # tokens of a response; about 99.9 % of the training rows are shorter
_OPERATORS = ("+", "-", "*", "/")

Record = dict[str, str | None]


def show(value: float) -> str:
    """56.0 -> 56, 0.50 -> 0.5, at most four decimals."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def close(value: float, target: float) -> bool:
    """Equal up to the tolerance."""
    return math.isclose(value, target, rel_tol=TOLERANCE, abs_tol=1e-9)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"`{text}` is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"`{text}` is not a finite number")
    return value


def _value(token: str, numbers: Sequence[float]) -> float:
    """The value of `number1` or of a constant such as `100.0`."""
    placeholder = re.fullmatch(r"number(\d+)", token)
    if not placeholder:
        return _number(token)
    index = int(placeholder.group(1))
    if index >= len(numbers):
        raise ValueError(f"`{token}` in the equation, but there are {len(numbers)} numbers")
    return numbers[index]


def _apply(operator: str, left: float, right: float) -> float:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        raise ValueError("division by zero")
    return left / right


def solve(equation: str, numbers: Sequence[float]) -> tuple[list[str], float]:
    """The steps of a prefix equation in the order in which they are worked out, and its value.

    >>> solve("- * number0 number1 3.0", [2.0, 5.0])
    (['<<2*5=10>>', '<<10-3=7>>'], 7.0)
    """
    tokens = iter(equation.split())
    steps: list[str] = []

    def evaluate() -> float:
        token = next(tokens, None)
        if token is None:
            raise ValueError(f"the equation `{equation}` ends too early")
        if token not in _OPERATORS:
            return _value(token, numbers)
        left, right = evaluate(), evaluate()
        result = _apply(token, left, right)
        second = show(right) if right >= 0 else f"({show(right)})"
        steps.append(f"<<{show(left)}{token}{second}={show(result)}>>")
        return result

    value = evaluate()
    if next(tokens, None) is not None:
        raise ValueError(f"the equation `{equation}` goes on after its end")
    return steps, value


def parse_record(record: Record, name: str) -> tuple[str, Example]:
    """(question without numbers, example) of one row of the CSV. Raises ValueError if it cannot be used."""
    question, written, equation, answer = (record.get(column) or "" for column in COLUMNS)
    if not question.strip():
        raise ValueError("no question")
    numbers = [_number(text) for text in written.split()]
    steps, value = solve(equation, numbers)
    if not close(value, _number(answer)):
        raise ValueError(f"the equation gives {show(value)}, the answer is {answer}")
    final = show(value)
    if not close(_number(final), value):
        raise ValueError(f"the answer {answer} is too small for four decimals")
    prompt = re.sub(r"number\d+", lambda found: show(_value(found.group(), numbers)), question)
    return question, Example(name, prompt, " ".join([*steps, f"#### {final}"]), final)


def read_csv(path: Path) -> Parsed[tuple[str, Example]]:
    """All usable rows of one CSV file."""
    reader = csv.DictReader(io.StringIO(read_text(path, "mwp"), newline=""))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}; task `mwp` reads the CSV files of SVAMP")
    rows = ((reader.line_num, record) for record in reader)
    try:
        return parse_rows(path, rows, lambda line, row: parse_record(row, f"mwp/{path.stem}/{line}"))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num} is not readable as CSV: {error}") from error


@dataclass(frozen=True)
class MathWordProblems:
    """The task; see the module for an example."""

    rows: dict[str, tuple[Example, ...]]
    skipped: int  # rows that could not be used
    too_long: int  # training and validation rows left out for their length
    name: str = "mwp"
    splits: tuple[str, ...] = ("train", "validation", "test")
    response_length: int = LONGEST

    def examples(self, split: str) -> Sequence[Example]:
        """The rows of a split, in the order of the file."""
        return self.rows[check_split(split, self)]

    def extract(self, text: str) -> str | None:
        """The number after the last `####`."""
        return extract_final(text)

    def correct(self, text: str, example: Example) -> bool:
        """Whether the final number is the right one, up to 0.1 %."""
        final = extract_final(text)
        return final is not None and close(float(final), float(example.answer))


def load(data: str | Path | None) -> MathWordProblems:
    """Read the folder `data`."""
    if data is None:
        raise UserError("task `mwp` needs data: name a folder with train.csv and svamp_test.csv of SVAMP")
    train, test = read_csv(Path(data) / "train.csv"), read_csv(Path(data) / "svamp_test.csv")
    rows: dict[str, list[Example]] = {"train": [], "validation": [], "test": [row for _, row in test.rows]}
    too_long = 0
    for question, row in train.rows:
        if rough_length(row.response) > LONGEST:
            too_long += 1
        else:
            rows["validation" if stable_bucket(question) < 10 else "train"].append(row)
    return MathWordProblems(
        rows={split: tuple(kept) for split, kept in rows.items()},
        skipped=train.skipped + test.skipped,
        too_long=too_long,
    )
