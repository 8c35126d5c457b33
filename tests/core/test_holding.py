import shutil
import subprocess
import sys

import pytest

from unmask.core.errors import UserError
from unmask.core.holding import LOCK, hold, holding

START = """
import sys, time
from pathlib import Path
from unmask.core.errors import UserError
from unmask.core.holding import hold

out = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with hold(out) as held:
        print("in", flush=True)
        time.sleep(1)
        held.check()
except UserError as error:
    print(error)
"""


def test_a_folder_is_held_until_it_is_let_go_and_nothing_is_left(tmp_path):
    out = tmp_path / "up" / "run"
    with hold(out) as held:
        held.check()
        with pytest.raises(UserError, match="run is in use by another process; wait for it or choose another folder"):
            hold(out)
    hold(out).close()
    assert not out.exists(), "nothing came of it"
    out.mkdir()
    hold(out).close()
    assert list(out.iterdir()) == []
    with hold(tmp_path / "filled"):
        (tmp_path / "filled" / "file").write_text("kept")
    assert [each.name for each in (tmp_path / "filled").iterdir()] == ["file"]


def test_a_folder_that_the_caller_holds_stays_held(tmp_path):
    with hold(tmp_path) as held:
        with holding(tmp_path, held) as again:
            assert again is held
        with pytest.raises(UserError, match="in use"), holding(tmp_path):
            pass
    with holding(tmp_path) as own, pytest.raises(UserError, match="in use"):
        hold(own.folder)


@pytest.mark.slow
def test_of_many_that_start_at_once_one_gets_in(tmp_path):
    """Six of them, three times over: on a folder that is not there, and on one that the last left."""
    for _ in range(3):
        command = [sys.executable, "-c", START, str(tmp_path / "run")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started = [subprocess.Popen(command, **pipes) for _ in range(6)]
        for process in started:
            assert process.stdout.readline() == "ready\n"
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate()[0] for process in started]
        assert sum(each == "in\n" for each in told) == 1, told
        assert sum("is in use by another process" in each for each in told) == 5, told


def test_one_that_was_killed_holds_nothing(tmp_path):
    (tmp_path / LOCK).write_text("")
    hold(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_away_is_noticed(tmp_path):
    out = tmp_path / "run"
    for again in (False, True):
        with hold(out) as held:
            shutil.rmtree(out)
            if again:
                hold(out).close()
            with pytest.raises(UserError, match=r"run was removed or replaced while the run went on"):
                held.check()


def test_a_lock_let_go_by_a_fork_is_still_held(tmp_path):
    with hold(tmp_path / "run") as held:
        again = type(held)(held.folder, open(tmp_path / "run" / LOCK))  # noqa: SIM115
        again.let_go()
        held.check()
        with pytest.raises(UserError, match="in use"):
            hold(tmp_path / "run")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file is a file; choose a folder"):
        hold(tmp_path / "file")
    with pytest.raises(UserError, match="could not write"):
        hold(tmp_path / "file" / "inside")
