"""Writing files so that a reader sees the old one or the new one, never half of one."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from unmask.core.errors import UserError

if sys.platform != "win32":
    import fcntl


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it takes the place of `path`, on failure it is removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise could_not_write(path, error) from error
    finally:
        with suppress(OSError):  # where even the folder could not be made
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: it is filled under a temporary name and renamed when complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists() and not path.is_dir():
            raise UserError(f"could not write the folder {path}: a file of that name is there; choose another name")
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    except OSError as error:
        raise could_not_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def open_held(path: Path, mode: str) -> TextIO:
    """Open `path` (mode `r` or `a`) and keep other processes from doing so here until it is closed.

    A process that is killed lets go. Windows and file systems without locks keep nobody out.
    Raises UserError if another process holds it or the disk refuses.
    """
    try:
        file = open(path, mode, encoding="utf-8")  # noqa: SIM115  # the caller closes it
    except OSError as error:
        raise UserError(f"could not open {path}: {error.strerror or error}") from error
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise UserError(f"{path} is in use by another process; wait for it or choose another folder") from error
        except OSError:
            pass
    return file  # type: ignore[return-value]


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
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises UserError naming the file if it is missing, damaged or something else."""
    if not path.is_file():
        raise UserError(f"there is no {path.name} in {path.parent}; is this the folder you meant?")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:  # the last: nested absurdly deep
        raise UserError(f"{path} is damaged: {error}; copy it again from where it came") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not an object; is this the file you meant?")
    return value
