"""GSM8K rows worked by hand, its validation rules, and the hub behind a stand-in."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from unmask.core.errors import UserError
from unmask.tasks import make_task
from unmask.tasks.gsm8k import VALIDATION_ROWS, parse_equations, parse_json

CLIPS = {
    "question": "Natalia sold clips to 48 friends in April, and half as many in May. How many altogether?",
    "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72",
}


def row(number: int, answer: str = "") -> dict[str, str]:
    return {
        "question": f"Question {number}?",
        "answer": answer or f"It is <<{number}+1={number + 1}>>.\n#### {number + 1}",
    }


def write(folder: Path, train: list[dict[str, str]], test: list[dict[str, str]]) -> Path:
    for name, rows in (("train", train), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def test_annotations_become_the_response() -> None:
    example = parse_json("gsm8k/train/1", json.dumps(CLIPS))
    assert example.response == "<<48/2=24>> <<48+24=72>> #### 72"
    assert example.answer == "72"
    assert example.prompt == CLIPS["question"]


@pytest.mark.parametrize(
    ("answer", "response"),
    [
        ("A dollar. <<0.2*10=2>>2, <<.5*2=1.0>>1\n#### 2", "<<0.2*10=2>> <<.5*2=1.0>> #### 2"),
        ("#### 5", "#### 5"),
        ("<<2000+125=2125>>2,125\n#### 2,125", "<<2000+125=2125>> #### 2125"),
        ("#### $18.00", "#### 18"),
        ("<<3-5=-2>>\n#### -2", "<<3-5=-2>> #### -2"),
    ],
)
def test_responses_keep_the_steps_and_clean_the_answer(answer: str, response: str) -> None:
    assert parse_json("x", json.dumps(row(1, answer))).response == response


def test_equation_lines_are_read() -> None:
    example = parse_equations("x", "How much is left?||<<16-3-4=9>> <<9*2=18>>  #### 18")
    assert example.prompt == "How much is left?"
    assert example.response == "<<16-3-4=9>> <<9*2=18>> #### 18"


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1, 2]",
        '{"question": "Why?"}',
        '{"answer": "#### 3"}',
        '{"question": "Why?", "answer": "3"}',
        '{"question": "Why?", "answer": "#### three"}',
        '{"question": 3, "answer": "#### 3"}',
    ],
)
def test_bad_lines_raise(line: str) -> None:
    with pytest.raises(ValueError):
        parse_json("x", line)
    with pytest.raises(ValueError):
        parse_equations("x", line)


def test_without_a_file_validation_is_the_end_of_train(tmp_path: Path) -> None:
    count = 2 * VALIDATION_ROWS + 10
    task = make_task("gsm8k", write(tmp_path, [row(i) for i in range(count)], [row(9999)]))
    assert [e.prompt for e in task.examples("validation")] == [
        f"Question {i}?" for i in range(count - VALIDATION_ROWS, count)
    ]
    assert [e.prompt for e in task.examples("train")] == [
        f"Question {i}?" for i in range(count - VALIDATION_ROWS)
    ]


def test_validation_questions_of_the_file_leave_train(tmp_path: Path) -> None:
    write(tmp_path, [row(i) for i in range(6)], [row(9)])
    (tmp_path / "valid_equations.txt").write_text("Question  4?||<<4+1=5>> #### 5\nNew?||#### 1\n")
    task = make_task("gsm8k", tmp_path)
    assert [e.answer for e in task.examples("validation")] == ["5", "1"]
    assert [e.prompt for e in task.examples("train")] == [f"Question {i}?" for i in (0, 1, 2, 3, 5)]
    assert [e.id for e in task.examples("test")] == ["gsm8k/test/1"]


def test_test_questions_are_never_in_train(tmp_path: Path) -> None:
    task = make_task("gsm8k", write(tmp_path, [row(i) for i in range(4)], [row(0), row(9)]))
    assert [e.prompt for e in task.examples("train")] == ["Question 1?"]


def test_long_rows_leave_train_only(tmp_path: Path) -> None:
    solution = 10 * "<<1111+1111=2222>>" + "\n#### 2222"
    train, test = [row(1), row(7, solution), row(2), row(3)], [row(8, solution)]
    task = make_task("gsm8k", write(tmp_path, train, test))
    assert [e.answer for e in task.examples("train")] == ["2"]
    assert len(task.examples("validation")) == 2
    assert len(task.examples("test")) == 1
    assert task.too_long == 1  # type: ignore[attr-defined]


def test_answers_are_compared_after_the_official_normalisation(tmp_path: Path) -> None:
    task = make_task("gsm8k", write(tmp_path, [row(1), row(2)], [row(3, "#### 1,234")]))
    (example,) = task.examples("test")
    assert all(task.correct(f"#### {text}", example) for text in ("1234", "1,234", "$1,234.", "1234.0"))
    assert not any(task.correct(text, example) for text in ("#### 1234.5", "1234", "#### 234", "####"))


def test_bad_line_is_skipped_and_shown(tmp_path: Path) -> None:
    write(tmp_path, [row(i) for i in range(40)], [row(1)])
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("not json\n")
    with pytest.warns(UserWarning, match=r"skipped 1 of 41 rows; the first is .*train.jsonl:41"):
        make_task("gsm8k", tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*train.jsonl"):
        make_task("gsm8k", tmp_path)


def stand_in(monkeypatch: pytest.MonkeyPatch, load_dataset: object) -> None:
    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_hub_copy_equals_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train, test = [row(i) for i in range(10)], [row(20)]
    asked = []

    def load_dataset(name: str, config: str) -> dict[str, list[dict[str, str]]]:
        asked.append((name, config))
        return {"train": train, "test": test}

    stand_in(monkeypatch, load_dataset)
    hub, folder = make_task("gsm8k"), make_task("gsm8k", write(tmp_path, train, test))
    assert asked == [("openai/gsm8k", "main")]
    for split in folder.splits:
        assert list(hub.examples(split)) == list(folder.examples(split))


def test_no_library_and_no_network_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, config: str) -> None:
        raise ConnectionError("no route\nto host")

    stand_in(monkeypatch, load_dataset)
    with pytest.raises(UserError, match=r"cannot load openai/gsm8k .*\(no route\).*name a folder"):
        make_task("gsm8k")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the `datasets` library.*pip install datasets.*name a folder"):
        make_task("gsm8k")
