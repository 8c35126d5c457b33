"""The paper's experiment runs from beginning to end at toy scale, and goes on where it was."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "fox2026.py"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    spec = importlib.util.spec_from_file_location("fox2026", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(sampler, budget, mean, accuracy):
    return {
        "sampler": sampler, "budget": budget, "steps_mean": mean, "steps_min": 1, "steps_max": budget,
        "accuracy": accuracy, "low": 0.0, "high": 1.0, "versus": None,
    }  # fmt: skip


def test_ours_stands_beside_the_papers_row_at_the_same_steps(recipe):
    """Learned orders by their budget, heuristics by their steps; a sampler that was not run leaves a gap."""
    rows = [row("learned", 5, 9.9, 0.5), row("learned", 10, 4.1, 0.6), row("margin", 5, 5.0, 0.1)]
    rows += [row("margin", 9, 9.0, 0.2), row("margin", 12, 12.0, 0.3)]
    text = recipe.report(rows, "paper")
    table = [line for line in text.splitlines() if line.startswith(("| 5 ", "| 10 ", "| 15 "))]
    assert [line.split("|")[6].split()[:1] for line in table] == [
        ["50.0"], [], ["10.0"], [], ["60.0"], ["20.0"], [], ["30.0"],
    ]  # fmt: skip
    assert "show that it runs" not in text
    assert "show that it runs" in recipe.report(rows, "toy")


@pytest.mark.slow
def test_the_toy_scale_runs_to_its_report_and_a_second_start_does_nothing(tmp_path):
    command = [sys.executable, str(RECIPE), "--scale", "toy", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "The experiment of Fox et al." in done.stdout
    rows = json.loads((tmp_path / "bench" / "table.json").read_text())
    assert {found["budget"] for found in rows if found["learned"]} == {5, 10, 15}
    assert {found["n"] for found in rows} == {3}
    config = json.loads((tmp_path / "fit" / "denoiser" / "config.json").read_text())
    assert config["response_length"] == 40
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(before) >= 5
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == before
    assert again.stdout == done.stdout
