"""benchmarks/decode_speed.py runs, and its plain loops write what `decode_canvas` writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("overhead", "flops", "loops", "memory", "start", "caches")


@pytest.mark.slow
def test_every_part_runs_and_says_with_what(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/decode_speed.py", "--quick", "--threads", "1", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([*command, "--parts", *PARTS], cwd=ROOT, env=environment, capture_output=True, check=True)
    parts = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["parts"]
    assert tuple(parts) == PARTS
    assert all(part["made_with"]["torch"] and part["settings"]["quick"] for part in parts.values())
    found = {name: part["found"] for name, part in parts.items()}
    assert found["flops"]["share"] <= 0.08
    assert all(loop["same_tokens_and_nfe_in_float64"] for loop in found["loops"].values())
    assert found["memory"]["ours_over_bare"] < 0.5
    assert found["memory"]["drawn_over_bare"] < 0.5
    assert found["caches"]["exact"]["same_text"] == 1
    assert all(case["ratio"]["median"] > 0 for case in found["overhead"].values())
    subprocess.run([*command, "--parts", "flops"], cwd=ROOT, env=environment, capture_output=True, check=True)
    again = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["parts"]
    assert tuple(again) == PARTS, "parts measured before are kept"
