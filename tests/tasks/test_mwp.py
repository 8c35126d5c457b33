"""Prefix equations and rows of the CSV, worked by hand."""

from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.tasks import make_task
from unmask.tasks.mwp import parse_record, show, solve

HEADER = "Question,Numbers,Equation,Answer,group_nums,Body,Ques\n"
GOOD = (
    'Dan has number0 pens and buys number1 . How many pens ?,"3.0 4.0",+ number0 number1,7.0,"[1, 2]",a,b\n'
)


def write(folder: Path, train: str, test: str = HEADER + GOOD) -> Path:
    (folder / "train.csv").write_text(train)
    (folder / "svamp_test.csv").write_text(test)
    return folder


@pytest.mark.parametrize(
    ("equation", "numbers", "steps", "value"),
    [
        ("- number0 number1", [18, 10], ["<<18-10=8>>"], 8),
        ("- number1 number0", [5, 15], ["<<15-5=10>>"], 10),
        ("- * number0 number1 number2", [6, 7, 2], ["<<6*7=42>>", "<<42-2=40>>"], 40),
        ("* number2 - number0 number1", [14, 7, 5], ["<<14-7=7>>", "<<5*7=35>>"], 35),
        (
            "/ + number0 number1 - number2 2.0",
            [5, 7, 6],
            ["<<5+7=12>>", "<<6-2=4>>", "<<12/4=3>>"],
            3,
        ),
        ("* number0 0.01", [12.5], ["<<12.5*0.01=0.125>>"], 0.125),
        ("- number0 - number1 number2", [60, 19, 60], ["<<19-60=-41>>", "<<60-(-41)=101>>"], 101),
        ("* / number0 3.0 3.0", [1], ["<<1/3=0.3333>>", "<<0.3333*3=1>>"], 1),
        ("number0", [8], [], 8),
    ],
)
def test_prefix_equations_become_steps(
    equation: str, numbers: list[float], steps: list[str], value: float
) -> None:
    found, result = solve(equation, numbers)
    assert found == steps
    assert result == pytest.approx(value)


@pytest.mark.parametrize(
    ("equation", "reason"),
    [
        ("+ number0", "ends too early"),
        ("", "ends too early"),
        ("+ number0 number1 number1", "goes on after its end"),
        ("+ number0 number2", "there are 2 numbers"),
        ("/ number0 - number1 number1", "division by zero"),
        ("+ number0 x", "`x` is not a number"),
        ("+ number0 nan", "not a finite number"),
        ("^ number0 number1", r"`\^` is not a number"),
    ],
)
def test_bad_equations_say_why(equation: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        solve(equation, [4.0, 2.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (56.0, "56"),
        (0.5, "0.5"),
        (1 / 3, "0.3333"),
        (0.1 + 0.2, "0.3"),
        (-0.00001, "0"),
        (1e6, "1000000"),
        (100, "100"),
    ],
)
def test_numbers_are_shown_short(value: float, text: str) -> None:
    assert show(value) == text


def test_row_worked_by_hand() -> None:
    record = {
        "Question": "Joan has number0 balloons but lost number1 of her number0 .",
        "Numbers": "9.0  2.50",
        "Equation": "- number0 number1",
        "Answer": "6.5",
    }
    question, example = parse_record(record, "mwp/train/2")
    assert question == record["Question"]
    assert example.prompt == "Joan has 9 balloons but lost 2.5 of her 9 ."
    assert example.response == "<<9-2.5=6.5>> #### 6.5"
    assert example.answer == "6.5"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Answer": "8.0"}, "the equation gives 7, the answer is 8.0"),
        ({"Answer": ""}, "not a number"),
        ({"Question": ""}, "no question"),
        ({"Question": "number5 pens ?"}, "`number5`"),
        ({"Numbers": "3.0 four"}, "`four` is not a number"),
        ({"Numbers": "0.00003 0.00004", "Answer": "0.00007"}, "too small"),
        ({"Equation": None}, "ends too early"),
    ],
)
def test_bad_rows_say_why(change: dict[str, str | None], reason: str) -> None:
    record: dict[str, str | None] = {
        "Question": "number0 and number1 ?",
        "Numbers": "3.0 4.0",
        "Equation": "+ number0 number1",
        "Answer": "7.0",
    }
    with pytest.raises(ValueError, match=reason):
        parse_record(record | change, "mwp/train/2")


def test_answers_are_compared_up_to_a_thousandth(tmp_path: Path) -> None:
    task = make_task("mwp", write(tmp_path, HEADER + GOOD))
    (example,) = task.examples("test")
    assert task.correct("#### 7.005", example)
    assert task.correct("#### 7.000", example)
    assert not task.correct("#### 7.01", example)
    assert not task.correct("#### -7", example)


def test_bad_row_is_skipped_and_shown(tmp_path: Path) -> None:
    bad = GOOD.replace("7.0", "8.0")
    with pytest.warns(UserWarning, match=r"skipped 1 of 31 rows; the first is .*train.csv:2: the equation"):
        task = make_task("mwp", write(tmp_path, HEADER + bad + 30 * GOOD))
    assert len([*task.examples("train"), *task.examples("validation")]) == 30


def test_same_question_stays_in_one_split(tmp_path: Path) -> None:
    rows = [
        f"Has {i} and number0 and number1 ?,{n} {n},+ number0 number1,{2 * n},,,\n"
        for i in range(50)
        for n in (1, 2)
    ]
    task = make_task("mwp", write(tmp_path, HEADER + "".join(rows)))
    train, validation = ({e.prompt.split()[1] for e in task.examples(s)} for s in ("train", "validation"))
    assert validation
    assert not train & validation


def test_long_training_rows_are_left_out_and_long_test_rows_stay(tmp_path: Path) -> None:
    sums = "+ " * 12 + "number0 " * 13
    row = f"Sum of number0 ?,11.0,{sums},143.0,,,\n"
    task = make_task("mwp", write(tmp_path, HEADER + GOOD + row, HEADER + row))
    assert len([*task.examples("train"), *task.examples("validation")]) == 1
    assert len(task.examples("test")) == 1
    assert task.too_long == 1  # type: ignore[attr-defined]


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs data"):
        make_task("mwp")
    with pytest.raises(UserError, match=r"cannot read .*train.csv"):
        make_task("mwp", tmp_path)
    with pytest.raises(UserError, match=r"train.csv has no column Numbers, Answer"):
        make_task("mwp", write(tmp_path, "Question,Equation\na,b\n"))
    with pytest.raises(UserError, match=r"train.csv has no rows"):
        make_task("mwp", write(tmp_path, HEADER))
    with pytest.raises(UserError, match=r"1 of 2 rows .* cannot be used"):
        make_task("mwp", write(tmp_path, HEADER + GOOD + "only a question\n"))
