"""scripts/gpu.sh asks for flags that exist, and its jobs run, resume and leave records, on a CPU too."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from unmask.cli.common import parse
from unmask.cli.main import VERBS
from unmask.train.presets import fit_preset, learn_preset

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gpu.sh"
JOBS = ("check", "throughput", "fit-large", "learn-large", "bench")
OURS = {"PYTHON": sys.executable, "COMMIT": "0123abc"}


def gpu(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the script with `settings` in its environment."""
    ours = ("DATA", "UPDATES", "PRESET", "RUNS")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env=environment | OURS | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_script_is_bash() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["wordprob", "gsm8k", "mwp", "jsonl"])
@pytest.mark.parametrize("quick", ["", "1"])
@pytest.mark.parametrize("compiled", ["", "1"])
def test_every_command_it_would_run_parses(task: str, quick: str, compiled: str) -> None:
    done = gpu("all", task, DRY="1", QUICK=quick, COMPILE=compiled, DATA="some where" if task != "wordprob" else "")
    assert done.returncode == 0, done.stderr
    verbs = []
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        if words[1:3] == ["-m", "unmask"]:
            verb = words[3]
            command: Any = parse(VERBS[verb], verb, words[4:])
            verbs.append(verb)
            if verb in ("fit", "learn"):
                assert command.config().task == task
                assert command.config().precision == "bf16"
            assert command.data == ("some where" if task != "wordprob" else None)
        elif words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file()
    assert verbs == ["fit", "learn", "bench"]


def test_a_preset_takes_the_place_of_the_sizes() -> None:
    jobs = {"fit-large": fit_preset("shallow").updates, "learn-large": learn_preset("shallow").updates}
    for job, updates in jobs.items():
        for given, expected in (("", updates), ("9", 9)):
            done = gpu(job, DRY="1", PRESET="shallow", UPDATES=given)
            words = shlex.split(done.stdout.splitlines()[0])
            command: Any = parse(VERBS[words[3]], words[3], words[4:])
            assert command.preset == "shallow"
            assert command.config().updates == expected


def test_the_table_at_the_top_names_every_job_and_a_wrong_name_shows_it() -> None:
    done = gpu("bnech")
    assert done.returncode == 2
    assert "unknown job `bnech`" in done.stderr
    assert all(f"  {job} " in done.stderr for job in JOBS)
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert all(f"| `{job}" in page for job in JOBS)


def python(*arguments: str) -> str:
    """A script of benchmarks/, on the package as it stands here."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, *arguments]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_throughput_measures_every_kind_and_says_with_what() -> None:
    found = json.loads(python("benchmarks/throughput.py", "--quick", "--device", "cpu", "--threads", "1"))
    assert {case["kind"] for case in found["cases"]} == {"fit", "bound", "policy"}
    assert {case["dtype"] for case in found["cases"]} == {"bfloat16", "float32"}
    assert all(case["per_second"] > 0 and case["updates"] > 1 for case in found["cases"])
    assert found["torch"] == torch.__version__
    assert found["data"]["examples_per_second"] > 0


def agreement(device: str, out: Path) -> None:
    python("benchmarks/agreement.py", "--device", device, "--out", str(out))  # a failed check is exit code 1
    found = read(out)
    assert found["ok"]
    assert {"draws", "logits bfloat16", "rows float64", "update policy"} <= {item["name"] for item in found["checks"]}


@pytest.mark.slow
def test_a_cpu_agrees_with_itself_and_its_rows_are_independent(tmp_path: Path) -> None:
    agreement("cpu", tmp_path / "agreement.json")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_agrees_with_the_cpu_and_its_rows_are_independent(tmp_path: Path) -> None:
    agreement("cuda", tmp_path / "agreement.json")


@pytest.mark.slow
def test_jobs_stop_at_their_limit_go_on_and_leave_records(tmp_path: Path) -> None:
    """fit-large out of time, then finished; learn-large and bench on what it made."""
    settings = {"QUICK": "1", "DEVICE": "cpu", "RUNS": str(tmp_path)}
    stopped = gpu("fit-large", LIMIT="4", UPDATES="100000", **settings)
    assert stopped.returncode == 124, stopped.stderr
    assert "the same command goes on" in stopped.stderr
    assert not read(tmp_path / "fit-large-wordprob" / "record.json")["finished"]
    for job in ("fit-large", "learn-large", "bench"):
        done = gpu(job, **settings, **({"UPDATES": "300"} if job == "fit-large" else {}))
        assert done.returncode == 0, done.stderr + done.stdout
        record = read(tmp_path / f"{job}-wordprob" / "record.json")
        assert record["finished"]
        assert record["device"] == "cpu"
        assert record["commit"]
        assert record["numbers"]
    starts = read(tmp_path / "fit-large-wordprob" / "record.json")["starts"]
    assert [start["status"] for start in starts] == [124, 0]
    assert read(tmp_path / "bench-wordprob" / "table.json")
