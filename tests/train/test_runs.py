import json
import subprocess
import sys

import pytest

from unmask.core.errors import UserError
from unmask.train import line
from unmask.train.runs import RunLog, open_run

IDENTITY = {"seed": 0, "rate": 0.1, "budgets": (2, 4), "init": None}


def dead():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- whose folder it is


def claim(out, kind="fit", identity=IDENTITY, overwrite=False):
    open_run(out, kind, identity, overwrite).close()


def test_a_new_folder_is_claimed_and_recognised_again(tmp_path):
    out = tmp_path / "up" / "run"
    claim(out)
    assert names(out) == ["run.json"]
    (out / "log.jsonl").write_text("kept")
    claim(out)
    assert names(out) == ["log.jsonl", "run.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_is_going_on_elsewhere_is_left_alone(tmp_path, overwrite):
    out = tmp_path / "run"
    with open_run(out, "fit", IDENTITY, overwrite=False):
        (out / f".log.jsonl.{dead()}.tmp").write_text("not swept before the folder is ours")
        before = names(out)
        with pytest.raises(UserError, match=r"run is in use by another process"):
            open_run(out, "fit", IDENTITY, overwrite)
        assert names(out) == before
    claim(out, overwrite=overwrite)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("fit", {"rate": 0.2}, r"another run \(rate 0\.1 there, 0\.2 here\).* --overwrite"),
        ("fit", {"budgets": (2,), "seed": 1}, r"budgets \[2, 4\] there, \[2\] here, seed 0 there, 1 here"),
        ("fit", {"more": 1}, r"more None there, 1 here"),
        ("learn", {}, r"kind 'fit' there, 'learn' here"),
    ],
)
def test_the_folder_of_another_run_is_refused_with_the_differences(tmp_path, kind, change, message):
    claim(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        open_run(tmp_path / "run", kind, IDENTITY | change, overwrite=False)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["rate"] == 0.1
    assert names(tmp_path / "run") == ["run.json"]


def test_overwrite_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    out = tmp_path / "run"
    claim(out)
    wrote = (
        "checkpoint.safetensors", "log.jsonl", "texts.jsonl", "denoiser/model.safetensors", "denoiser/codec.json",
        "order/config.json", "adapter/adapter_config.json", "lessons/shard-00003.safetensors",
    )  # fmt: skip
    others = ("thesis.tex", "order/notes.md", "photos/one.png", "lessons/words.txt")
    for name in (*wrote, *others):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("x")
    claim(out, "learn", {"seed": 5}, overwrite=True)
    assert sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file()) == sorted(
        ("run.json", *others)
    )
    assert names(out) == ["lessons", "order", "photos", "run.json", "thesis.tex"]
    found = json.loads((out / "run.json").read_text())
    assert found == {"format": "unmask-run", "version": 1, "kind": "learn", "seed": 5}


