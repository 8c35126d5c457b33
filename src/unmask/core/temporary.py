"""Names for what is half-written: made by nobody else, and known for what they are once the process is dead."""

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

_NAME = re.compile(r"\.(?P<name>.+?)\.(?P<process>\d+)(?:\.[0-9a-f]{8})?\.(?:tmp|old)")  # earlier ones had no digits
_LONGEST = 200  # characters of a name that are kept: file systems allow about 255 bytes
_being_written: set[Path] = set()


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` that is gone afterwards, and that nobody could have prepared: see `sweep`."""
    folder = beside(path, "tmp")
    _being_written.add(folder)
    try:
        folder.mkdir(parents=True)  # fails where anything has the name, a link too
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _being_written.discard(folder)


def beside(path: Path, kind: str) -> Path:
    """A name that is free, of this process."""
    return path.with_name(f".{path.name[:_LONGEST]}.{os.getpid()}.{secrets.token_hex(4)}.{kind}")


def sweep(folder: Path, *names: str) -> None:
    """Remove from `folder` what processes that are dead left half-written of `names`, which are patterns."""
    with suppress(OSError):
        for left in sorted(folder.iterdir()):
            found = _NAME.fullmatch(left.name)
            if not found or not any(fnmatch(found["name"], name) for name in names):
                continue
            if not _in_use(left, int(found["process"])):
                if left.suffix == ".old" and not (folder / found["name"]).exists():
                    os.replace(left, folder / found["name"])  # it died before the new one was there
                else:
                    remove(left)


def remove(path: Path) -> None:
    """A file, a link or a whole folder; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _in_use(path: Path, process: int) -> bool:
    """Whether somebody is still writing it. A number of our own that we do not write is of an earlier process."""
    if process == os.getpid():
        return path in _being_written
    if sys.platform == "win32":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is there, and somebody else's
        return True
    return True
