"""`unmask view`."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def bench(run, sums: Path, denoiser: Path, tmp_path: Path) -> Path:
    command = ["bench", "--denoiser", denoiser, "--task", "jsonl", "--data", sums, "--samplers", "margin", "iid"]
    assert run(*command, "--budgets", 2, "--count", 3, "--out", tmp_path / "bench").code == 0
    return tmp_path / "bench"


def test_records_become_a_report_beside_them(run, bench: Path) -> None:
    code, out, err = run("view", bench)
    assert (code, out, err) == (0, f"{bench / 'report.html'}\n", "")
    page = (bench / "report.html").read_text()
    assert "Which position at which step" in page
    assert "What is 6 plus 1?" in page
    assert run("view", bench / "records.jsonl").out == out


def test_a_trace_becomes_a_page_where_it_is_asked_for(run, denoiser: Path, tmp_path: Path) -> None:
    trace, page = tmp_path / "trace.json", tmp_path / "pages" / "order.html"
    sample = ["sample", "--denoiser", denoiser, "--budget", 2, "--trace", trace, "What is 1 plus 2?"]
    assert run(*sample).code == 0
    found = json.loads(run("view", trace, "--out", page, "--json").out)
    assert found == {"html": str(page), "kind": "trace", "bytes": page.stat().st_size, "prompts": 1, "notes": []}
    assert run("view", trace).out == f"{tmp_path / 'trace.html'}\n"


def test_records_cut_in_their_last_line_are_shown_and_it_is_said(run, bench: Path) -> None:
    path = bench / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    code, _, err = run("view", bench)
    assert code == 0
    assert "is cut off and left out" in err.splitlines()[0]
    assert "cut off and left out" in (bench / "report.html").read_text()


def test_what_is_shown_is_not_overwritten(refused, bench: Path) -> None:
    records = bench / "records.jsonl"
    before = records.read_bytes()
    assert "would replace what it shows" in refused("view", records, "--out", records)
    assert "is a folder; name a file" in refused("view", records, "--out", bench)
    assert records.read_bytes() == before
