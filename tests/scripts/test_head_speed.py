"""benchmarks/head_speed.py and benchmarks/row_independence.py run, and keep what they are made with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def record_of(out: Path, script: str, *words: object) -> dict:
    command = [sys.executable, f"benchmarks/{script}", *map(str, words), "--threads", "1", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    return json.loads((out / "record.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_head_is_measured_with_the_same_tokens_in_every_case(tmp_path: Path) -> None:
    small = ("--repeats", 1, "--rows", 2, "--length", 32, "--budget", 4, "--vocabularies", 50, 90, "--published", 70)
    parts = record_of(tmp_path, "head_speed.py", *small)["parts"]
    cells = parts["positions"]["cells"]
    assert {cell["vocabulary"] for cell in cells} == {50, 90}
    assert all(cell["same_tokens"] for cell in cells)
    assert all(cell["over_everywhere"]["median"] > 0 for cell in cells)
    assert any("over_published" in cell for cell in cells)
    assert [cell["rows"] for cell in parts["vocabularies"]["cells"]] == [1, 2]
    assert parts["positions"]["settings"]["seed"] == 0


@pytest.mark.slow
def test_exact_texts_are_the_same_in_a_batch_in_bfloat16(tmp_path: Path) -> None:
    words = ("--problems", 6, "--budgets", 2, "--samplers", "top-prob", "--dtype", "bfloat16")
    words += ("--exact", "false", "true")
    plain, exact = record_of(tmp_path, "row_independence.py", *words)["cells"]
    assert not plain["exact"]
    assert plain["same_log_prob"] < 1
    assert exact["exact"]
    assert exact["identical"] == exact["same_log_prob"] == 1
