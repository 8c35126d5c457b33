"""Ctrl-C at any moment, and being told to end: one line, the exit code a shell expects, and only promises that hold."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unmask.cli.entry import Terminated, code, is_importing, stopped
from unmask.core.holding import hold

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


def start(*words: object) -> subprocess.Popen:
    """The command in a process, and a group, of its own."""
    command = [sys.executable, "-m", "unmask", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def end(process: subprocess.Popen, number: int) -> tuple[int, str]:
    """Send the signal to the group, as a terminal does; exit code and stderr."""
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.5])
def test_ctrl_c_while_it_starts_is_one_line(tmp_path: Path, after: float) -> None:
    process = start("exact", "--seconds", 60, "--families", "gate", "--out", tmp_path / "out")
    time.sleep(after)
    returned, err = end(process, signal.SIGINT)
    assert returned == 130, err
    assert err.splitlines()[-1].startswith("stopped")
    assert "Traceback" not in err
    hold(tmp_path / "out").close()  # whatever is left of it keeps nobody out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "words"), [(signal.SIGINT, "stopped; "), (signal.SIGTERM, "stopped by SIGTERM; ")])
def test_a_fit_that_is_ended_says_how_to_go_on_and_does(
    run, sums: Path, tmp_path: Path, number: int, words: str
) -> None:
    out = tmp_path / "out"
    command = ["fit", "--task", "jsonl", "--data", sums, "--preset", "tiny", "--threads", 1, "--checkpoint-every", 5,
               "--updates", 300, "--workers", 1, "--out", out]  # fmt: skip
    process = start(*command)
    wait_for(out / "checkpoint.safetensors", process)
    returned, err = end(process, number)
    assert returned == 128 + number, err
    assert f"{words}start it again with the same command, and it goes on from its last checkpoint" in err
    assert "Traceback" not in err
    assert not (out / ".unmask.lock").exists()
    assert not (out / "denoiser").exists(), "it had ended by itself"
    assert run(*command).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exact_that_is_stopped_promises_what_it_keeps(run, tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "out"
    command = ["exact", "--families", "gate", "--steps", 2, "--instances", 40, "--updates", 2, "--jobs", jobs]
    process = start(*command, "--out", out)
    while process.poll() is None and not (
        (out / "exact.jsonl").exists() and (out / "exact.jsonl").read_text().count("\n") > 2
    ):
        time.sleep(0.02)
    returned, err = end(process, signal.SIGINT)
    assert returned == 130, err
    assert f"goes on from the last cell in {out}" in err
    assert "Traceback" not in err
    kept = (out / "exact.jsonl").read_text().splitlines()[1:3]
    few = ["exact", "--families", "gate", "--steps", 2, "--instances", 2, "--updates", 2, "--out", out]
    assert run(*few).code == 0
    assert (out / "exact.jsonl").read_text().splitlines()[1:3] == kept


@pytest.mark.slow
def test_an_exact_without_a_folder_does_not_promise_to_go_on() -> None:
    process = start("exact", "--seconds", 60, "--families", "gate")
    time.sleep(6)
    returned, err = end(process, signal.SIGINT)
    assert returned == 130, err
    assert "same command" not in err


def test_what_a_shell_is_told(capsys) -> None:
    assert stopped(KeyboardInterrupt()) == 130
    assert stopped(Terminated(signal.SIGTERM), "start again") == 143
    assert code(Terminated(signal.SIGHUP)) == 129
    assert capsys.readouterr().err.splitlines() == ["stopped", "stopped by SIGTERM; start again"]


def test_an_import_is_known_from_what_is_going_on(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "looks_around.py").write_text(
        "import sys\nfrom unmask.cli.entry import is_importing\nseen = is_importing(sys._getframe())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import looks_around

    assert looks_around.seen
    assert not is_importing(sys._getframe())
