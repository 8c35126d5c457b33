import errno
import json
import os

import pytest

from unmask.core.errors import UserError
from unmask.core.files import open_held, read_json, replacing, replacing_folder, write_json, write_text


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "one")
    write_text(path, "two: ½")
    assert path.read_text(encoding="utf-8") == "two: ½"
    assert names(path.parent) == ["file.txt"]


def test_json_survives_the_way_to_disk_and_back(tmp_path):
    value = {"text": "½ <<1+2=3>>", "list": [1, 2.5, None, True], "inside": {"a": {}}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


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
    with replacing_folder(folder) as temporary:
        (temporary / "a").write_text("old")

    def fail_halfway():
        with replacing_folder(folder) as temporary:
            (temporary / "b").write_text("new")
            raise KeyError("halfway")

    with pytest.raises(KeyError):
        fail_halfway()
    assert names(tmp_path) == ["folder"]
    assert names(folder) == ["a"]


def test_a_new_folder_takes_the_place_of_the_old_as_a_whole(tmp_path):
    folder = tmp_path / "up" / "folder"
    for name in ("a", "b"):
        with replacing_folder(folder) as temporary:
            (temporary / name).write_text(name)
    assert names(folder) == ["b"]
    assert names(folder.parent) == ["folder"]


@pytest.mark.parametrize("kind", [replacing, replacing_folder])
def test_a_full_disk_is_an_error_people_can_mend_and_changes_nothing(tmp_path, kind, monkeypatch):
    path = tmp_path / "it"
    with kind(path) as temporary:
        (temporary / "a" if kind is replacing_folder else temporary).write_text("old")
    with pytest.raises(UserError, match=r"could not write .*it: No space left on device; free some space"), kind(path):
        full_disk()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="No space left"):
        write_text(tmp_path / "other", "x")
    assert names(tmp_path) == ["it"]
    assert (path / "a" if kind is replacing_folder else path).read_text() == "old"


def test_if_the_last_rename_fails_the_old_folder_is_put_back(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    with replacing_folder(folder) as temporary:
        (temporary / "a").write_text("old")
    really = os.replace

    def refuse_the_new_one(source, target):
        if str(source).endswith(".tmp"):
            full_disk()
        really(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new_one)
    with pytest.raises(UserError, match="could not write"), replacing_folder(folder) as temporary:
        (temporary / "b").write_text("new")
    assert names(tmp_path) == ["folder"]
    assert (folder / "a").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_an_error_people_can_mend(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=r"could not write .*Not a directory"):
        write_text(tmp_path / "file" / "inside" / "deeper", "x")
    with pytest.raises(UserError, match="could not write"), replacing_folder(tmp_path / "file" / "inside"):
        raise AssertionError("not reached")
    with pytest.raises(UserError, match="a file of that name is there"), replacing_folder(tmp_path / "file"):
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
