"""From nothing to a table by the commands alone, and once more through the demo, at a size of seconds."""

import json
from pathlib import Path

import pytest

from unmask.denoisers.hub import BUNDLED

ROW = {
    *("sampler", "budget", "steps_mean", "steps_min", "steps_max", "nfe", "tpf"),
    *("accuracy", "low", "high", "n"),
}


@pytest.mark.slow
def test_fit_learn_sample_bench(run, sums: Path, tmp_path: Path) -> None:
    task = ["--task", "jsonl", "--data", sums]
    fitted, learned, table = tmp_path / "fitted", tmp_path / "learned", tmp_path / "table"

    code, out, err = run("fit", *task, "--preset", "tiny", "--updates", 30, "--out", fitted)
    assert (code, out) == (0, f"{fitted / 'denoiser'}\n")
    assert "validation: accuracy" in err
    losses = [json.loads(line)["loss"] for line in (fitted / "log.jsonl").read_text().splitlines() if '"norm"' in line]
    assert losses[-1] < losses[0]

    code, out, _ = run("learn", "--denoiser", fitted, *task, "--preset", "tiny", "--rule-count", 4, "--out", learned)
    assert (code, out) == (0, f"{learned / 'order'}\n")

    assert run("sample", "--denoiser", fitted, "--order", learned, "--budget", 2, "What is 1 plus 1?").code == 0

    bench = ["bench", "--denoiser", fitted, *task, "--orders", learned, "--budgets", 2, "--samplers", "margin"]
    bench += ["--count", 6, "--out", table, "--one-per-step", "learned"]
    code, out, _ = run(*bench)
    assert code == 0
    assert "learned:one-per-step" in out
    rows = json.loads((table / "table.json").read_text())
    assert {"learned", "margin", "learned:one-per-step"} == {row["sampler"] for row in rows}
    assert all(set(row) >= ROW for row in rows)

    records = (table / "records.jsonl").read_bytes()
    assert json.loads(run(*bench, "--json").out) == rows
    assert (table / "records.jsonl").read_bytes() == records, "a second start measured something again"


def test_tuning_runs_and_names_the_best_settings(run, sums: Path, denoiser: Path, tmp_path: Path) -> None:
    command = ["bench", "--denoiser", denoiser, "--task", "jsonl", "--data", sums, "--budgets", 2, "--count", 4]
    command += ["--samplers", "margin", "--tune", "--tune-count", 2, "--out", tmp_path]
    assert run(*command).code == 0
    assert (tmp_path / "tuning.json").is_file()
    (row,) = json.loads((tmp_path / "table.json").read_text())
    assert row["sampler"].startswith("margin")


@pytest.mark.slow
def test_the_demo_leaves_its_table_and_report_and_goes_on_where_it_was(run, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert run("fit", "--task", "wordprob", "--preset", "tiny", "--updates", 3, "--out", tmp_path / "fit").code == 0
    demo = ["demo", "--denoiser", tmp_path / "fit", "--preset", "tiny", "--count", 4, "--out", out]
    code, table, err = run(*demo)
    assert code == 0, err
    assert "learned:one-per-step" in table
    rows = json.loads((out / "table.json").read_text())
    found = {(row["sampler"], row["budget"]) for row in rows}
    heuristics = {"iid", "left-to-right", "top-prob", "margin", "threshold:level=0.9"}
    assert found >= {(name, budget) for name in (*heuristics, "learned") for budget in (2, 4)}
    assert sum(row["steps_mean"] > 8 for row in rows) == 3, "one-per-step for top-prob, left-to-right and learned"
    assert all(set(row) >= ROW and row["n"] == 4 for row in rows)
    report = (out / "report.md").read_text()
    assert "step 1, " in report
    assert "| learned | 4 |" in report
    assert str(out / "report.html") in err
    page = (out / "report.html").read_text()
    assert 'id="player"' in page
    assert "Which position at which step" in page

    before = (out / "records.jsonl").read_bytes()
    again = run(*demo)
    assert again.code == 0
    assert "taking the order learned by an earlier start" in again.err
    assert again.out == table
    assert (out / "records.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(not BUNDLED["wordprob"].is_dir(), reason="the bundled denoiser is not here yet")
def test_the_bundled_denoiser_answers(run) -> None:
    prompt = "Ana has 3 pens and buys 4 more. How many pens does she have now?"
    found = json.loads(run("sample", "--denoiser", "wordprob", "--budget", 56, "--json", prompt).out)
    assert "####" in found["text"]
