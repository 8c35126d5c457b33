"""What `unmask bench` shows beyond its rows, and whether its records come out again."""

import json
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.core.holding import hold


@pytest.fixture
def bench(run, sums: Path, denoiser: Path, tmp_path: Path):
    """`bench("--budgets", 2, ...)`: into tmp_path/out, three problems."""
    out = tmp_path / "out"

    def command(*words: object, out: Path = out):
        task = ("--task", "jsonl", "--data", sums, "--count", 3)
        return run("bench", "--denoiser", denoiser, *task, "--out", out, *words)

    return command


@pytest.mark.slow
def test_sweeps_seeds_and_a_reference_are_shown(bench, tmp_path: Path) -> None:
    sweeps = ("--sweep", "threshold.level=0.1,0.2", "--sweep", "margin.block=4:8:4")
    code, out, err = bench("--samplers", "iid", "--budgets", 2, *sweeps, "--seeds", 0, 1, "--against", "iid")
    assert code == 0, err
    assert "iid ahead by" in out
    assert "area under accuracy against parallelism (AUP)" in out
    assert "over seeds; tests are of seed 0" in out
    assert "nothing is tested" not in err
    assert "nothing is tested" in bench("--samplers", "iid", "margin@5", "--budgets", 2, "--against", "margin").err
    assert bench("--samplers", "iid", "--budgets", 2, *sweeps, "--seeds", 0, 1, "--against", "iid").out == out
    names = {row["sampler"] for row in json.loads((tmp_path / "out" / "table.json").read_text())}
    assert names == {"iid", "threshold:level=0.1", "threshold:level=0.2", "margin:block=4", "margin:block=8"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {row["family"]: row["points"] for row in summary["families"]} == {"iid": 1, "threshold": 2, "margin": 2}


def test_records_say_where_they_came_from_and_come_out_again(bench, run, denoiser: Path, sums: Path, tmp_path) -> None:
    assert bench("--samplers", "iid", "--budgets", 2).code == 0
    path = tmp_path / "out" / "records.jsonl"
    header = json.loads(path.read_text().splitlines()[0])
    assert set(header) >= {"config", "package", "commit", "torch", "device", "threads", "dtype", "data", "denoiser"}
    asked = {"denoiser": str(denoiser), "data": str(sums), "orders": [], "tune": False, "compile": False}
    assert header["asked"] == asked
    code, out, err = run("bench", "--verify", tmp_path / "out")
    assert (code, [line[:4] for line in out.splitlines()]) == (0, ["same"] * 3)
    assert "3 of 3 records come out again" in err
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], json.dumps(json.loads(lines[3]) | {"steps": 9})]) + "\n")
    code, out, err = run("bench", "--verify", tmp_path / "out", "--json")
    assert code == 1
    assert sorted(entry["same"] for entry in json.loads(out)) == [False, True, True]
    assert "2 of 3 records come out again" in err


@pytest.mark.slow
def test_retention_is_measured_by_what_validation_says(bench, run, tmp_path: Path) -> None:
    words = ("--samplers", "margin", "--budgets", 2)
    assert bench(*words, "--split", "validation", "--one-per-step", "iid", out=tmp_path / "validation").code == 0
    code, _, err = bench(*words, "--retention-from", tmp_path / "validation")
    assert code == 0, err
    rows = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [row["sampler"] for row in rows] == ["margin", "iid"], "the scale is run too"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["retention_of"] == "iid"
    tuned = ("--one-per-step", "iid", "--tune", "--tune-count", 2)
    assert bench(*words, *tuned, out=tmp_path / "tuned").code == 0
    assert (tmp_path / "tuned" / "one-per-step.json").is_file()


@pytest.mark.slow
def test_a_bench_holds_its_folder_from_the_first_problem_to_the_last(bench, tmp_path: Path, monkeypatch) -> None:
    """Of two that tuned in turns, one was refused only when the other measured."""
    from unmask.evaluate import bench as measuring
    from unmask.evaluate import slow, tune

    out, seen = tmp_path / "out", []

    def watched(name, before):
        def call(*arguments, **options):
            with pytest.raises(UserError, match="out is in use by another process"):
                hold(out)
            seen.append(name)
            return before(*arguments, **options)

        return call

    for module, name in ((slow, "_measure"), (tune, "bench_samplers"), (measuring, "open_records")):
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    words = ("--samplers", "margin", "--budgets", 2, "--tune", "--tune-count", 2, "--one-per-step", "top-prob")
    code, _, err = bench(*words)
    assert code == 0, err
    assert seen == ["_measure", "bench_samplers", "open_records"]
    with hold(out):
        code, stdout, err = bench(*words)
        assert (code, stdout, err) == (
            2, "", f"error: {out} is in use by another process; wait for it or choose another folder\n"
        )  # fmt: skip


def test_a_bench_that_is_refused_leaves_no_empty_folder(bench, tmp_path: Path) -> None:
    assert bench("--samplers", "margin", "--budgets", 2, "--against", "margn").code == 2
    assert not (tmp_path / "out").exists()
