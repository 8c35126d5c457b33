import errno
import json
import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.core.files import (
    is_stream,
    open_held,
    read_json,
    replacing,
    replacing_folder,
    says,
    write_json,
    write_text,
)


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def ours(folder):
    return (folder / "ours").exists()


replacing_ours = partial(replacing_folder, ours=ours)


def fill(temporary, *names):
    for name in ("ours", *names):
        (temporary / name).write_text("new")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "one")
    write_text(path, "two: ½")
    assert path.read_text(encoding="utf-8") == "two: ½"
    assert names(path.parent) == ["file.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name")
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "one")
    assert os.read(reader, 100) == b"one"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev and /proc")
def test_names_that_the_system_has_for_streams_are_known(tmp_path):
    """As root a name in /dev was replaced by a file, for every process of the machine."""
    (tmp_path / "file").write_text("")
    with open(tmp_path / "file") as file:
        assert is_stream(Path(f"/dev/fd/{file.fileno()}"))
        assert is_stream(Path(f"/proc/self/fd/{file.fileno()}"))
    assert is_stream(Path("/dev/null"))
    assert not any(map(is_stream, (tmp_path, tmp_path / "file", tmp_path / "none", Path("/dev/shm"))))
    before = os.stat("/dev/null")
    write_text(Path("/dev/null"), "gone")
    assert os.path.samestat(os.stat("/dev/null"), before)


