"""A folder that one process at a time may write in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from unmask.core.errors import UserError
from unmask.core.files import could_not_write, in_use, open_held, still_there

LOCK = ".unmask.lock"


class Held:
    """A folder, from `hold` on until it is closed. A context manager."""

    def __init__(self, folder: Path, lock: TextIO, made: bool = False) -> None:
        self.folder, self._lock, self._made = folder, lock, made

    def check(self) -> None:
        """Raise UserError where the folder was removed or moved away meanwhile."""
        if not self._lock.closed and not still_there(self._lock, self.folder / LOCK):
            raise UserError(
                f"the folder {self.folder} was removed or replaced while the run went on, and what it held is gone; "
                "start the run again, into a folder that stays"
            )

    def close(self) -> None:
        """Let go, and leave no lock behind; nor a folder that was made for this, where nothing came of it."""
        if self._lock.closed:
            return
        if still_there(self._lock, self.folder / LOCK):
            (self.folder / LOCK).unlink(missing_ok=True)
            if self._made:
                with suppress(OSError):  # something is in it
                    self.folder.rmdir()
        self._lock.close()

    def let_go(self) -> None:
        """Close what a fork has of it; the folder stays held by the process that holds it."""
        self._lock.close()

    def __enter__(self) -> "Held":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NotHeld(Held):
    """The same for a process that leaves it to another one to hold the folder."""

    def __init__(self) -> None:
        pass

    def check(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def let_go(self) -> None:
        """Nothing."""


def hold(folder: Path) -> Held:
    """Keep other processes from writing in `folder`, which is made if it is not there; a killed one lets go.

    Raises UserError if another process holds it or the disk refuses. Windows and file systems without locks keep nobody
    out.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose a folder")
    path = folder / LOCK
    while True:
        made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise could_not_write(folder, error) from error
        try:
            lock = open_held(path, "a")
        except UserError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # it was removed again by one that had made it
                continue
            raise in_use(folder) if "in use" in str(error) else error from error.__cause__
        if still_there(lock, path) or os.name == "nt":
            return Held(folder, lock, made)
        lock.close()  # the process before removed it between our opening and holding it


@contextmanager
def holding(folder: Path, held: Held | None = None) -> Iterator[Held]:
    """`folder` held for the while, unless the caller holds it already as `held`."""
    if held is not None:
        yield held
        return
    with hold(folder) as own:
        yield own