def test_overwrite_follows_no_link_out_of_the_folder(tmp_path):
    out = tmp_path / "run"
    claim(out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("mine")
    (out / "order").symlink_to(tmp_path / "mine")
    (out / "log.jsonl").symlink_to(tmp_path / "mine" / "config.json")
    claim(out, overwrite=True)
    assert (tmp_path / "mine" / "config.json").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("marker", ['{"name": "mine"}', '{"format": "theirs"}', '{"kind": "fit"}', '{"ki', ""])
def test_a_run_json_of_something_else_is_spared_with_all_around_it(tmp_path, marker, overwrite):
    (tmp_path / "run.json").write_text(marker)
    for name in ("thesis.tex", "log.jsonl", "checkpoint.safetensors"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=r"run\.json is (not one that this version of unmask wrote|damaged)"):
        open_run(tmp_path, "fit", IDENTITY, overwrite)
    assert names(tmp_path) == ["checkpoint.safetensors", "log.jsonl", "run.json", "thesis.tex"]
    assert (tmp_path / "run.json").read_text() == marker
    assert (tmp_path / "log.jsonl").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_files_of_others_is_refused_and_spared(tmp_path, overwrite):
    for name in ("thesis.tex", ".swap.123.tmp", ".mine.tmp"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=r"holds .*no run of unmask.*choose another folder"):
        open_run(tmp_path, "fit", IDENTITY, overwrite)
    assert names(tmp_path) == [".mine.tmp", ".swap.123.tmp", "thesis.tex"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_place_of_the_folder_is_refused_and_spared(tmp_path, overwrite):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file is a file; choose a folder"):
        open_run(tmp_path / "file", "fit", IDENTITY, overwrite)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_will_do_and_overwrite_needs_none(tmp_path):
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "empty")
    claim(tmp_path / "none", overwrite=True)


def test_what_a_killed_run_left_half_written_is_swept_away(tmp_path):
    out, gone = tmp_path / "run", dead()
    claim(out)
    for left in (f".checkpoint.safetensors.{gone}.0a1b2c3d.tmp", f".denoiser.{gone}.tmp", f".denoiser.{gone}.old"):
        (out / left).mkdir()
        (out / left / ".tmpAb12").write_text("half")
    (out / "denoiser").mkdir()
    (out / "lessons").mkdir()
    (out / "lessons" / f".shard-00001.safetensors.{gone}.0a1b2c3d.tmp").mkdir()
    (out / ".notes.tmp").write_text("not one of ours")
    (out / f".thesis.tex.{gone}.tmp").write_text("not one of ours")
    claim(out)
    assert names(out) == [".notes.tmp", f".thesis.tex.{gone}.tmp", "denoiser", "lessons", "run.json"]
    assert names(out / "lessons") == []


def test_a_run_killed_while_it_claimed_its_folder_can_start_again(tmp_path):
    (tmp_path / f".run.json.{dead()}.tmp").write_text('{"ki')
    (tmp_path / ".unmask.lock").write_text("")
    claim(tmp_path)
    assert names(tmp_path) == ["run.json"]


OPEN = """
import sys, time
from pathlib import Path
from unmask.core.errors import UserError
from unmask.train.runs import open_run

print("ready", flush=True)
sys.stdin.readline()
try:
    with open_run(Path(sys.argv[1]), "fit", {"seed": 0}, overwrite=sys.argv[2] == "True"):
        print("in", flush=True)
        time.sleep(1)
except UserError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True])
def test_of_many_that_start_at_once_one_runs(tmp_path, overwrite):
    """Once on a folder that is not there, once on what that left."""
    for _ in range(2):
        command = [sys.executable, "-c", OPEN, str(tmp_path / "run"), str(overwrite)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started = [subprocess.Popen(command, **pipes) for _ in range(4)]
        for process in started:
            assert process.stdout.readline() == "ready\n"
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate()[0] for process in started]
        assert sorted(each == "in\n" for each in told) == [False, False, False, True], told
        assert sum("in use by another process" in each for each in told) == 3, told
        assert names(tmp_path / "run") == ["run.json"]


# ---- the log


def logged(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_written_is_in_the_log_line_by_line(tmp_path):
    log = RunLog(tmp_path / "log.jsonl", 10, 0, "fit")
    for update in (1, 2):
        log.write({"update": update, "loss": update / 3})
        assert logged(tmp_path / "log.jsonl")[-1] == {"update": update, "loss": update / 3}
    log.close()


@pytest.mark.parametrize("start", [0, 3, 9])
def test_a_resumed_log_drops_what_came_after_the_checkpoint(tmp_path, start):
    path = tmp_path / "log.jsonl"
    entries = [{"update": 1}, {"update": 3}, {"update": 4}, {"update": 3, "accuracy": 0.5}]
    first = RunLog(path, 10, 0, "fit")
    for entry in entries:
        first.write(entry)
    first.close()
    RunLog(path, 10, start, "fit").close()
    assert logged(path) == [entry for entry in entries if entry["update"] <= start]


@pytest.mark.parametrize("cut", ['{"update": 2, "lo', '{"update": 2, "inside": {"a": 1}', "", "\x00\x00\x00"])
def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    path.write_text('{"update": 1}\n' + cut)
    log = RunLog(path, 10, 5, "fit")
    log.write({"update": 6})
    log.close()
    assert logged(path) == [{"update": 1}, {"update": 6}]


def test_where_nobody_watches_a_plain_line_comes_now_and_then(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(line, "PLAIN_EVERY", -1.0)
    log = RunLog(tmp_path / "log.jsonl", 10, 0, "fit")
    log.show(5, "loss 1.00")
    log.show(6, "loss 0.90")
    log.close()
    shown = capsys.readouterr()
    first, second = shown.err.splitlines()
    assert first == "fit 5/10  loss 1.00", "of a rate nothing is known yet"
    assert second.startswith("fit 6/10  loss 0.90")
    assert "min left" in second
    assert shown.out == ""