def test_json_survives_the_way_to_disk_and_back(tmp_path):
    value = {"text": "½ <<1+2=3>>", "list": [1, 2.5, None, True], "inside": {"a": {}}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


def test_the_name_of_a_file_that_is_no_text_survives_too(tmp_path):
    write_json(tmp_path / "value.json", {"data": "caf\udce9.jsonl"})
    assert read_json(tmp_path / "value.json") == {"data": "caf\udce9.jsonl"}


def test_old_content_survives_an_exception_and_nothing_temporary_is_left(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail_halfway():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            assert path.read_text() == "old"
            raise KeyError("halfway")

    with pytest.raises(KeyError):
        fail_halfway()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_an_old_folder_survives_an_exception_and_nothing_temporary_is_left(tmp_path):
    folder = tmp_path / "folder"
    with replacing_ours(folder) as temporary:
        (temporary / "a").write_text("old")

    def fail_halfway():
        with replacing_ours(folder) as temporary:
            (temporary / "b").write_text("new")
            raise KeyError("halfway")

    with pytest.raises(KeyError):
        fail_halfway()
    assert names(tmp_path) == ["folder"]
    assert names(folder) == ["a"]


def test_a_new_folder_takes_the_place_of_the_old_and_spares_what_is_not_in_its_way(tmp_path):
    folder = tmp_path / "up" / "folder"
    for _ in range(2):
        with replacing_ours(folder) as temporary:
            fill(temporary, "a")
        (folder / "thesis.tex").write_text("mine")
        (folder / "photos").mkdir(exist_ok=True)
        (folder / "photos" / "one").write_text("mine")
    assert names(folder) == ["a", "ours", "photos", "thesis.tex"]
    assert (folder / "photos" / "one").read_text() == (folder / "thesis.tex").read_text() == "mine"
    assert names(folder.parent) == ["folder"]


def test_files_of_others_that_are_in_the_way_are_spared_with_all_around_them(tmp_path):
    folder = tmp_path / "folder"
    (folder / "code").mkdir(parents=True)
    for name in ("README.md", "code/main.py", "notes"):
        (folder / name).write_text("mine")

    def replace_with(name):
        with replacing_ours(folder) as temporary:
            (temporary / name).parent.mkdir(exist_ok=True)
            fill(temporary, name)

    for taken in ("README.md", "code/main.py"):
        with pytest.raises(UserError, match=f"it holds {taken} of something else; choose another folder"):
            replace_with(taken)
    assert names(folder) == ["README.md", "code", "notes"]
    assert (folder / "README.md").read_text() == (folder / "code" / "main.py").read_text() == "mine"
    assert names(tmp_path) == ["folder"]


def test_a_folder_inside_the_folder_is_replaced_file_by_file(tmp_path):
    folder = tmp_path / "folder"
    for text in ("old", "new"):
        with replacing_ours(folder) as temporary:
            (temporary / "code").mkdir()
            (temporary / "code" / "main.py").write_text(text)
            fill(temporary)
        (folder / "code" / "mine.py").write_text("mine")
    assert names(folder) == ["code", "ours"]
    assert names(folder / "code") == ["main.py", "mine.py"]
    assert (folder / "code" / "main.py").read_text() == "new"


@pytest.mark.parametrize("kind", [replacing, replacing_ours])
def test_a_full_disk_is_an_error_people_can_mend_and_changes_nothing(tmp_path, kind, monkeypatch):
    path = tmp_path / "it"
    with kind(path) as temporary:
        (temporary / "a" if kind is replacing_ours else temporary).write_text("old")
    with pytest.raises(UserError, match=r"could not write .*it: No space left on device; free some space"), kind(path):
        full_disk()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="No space left"):
        write_text(tmp_path / "other", "x")
    assert names(tmp_path) == ["it"]
    assert (path / "a" if kind is replacing_ours else path).read_text() == "old"


def test_if_the_last_rename_fails_the_old_folder_is_put_back(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    with replacing_ours(folder) as temporary:
        fill(temporary)
        (temporary / "a").write_text("old")
    really = os.replace

    def refuse_the_new_one(source, target):
        if str(source).endswith(".tmp"):
            full_disk()
        really(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new_one)
    with pytest.raises(UserError, match="could not write"), replacing_ours(folder) as temporary:
        fill(temporary, "a")
    assert names(tmp_path) == ["folder"]
    assert (folder / "a").read_text() == "old"


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
def test_a_temporary_name_that_somebody_prepared_is_not_followed(tmp_path, monkeypatch):
    """Neither a name of old, which could be guessed, nor one of now, were it guessed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    for suffix in (f"{os.getpid()}", f"{os.getpid()}.00000000"):
        (tmp_path / f".file.{suffix}.tmp").symlink_to(victim)
    with pytest.raises(UserError, match=r"could not write .*file: File exists"):
        write_text(tmp_path / "file", "new")
    monkeypatch.undo()
    write_text(tmp_path / "file", "new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a umask")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_all_that_is_written_may_be_read_by_whom_the_umask_lets(tmp_path, mask):
    wanted = "\n".join((
        "import os, sys, torch", "from pathlib import Path", "from unmask.core.files import write_text",
        "from unmask.train.checkpoint import save_checkpoint",
        f"os.umask({mask})", "folder = Path(sys.argv[1])", "write_text(folder / 'a', '')",
        "save_checkpoint(folder / 'b', {'x': torch.zeros(1)}, {})",
    ))  # fmt: skip
    subprocess.run([sys.executable, "-c", wanted, str(tmp_path)], check=True)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"} == {0o666 & ~mask}


def test_a_folder_that_cannot_be_made_is_an_error_people_can_mend(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=r"could not write .*Not a directory"):
        write_text(tmp_path / "file" / "inside" / "deeper", "x")
    with pytest.raises(UserError, match="could not write"), replacing_ours(tmp_path / "file" / "inside"):
        raise AssertionError("not reached")
    with pytest.raises(UserError, match="a file of that name is there"), replacing_ours(tmp_path / "file"):
        pass
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"half": ', "damaged"),
        (b"", "damaged"),
        (b"\x80\x04pickle", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b'{"a": ' + b"9" * 5000 + b"}", "damaged"),
        (json.dumps([1, 2]).encode(), "holds a list, not an object"),
        (None, "there is no wrong.json in "),
    ],
)
def test_what_is_no_json_object_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "wrong.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"wrong\.json.*{message}|{message}"):
        read_json(path)


def test_a_file_is_held_until_it_is_closed(tmp_path):
    """Two descriptors of one process stand in for two processes: flock treats them alike."""
    path = tmp_path / "run.json"
    path.write_text("{}")
    with open_held(path, "r"), pytest.raises(UserError, match=r"run\.json is in use by another process; wait for it"):
        open_held(path, "a")
    open_held(path, "a").close()
    assert path.read_text() == "{}"


def test_a_file_says_what_it_is_or_nothing(tmp_path):
    write_json(tmp_path / "a.json", {"format": "ours", "version": 1})
    assert says(tmp_path / "a.json", format="ours")
    assert not says(tmp_path / "a.json", format="theirs")
    assert not says(tmp_path / "none.json", format="ours")
    (tmp_path / "b.json").write_text("[")
    assert not says(tmp_path / "b.json", format=None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "pointer of git-lfs.*git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "web page"),
        (b"  <html><body>429", "web page"),
        (b"\x1f\x8b\x08", "gzip"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04", "zip archive"),
        (b'{"a": ' + b"1" * 5000 + b"}", "digits"),
        (b"[" * 100_000, "recursion|depth"),
        (b'{"a": 1', "Expecting"),
        (b'{"a": "\xff"}', "utf-8"),
    ],
)
def test_what_is_no_json_is_named_for_what_it_is(tmp_path, content, said):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"config\.json is damaged: .*(?i:{said})") as caught:
        read_json(tmp_path / "config.json")
    assert "\n" not in str(caught.value)


def test_a_mark_of_byte_order_is_no_damage(tmp_path):
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "config.json") == {"a": 1}
