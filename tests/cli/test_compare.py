"""`unmask compare`, also as `unmask bench compare`."""

import json
from pathlib import Path

import pytest

HEADER = {
    "format": "unmask-records",
    "version": 1,
    "config": {"task": "wordprob", "split": "test", "response_length": 12, "temperature": 0.0},
    "denoiser": "d1",
    "data": "c1",
}


def record(number: int, correct: bool) -> dict[str, object]:
    return {
        **{"sampler": "margin", "budget": 4, "seed": 0, "id": f"e/{number}", "prompt": "p", "text": "t"},
        **{"answer": "1", "correct": correct, "steps": 4, "nfe": 4, "written": 12, "content": 6, "seconds": 0.5},
    }


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Of eight, A alone gets one right and B alone five."""
    for name, right in (("a", "11000000"), ("b", "10111110")):
        lines = [HEADER, *(record(number, mark == "1") for number, mark in enumerate(right))]
        (tmp_path / name).mkdir()
        (tmp_path / name / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "a", tmp_path / "b"


def test_the_table_and_the_json_say_the_same(run, runs: tuple[Path, Path]) -> None:
    code, out, err = run("compare", *runs)
    assert (code, err) == (0, "")
    assert "+50.0 [" in out
    assert "0.22" in out
    assert run("bench", "compare", *runs).out == out
    found = json.loads(run("compare", *runs, "--json").out)
    (row,) = found["rows"]
    assert (row["first"], row["second"], row["only_first"], row["only_second"]) == (0.25, 0.75, 1, 5)
    assert row["p"] == 14 / 64


def test_what_cannot_be_compared_is_one_sentence(refused, runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert "there is no" in refused("compare", runs[0], tmp_path / "nowhere")
    assert "missing B" in refused("compare", runs[0])
    assert "has no flag `--jsn`. Did you mean `--json`?" in refused("compare", *runs, "--jsn")
    path = runs[1] / "records.jsonl"
    path.write_text(path.read_text().replace('"version": 1', '"version": 3'))
    assert "is of version 3, this unmask reads versions 1 and 2" in refused("bench", "compare", *runs)


def test_a_file_that_was_cut_is_used_as_far_as_it_goes(run, runs: tuple[Path, Path]) -> None:
    path = runs[1] / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    code, out, err = run("compare", *runs)
    assert code == 0
    assert "│ 7 │" in out.replace("  ", " ")
    assert err.splitlines() == [
        f"note: {path} ends in the middle of a line",
        f"note: examples only in {runs[0] / 'records.jsonl'}, left out: 1",
    ]
