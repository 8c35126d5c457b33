import os
import subprocess
import sys

from unmask.core.temporary import beside, sweep, temporary_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def dead():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_dead_processes_left_is_swept_and_nothing_else(tmp_path):
    gone = dead()
    (tmp_path / f".log.jsonl.{gone}.01234567.tmp").mkdir()
    (tmp_path / f".log.jsonl.{gone}.01234567.tmp" / ".tmpAb1").write_text("half")
    (tmp_path / f".log.jsonl.{gone}.tmp").write_text("half, of an earlier release")
    (tmp_path / f".log.jsonl.{os.getpid()}.01234567.tmp").write_text("of an earlier process that had our number")
    spared = [
        f".log.jsonl.{os.getppid()}.01234567.tmp",  # alive
        f".thesis.tex.{gone}.01234567.tmp",  # not one of the names
        ".log.jsonl.tmp", f"log.jsonl.{gone}.tmp", f".log.jsonl.{gone}.swp",
    ]  # fmt: skip
    for name in spared:
        (tmp_path / name).write_text("kept")
    with temporary_folder(tmp_path / "log.jsonl") as writing:
        sweep(tmp_path, "log.jsonl", "other-*")
        assert names(tmp_path) == sorted([*spared, writing.name])
    assert names(tmp_path) == sorted(spared)


def test_a_link_among_them_is_removed_and_what_it_points_at_stays(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("mine")
    (tmp_path / f".a.{dead()}.01234567.tmp").symlink_to(tmp_path / "kept")
    sweep(tmp_path, "a")
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["file"]


def test_a_folder_taken_away_by_a_process_that_then_died_is_put_back(tmp_path):
    old = tmp_path / f".order.{dead()}.01234567.old"
    old.mkdir()
    (old / "config.json").write_text("old")
    sweep(tmp_path, "order")
    assert names(tmp_path) == ["order"]
    (tmp_path / "order").rename(old)
    (tmp_path / "order").mkdir()
    sweep(tmp_path, "order")
    assert names(tmp_path) == ["order"]
    assert names(tmp_path / "order") == []


def test_a_name_is_never_the_same_and_fits(tmp_path):
    long = tmp_path / ("x" * 250)
    assert beside(long, "tmp") != beside(long, "tmp")
    beside(long, "tmp").mkdir()


def test_a_folder_that_is_not_there_has_nothing_to_sweep(tmp_path):
    sweep(tmp_path / "none", "*")
