"""Writing files so that a reader sees the old one or the new one, never half of one."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from unmask.core.errors import UserError
from unmask.core.temporary import beside, remove, temporary_folder

if sys.platform != "win32":
    import fcntl


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file for `path`; on success it takes the place of `path`, on failure it is removed.

    It lies in a new folder of its own, with whatever a library puts beside it while it writes. A pipe or a device, as
    /dev/stdout is, stays what it is, and is written to.
    """
    try:
        if is_stream(path):
            with TemporaryDirectory() as elsewhere:
                yield (temporary := Path(elsewhere) / (path.name or "stream"))
                with open(temporary, "rb") as written, open(path, "wb") as stream:
                    shutil.copyfileobj(written, stream)
            return
        with temporary_folder(path) as folder:
            temporary = folder / path.name
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise could_not_write(path, error) from error


def is_stream(path: Path) -> bool:
    """Whether `path` is a pipe or a device, or a name that the system has for one."""
    if not path.exists() or path.is_dir():
        return False
    folder = path.parent.resolve()
    return not path.is_file() or folder == Path("/dev") or Path("/proc") in folder.parents


@contextmanager
def replacing_folder(path: Path, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """The same for a folder: it is filled under a temporary name and takes its place when complete.

    ours: whether the folder that is there is one of this kind, made by us. What else lies in it stays there; files that
    are in the way are replaced only where it is, and are a UserError where they are somebody else's.
    """
    path = Path(os.path.abspath(path))  # `.` has no name to go by
    try:
        with temporary_folder(path) as temporary:
            yield temporary
            if path.exists() and not path.is_dir():
                raise UserError(f"could not write the folder {path}: a file of that name is there; choose another name")
            new = [each.relative_to(temporary) for each in temporary.rglob("*") if not each.is_dir()]
            in_the_way = sorted(str(each) for each in new if os.path.lexists(path / each))
            if in_the_way and not ours(path):
                raise UserError(
                    f"could not write the folder {path}: it holds {', '.join(in_the_way)} of something else; "
                    "choose another folder"
                )
            if path.exists() and _holds_more(path, new):
                for each in sorted(new, key=lambda each: each.name == "config.json"):  # it says whose all is: last
                    (path / each).parent.mkdir(exist_ok=True)
                    os.replace(temporary / each, path / each)
            else:
                _swap(temporary, path)
    except OSError as error:
        raise could_not_write(path, error) from error


def _holds_more(path: Path, new: Sequence[Path]) -> bool:
    """Whether something is in a folder besides the `new` files and the folders that these are in."""
    known = {*new, *(parent for each in new for parent in each.parents)}
    folders = {path, *(path / each.parent for each in new)}
    there = (each.relative_to(path) for folder in folders if folder.is_dir() for each in folder.iterdir())
    return any(each not in known for each in there)


def _swap(new: Path, path: Path) -> None:
    """Put a folder in the place of the one at `path`, if there is one; that one comes back if it cannot be done."""
    if not path.exists():
        os.replace(new, path)
        return
    old = beside(path, "old")
    os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        os.replace(old, path)
        raise
    remove(old)


def says(path: Path, **entries: object) -> bool:
    """Whether `path` is a JSON file with these entries; no, where it is missing or damaged."""
    try:
        found = read_json(path)
    except UserError:
        return False
    return all(name in found and found[name] == value for name, value in entries.items())


def open_held(path: Path, mode: str) -> TextIO:
    """Open `path` (mode `r` or `a`) and keep other processes from doing so here until it is closed.

    A process that is killed lets go. Windows and file systems without locks keep nobody out.
    Raises UserError if another process holds it or the disk refuses.
    """
    try:
        file = open(path, mode, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  # the caller closes it
    except OSError as error:
        raise UserError(f"could not open {path}: {error.strerror or error}") from error
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise in_use(path) from error
        except OSError:
            pass
    return file  # type: ignore[return-value]


def in_use(path: Path) -> UserError:
    """What to say to the second of two."""
    return UserError(f"{path} is in use by another process; wait for it or choose another folder")


def still_there(file: TextIO, path: Path) -> bool:
    """Whether an open file is the one at `path`, and not one that was removed or replaced."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def could_not_write(path: Path, error: OSError) -> UserError:
    """What to say when the disk refuses."""
    why = error.strerror or error
    return UserError(f"could not write {path}: {why}; free some space or choose another folder")


def write_text(path: Path, text: str) -> None:
    """Replace the text of `path` in one go."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with indented JSON in one go."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # half a character, as the name of a file may hold one, is written as JSON writes it
    write_text(path, text.encode("utf-8", "backslashreplace").decode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises UserError naming the file if it is missing, damaged or something else."""
    if not path.is_file():
        raise UserError(f"there is no {path.name} in {path.parent}; is this the folder you meant?")
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark of its order
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, thousands of digits; nested absurdly deep
        what = seems(path) or str(error).partition(";")[0]
        raise UserError(f"{path} is damaged: {what}; copy it again from where it came") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not an object; is this the file you meant?")
    return value


# What often stands where something else was to be: how it begins, what it is, what to do.
SEEMS = (
    (b"version https://git-lfs", "it is a pointer of git-lfs and not the file itself; run `git lfs pull` where it is"),
    (b"<!doctype", "it is a web page (HTML); fetch the file itself, not the page about it"),
    (b"<html", "it is a web page (HTML); fetch the file itself, not the page about it"),
    (b"<?xml", "it is XML, most likely the answer of a server; fetch the file again"),
    (b"gguf", "it is GGUF, quantised for llama.cpp; give the checkpoint it was made from"),
    (b"pk\x03\x04", "it is a zip archive, most likely weights pickled by torch.save"),
    (b"\x80\x02", "it is a pickle, most likely weights saved by torch.save"),
    (b"\x80\x04", "it is a pickle, most likely weights saved by torch.save"),
    (b"\x1f\x8b", "it is compressed by gzip; unpack it first"),
    (b"\xff\xfe", "it is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16; save it as UTF-8"),
)


def seems(path: Path) -> str | None:
    """What a file is that is not what was expected, and what to do; None where nobody knows."""
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError:
        return None
    if not start:
        return "it is empty; fetch it again"
    begin = start.lstrip().lower()
    return next((what for mark, what in SEEMS if begin.startswith(mark)), None)
