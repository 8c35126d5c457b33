"""Killed with SIGKILL at any moment and started again with the same command, a run ends bit-identical.

The killed process kills itself, so that the moment is exact: before the n-th rename of a finished file, at the n-th
update, or in the middle of the n-th line of the log. One test kills from outside, whenever that may be.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from unmask.core.digest import digest
from unmask.train.checkpoint import load_checkpoint

KILLED_AT = """
import os, signal, sys
from unmask.cli import main
from unmask.train import fit, learn, runs

what, when = sys.argv[1], int(sys.argv[2])
calls = 0

def counted(before, half=None):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == when:
            if half:
                half(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments, **named)
    return call

def half_a_line(log, entry):
    with open(log.path, "a") as file:
        file.write('{"update": 99, "lo')

if what == "rename":
    os.replace = counted(os.replace)
elif what == "update":
    fit.clip_gradient = learn.clip_gradient = counted(fit.clip_gradient)
elif what == "log":
    runs.RunLog.write = counted(runs.RunLog.write, half_a_line)
sys.exit(main(sys.argv[3:]))
"""

FIT_MOMENTS = [
    *(("rename", 1), ("rename", 2), ("rename", 4)),  # the run's marker, the first checkpoint, a later one
    *(("update", 1), ("update", 13), ("log", 2)),
]
LEARN_MOMENTS = [("rename", 1), ("rename", 3), ("update", 2), ("update", 9), ("log", 7)]


@pytest.fixture(scope="module")
def commands(sums: Path, denoiser: Path) -> dict[str, list[str]]:
    """Both commands without --out; each writes several checkpoints and validates on the way."""
    common = ["--task", "jsonl", "--data", str(sums), "--preset", "tiny", "--threads", "1", "--checkpoint-every", "5"]
    return {
        "fit": ["fit", *common, "--updates", "24", "--validate-every", "10"],
        "long fit": ["fit", *common, "--updates", "200"],
        "learn": ["learn", *common, "--denoiser", str(denoiser), "--validate-every", "6", "--rule-count", "3"],
    }


def results(out: Path) -> dict[str, object]:
    """Every file of a run by name, without what was left half-written.

    Bytes; but the checkpoint as tensors and meta, since its header lists entries in no fixed order.
    """
    found: dict[str, object] = {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".tmp" not in str(path)
    }
    tensors, meta = load_checkpoint(out / "checkpoint.safetensors")
    return found | {"checkpoint.safetensors": ({name: digest(value) for name, value in tensors.items()}, meta)}


@pytest.fixture(scope="module")
def undisturbed(commands: dict[str, list[str]], tmp_path_factory) -> dict[str, dict[str, object]]:
    """What each command leaves when nobody kills it."""
    from unmask.cli import main

    before = torch.get_num_threads()
    found = {}
    for verb, command in commands.items():
        out = tmp_path_factory.mktemp("undisturbed") / verb
        assert main([*command, "--out", str(out)]) == 0
        found[verb] = results(out)
    torch.set_num_threads(before)
    return found


def check(run, command: list[str], out: Path, expected: dict[str, object]) -> None:
    """Start the command again, and compare everything it leaves."""
    code, _, err = run(*command, "--out", out)
    assert code == 0, err
    found = results(out)
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert not list(out.glob(".*.tmp")), "what the killed run left half-written was not removed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "what", "when"),
    [*(("fit", *moment) for moment in FIT_MOMENTS), *(("learn", *moment) for moment in LEARN_MOMENTS)],
)
def test_killed_and_started_again_it_ends_bit_identical(
    run, commands, undisturbed, tmp_path: Path, verb: str, what: str, when: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED_AT, what, str(when), *commands[verb], "--out", str(out)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    check(run, commands[verb], out, undisturbed[verb])


def kill_after_a_checkpoint(command: list[str], out: Path) -> None:
    """Start a fit, and kill it from outside once it has written one."""
    words = [sys.executable, "-m", "unmask", *command, "--out", str(out)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (out / "checkpoint.safetensors").exists():
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    assert not (out / "denoiser").exists(), "it had finished before it was killed"


@pytest.mark.slow
def test_killed_from_outside_it_ends_bit_identical(run, commands, undisturbed, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kill_after_a_checkpoint(commands["long fit"], out)
    check(run, commands["long fit"], out, undisturbed["long fit"])


@pytest.mark.slow
def test_killed_while_others_make_its_batches_it_starts_again_at_once(run, commands, undisturbed, tmp_path) -> None:
    """They are its forks: they must not hold the folder as in use, nor outlive it."""
    out = tmp_path / "out"
    kill_after_a_checkpoint([*commands["long fit"], "--workers", "2"], out)
    check(run, commands["long fit"], out, undisturbed["long fit"])
    if sys.platform == "linux":
        assert not still_there(out), "what made its batches outlived it"


def still_there(out: Path) -> list[int]:
    """Processes that have `out` on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(out).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found
