"""What every task of TASKS promises, on small files in the real formats."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.tasks import TASKS, Task, checksum, make_task
from unmask.tasks.base import rough_length

COUNT = 60  # examples looked at per split


def mwp_folder(folder: Path) -> Path:
    header = "Question,Numbers,Equation,Answer,group_nums,Body,Ques\n"
    rows = [
        f'"Ann had number0 cats , and class {i} got number1 . How many ?",{i}.0 {i + 1}.0,+ number0 number1,'
        f'{2 * i + 1}.0,"[1, 2]",body,ques\n'
        for i in range(60)
    ]
    (folder / "train.csv").write_text(header + "".join(rows))
    (folder / "svamp_test.csv").write_text(header + "".join(rows[:7]))
    return folder


def gsm8k_folder(folder: Path) -> Path:
    def line(i: int) -> str:
        return json.dumps(
            {
                "question": f"A box holds {i} eggs. How many eggs do {i} boxes hold?",
                "answer": f"They hold {i}*{i} = <<{i}*{i}={i * i}>>{i * i} eggs.\n#### {i * i:,}",
            }
        )

    (folder / "train.jsonl").write_text("".join(line(i) + "\n" for i in range(60)))
    (folder / "test.jsonl").write_text("".join(line(i) + "\n" for i in range(60, 70)))
    return folder


def jsonl_file(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    rows = [{"prompt": f"double {i}", "response": f"<<{i}*2={2 * i}>> #### {2 * i}"} for i in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


DATA: dict[str, Callable[[Path], Path | None]] = {
    "wordprob": lambda folder: None,
    "wordprob-plain": lambda folder: None,
    "wordprob-one-step": lambda folder: None,
    "arithmetic": lambda folder: None,
    "gsm8k": gsm8k_folder,
    "mwp": mwp_folder,
    "jsonl": jsonl_file,
}


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest, tmp_path: Path) -> Task:
    return make_task(request.param, DATA[request.param](tmp_path))


def test_every_task_has_data_for_this_test() -> None:
    assert DATA.keys() == TASKS.keys()


def test_name_is_the_one_in_the_registry(task: Task) -> None:
    assert task.name in TASKS
    assert {"train", "validation", "test"} <= set(task.splits)


def test_own_responses_are_correct_and_others_are_not(task: Task) -> None:
    for split in task.splits:
        for example in task.examples(split)[:COUNT]:
            assert task.extract(example.response) == example.answer
            assert task.correct(example.response, example)
            assert task.correct(f"<<1+1=2>> #### {example.answer}", example)
            assert not task.correct(f"#### {float(example.answer) + 1}", example)
            assert not task.correct("", example)


@pytest.mark.slow
def test_same_data_same_examples(task: Task, tmp_path: Path) -> None:
    again = make_task(task.name, DATA[task.name](tmp_path))
    assert again.response_length == task.response_length
    for split in task.splits:
        assert list(again.examples(split)[:COUNT]) == list(task.examples(split)[:COUNT])
        assert checksum(again, split) == checksum(task, split)


@pytest.mark.slow
def test_checksum_tells_splits_apart(task: Task) -> None:
    sums = [checksum(task, split) for split in task.splits]
    assert len(set(sums)) == len(sums)
    assert all(len(text) == 12 for text in sums)


def test_ids_are_unique_across_splits(task: Task) -> None:
    ids = [example.id for split in task.splits for example in task.examples(split)[:COUNT]]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith(f"{task.name}/") for name in ids)


def test_random_access_equals_iteration(task: Task) -> None:
    for split in task.splits:
        rows = task.examples(split)
        assert len(rows) > 0
        in_order = [example for _, example in zip(range(20), rows, strict=False)]
        for index in reversed(range(len(in_order))):
            assert rows[index] == in_order[index]


def test_splits_share_no_prompt(task: Task) -> None:
    prompts = [{example.prompt for example in task.examples(split)[:COUNT]} for split in task.splits]
    if task.name != "mwp":  # its test rows are copies of train rows here
        assert sum(map(len, prompts)) == len(set().union(*prompts))


def test_training_responses_fit_the_canvas(task: Task) -> None:
    for example in task.examples("train")[:COUNT]:
        assert rough_length(example.response) <= task.response_length


def test_unknown_split_names_the_choices(task: Task) -> None:
    with pytest.raises(UserError, match=f"unknown split of {task.name} `trian`.*Did you mean `train`"):
        task.examples("trian")


def test_unknown_task_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown task `wordprobs`.*`wordprob`.*unmask list tasks"):
        make_task("wordprobs")
