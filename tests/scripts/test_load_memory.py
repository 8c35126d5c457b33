"""benchmarks/load_memory.py runs, and loading holds the weights about once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks come from /proc")
def test_loading_holds_the_weights_once(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/load_memory.py", "--quick", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    (case,) = record["cases"]
    assert record["bytes_on_disk"] == case["weight_bytes"] == 2 * case["parameters"]
    # 64 MiB of the file are mapped beside 0.4 GB of weights, and a few arenas of the allocator
    assert case["rise_over_weights"] < 1.35
    assert case["held_after"] > case["weight_bytes"]
