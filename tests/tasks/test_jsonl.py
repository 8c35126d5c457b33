"""A user's own lines, worked by hand, and what goes wrong with them."""

import json
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.tasks import make_task
from unmask.tasks.jsonl import LONGEST, final_answer, parse_line


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number: int) -> dict[str, object]:
    return {"prompt": f"double {number}", "response": f"#### {2 * number}"}


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ({"prompt": "p", "response": "<<6/2=3>> #### 3"}, "3"),
        ({"prompt": "p", "response": "<<6/2=3>> #### 3", "answer": 3}, "3"),
        ({"prompt": "p", "response": "#### $3.00", "answer": "3"}, "3"),
        ({"prompt": "p", "response": "so #### Paris ", "answer": "Paris"}, "Paris"),
        ({"prompt": "p", "response": " a whole answer\n"}, "a whole answer"),
        ({"prompt": "", "response": "1,000"}, "1000"),
    ],
)
def test_answer_of_a_line(record: dict[str, object], answer: str) -> None:
    example = parse_line("jsonl/rows/1", json.dumps(record))
    assert example.answer == answer == final_answer(example.response)
    assert example.response == record["response"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("3", "not a JSON object"),
        ('{"response": "x"}', "`prompt` is not a text"),
        ('{"prompt": "x"}', "`response` is not a text"),
        ('{"prompt": "x", "response": ["y"]}', "`response` is not a text"),
        ('{"prompt": "x", "response": " "}', "no answer"),
        ('{"prompt": "x", "response": "#### 3", "answer": 4}', "`answer` is 4, but the response ends in '3'"),
    ],
)
def test_bad_lines_say_why(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_line("jsonl/rows/1", line)


def test_one_file_is_divided_by_the_prompt(tmp_path: Path) -> None:
    rows = [row(i) for i in range(1000)]
    task = make_task("jsonl", write(tmp_path / "a.jsonl", rows))
    sizes = {split: len(task.examples(split)) for split in task.splits}
    assert sum(sizes.values()) == 1000
    assert sizes == pytest.approx({"train": 900, "validation": 50, "test": 50}, abs=4 * (1000 * 0.09) ** 0.5)
    again = make_task("jsonl", write(tmp_path / "b.jsonl", rows[::-1]))
    assert {e.prompt for e in again.examples("test")} == {e.prompt for e in task.examples("test")}


def test_folder_has_the_splits_of_its_files(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [row(1), row(2)])
    write(tmp_path / "test.jsonl", [row(3)])
    task = make_task("jsonl", tmp_path)
    assert task.splits == ("train", "test")
    assert [e.id for e in task.examples("test")] == ["jsonl/test/1"]
    with pytest.raises(UserError, match="unknown split of jsonl `validation`"):
        task.examples("validation")


def test_response_length_comes_from_the_data(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [row(1), {"prompt": "p", "response": "three words here #### 12"}]
    assert make_task("jsonl", write(tmp_path / "train.jsonl", rows)).response_length == 3 + 1 + 2 + 1


def test_response_length_is_capped_and_long_training_rows_are_left_out(tmp_path: Path) -> None:
    long = {"prompt": "p", "response": "word " * LONGEST}
    write(tmp_path / "train.jsonl", [row(1), long])
    write(tmp_path / "test.jsonl", [long])
    task = make_task("jsonl", tmp_path)
    assert task.response_length == LONGEST
    assert len(task.examples("train")) == len(task.examples("test")) == 1
    assert task.too_long == 1  # type: ignore[attr-defined]


def test_bad_line_is_skipped_and_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(i) for i in range(40)])
    path.write_text("\n{}\n" + path.read_text())
    with pytest.warns(UserWarning, match=r"skipped 1 of 41 rows; the first is .*rows.jsonl:2: `prompt`"):
        task = make_task("jsonl", path)
    assert task.examples("train")[0].id == "jsonl/rows/3"


def test_nested_absurdly_deep_is_a_bad_line(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(i) for i in range(40)])
    path.write_text(path.read_text() + "[" * 200_000 + "\n")
    with pytest.warns(UserWarning, match="skipped 1 of 41 rows"):
        make_task("jsonl", path)


def test_wrong_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs data"):
        make_task("jsonl")
    with pytest.raises(UserError, match=r"cannot read .*nowhere.jsonl"):
        make_task("jsonl", tmp_path / "nowhere.jsonl")
    with pytest.raises(UserError, match=r"has none of train.jsonl, validation.jsonl, test.jsonl"):
        make_task("jsonl", tmp_path)
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(UserError, match=r"train.jsonl is empty"):
        make_task("jsonl", tmp_path)
    (tmp_path / "train.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"1 of 1 rows of .*train.jsonl cannot be used"):
        make_task("jsonl", tmp_path / "train.jsonl")
