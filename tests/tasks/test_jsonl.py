"""A user's own lines, worked by hand, and what goes wrong with them."""

import csv
import json
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.tasks import make_task
from unmask.tasks.jsonl import LONGEST, SPLITS, final_answer, parse_line


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number: int) -> dict[str, object]:
    return {"prompt": f"double {number}", "response": f"#### {2 * number}"}


def chat(*roles: str) -> str:
    return json.dumps({"messages": [{"role": role, "content": "x"} for role in roles]})


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
        ('{"response": "x", "id": 3}', "its fields are `response`, `id`; wanted are `prompt` and `response`,"),
        ("{}", "its fields are none; wanted are"),
        ('{"prompt": 3, "response": "y"}', "`prompt` is not a text"),
        ('{"prompt": "x", "response": "y", "answer": NaN}', "NaN is no JSON"),
        ('{"prompt": "x", "response": "y", "answer": -Infinity}', "-Infinity is no JSON"),
        ('{"prompt": "x\\udce9", "response": "y"}', "`prompt` holds half a character"),
        ("[1]", "not a JSON object but a list"),
        ("9" * 5000, "limit"),
        ('{"messages": "hi"}', "`messages` is not a list of objects"),
        ('{"messages": []}', "`messages` must be one question and its answer, got none"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "one question and its answer, got user"),
        (chat("user", "assistant") + "x", "Extra data"),
        (chat("user", "assistant", "user", "assistant"), "user, assistant, user, assistant; make a row of its own for"),
        (chat(*["user"] * 9), "got user, user, user, user, user, user, ...; make a row"),
        (chat("user", "tool"), "got user, tool$"),
        ('{"messages": [{"role": "user"}, {"role": "assistant", "content": "y"}]}', "has a turn without a text"),
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


@pytest.mark.parametrize(
    ("record", "prompt", "response"),
    [
        ({"question": "q", "answer": "<<1+1=2>> #### 2"}, "q", "<<1+1=2>> #### 2"),
        ({"prompt": "q", "completion": " 2"}, "q", " 2"),
        ({"instruction": "Add.", "input": "1 and 1", "output": "2"}, "Add.\n\n1 and 1", "2"),
        ({"instruction": "Add 1 and 1.", "input": "", "output": "2"}, "Add 1 and 1.", "2"),
        ({"instruction": "Add 1 and 1.", "output": "2", "id": 7}, "Add 1 and 1.", "2"),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "2"}]}, "q", "2"),
        (
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"},
                          {"role": "assistant", "content": "2"}]},
            "Be brief.\n\nq", "2",
        ),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "2"}]}, "q", "2"),
        ({"prompt": "p", "response": "1", "question": "q", "answer": 1}, "p", "1"),
    ],
)  # fmt: skip
def test_rows_written_for_other_tools_are_read(record, prompt, response) -> None:
    example = parse_line("x", json.dumps(record))
    assert (example.prompt, example.response) == (prompt, response)


def test_lines_a_list_and_a_table_are_the_same_rows(tmp_path: Path) -> None:
    rows = [{"prompt": f'say "{n}", twice\nover é', "response": f"#### {n}"} for n in range(30)]
    lines = write(tmp_path / "rows.jsonl", rows)
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=1))
    with open(tmp_path / "rows.csv", "w", encoding="utf-16", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "response"])
        writer.writeheader()
        writer.writerows(rows)
    found = [
        [(each.prompt, each.response) for each in make_task("jsonl", path).examples("train")]
        for path in (lines, tmp_path / "rows.json", tmp_path / "rows.csv")
    ]
    assert found[0] == found[1] == found[2]
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "rows.csv").rename(folder / "train.csv")
    (tmp_path / "rows.json").rename(folder / "test.json")
    task = make_task("jsonl", folder)
    assert len(task.examples("train")) == len(task.examples("test")) == 30
    (folder / "test.jsonl").write_text("")
    with pytest.raises(UserError, match=r"both test\.jsonl and test\.json; leave one"):
        make_task("jsonl", folder)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[1, 2]", r"a\.json:1: not a JSON object but a number"),
        ("a.json", '[{"prompt": ', r"begins as a JSON list, and is none"),
        ("a.json", "[" * 100_000, r"begins as a JSON list, and is none"),
        ("a.csv", "Question,Reply\na,b\n", r"a\.csv:2: its fields are `Question`, `Reply`; wanted are"),
        ("a.csv", "prompt,response\n", "has no rows"),
        ("a.csv", 'prompt,response\na,"' + "x" * 200_000, "not readable as CSV"),
        ("a.jsonl", '{"prompt": "p", "response": "1"}\n\n3\n', r"a\.jsonl:3: not a JSON object but a number"),
    ],
)
def test_files_that_hold_something_else_are_named_with_the_row(tmp_path: Path, name, text, said) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        make_task("jsonl", tmp_path / name)


@pytest.mark.parametrize(("name", "sign"), [("a.csv", ";"), ("a.CSV", ","), ("a.tsv", "\t"), ("a.csv", "\t")])
def test_what_parts_the_columns_of_a_table_is_seen(tmp_path: Path, name: str, sign: str) -> None:
    lines = [sign.join(("prompt", "response")), *(sign.join((f'"{n}, half; or\t2"', f"#### {n}")) for n in range(9))]
    (tmp_path / name).write_text("\n".join(lines))
    rows = [row for split in SPLITS if split in (task := make_task("jsonl", tmp_path / name)).splits
            for row in task.examples(split)]  # fmt: skip
    assert {row.prompt for row in rows} == {f"{n}, half; or\t2" for n in range(9)}


@pytest.mark.parametrize("value", [{"data": [row(1)]}, row(1), {"prompt": ["a", "b"], "response": ["1", "2"]}])
def test_one_object_over_many_lines_is_named_with_its_fields(tmp_path: Path, value: dict[str, object]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value, indent=2))
    names = ", ".join(f"`{name}`" for name in value)
    with pytest.raises(UserError, match=f"a single JSON object with the fields {names}; write one object per line"):
        make_task("jsonl", tmp_path / "a.json")


def test_one_object_on_one_line_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(row(1)))
    assert len(make_task("jsonl", tmp_path / "a.json").rows) == 3  # type: ignore[attr-defined]


def test_bad_line_is_skipped_and_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(i) for i in range(40)])
    path.write_text("\n{}\n" + path.read_text())
    with pytest.warns(UserWarning, match=r"skipped 1 of 41 rows; the first is .*rows.jsonl:2: its fields are none"):
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
