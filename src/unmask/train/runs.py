"""The folder of a run: whose it is, what has been logged, and the line people watch."""

import json
import shutil
from pathlib import Path
from typing import Any, Protocol, TextIO

from unmask.core.errors import UserError
from unmask.core.files import open_held, read_json, write_json, write_text
from unmask.train.line import Line
from unmask.train.processes import Processes


def open_run(out: Path, kind: str, identity: dict[str, Any], overwrite: bool) -> TextIO:
    """Claim `out` for this run, or recognise it as the same run begun earlier.

    identity: what must agree for a resumed run to be the same run; differences are named in the error.
    Returns the open run.json: as long as it stays open no other process gets past here (see `files.open_held`).
    """
    marker = out / "run.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose a folder for the run")
    if marker.is_file():
        open_held(marker, "r").close()
    if out.is_dir():
        sweep(out, "*" if marker.is_file() else marker.name)
    if overwrite and out.exists():
        if any(out.iterdir()) and not marker.is_file():
            raise UserError(f"{out} holds files but no run of unmask, so --overwrite spares it; choose another folder")
        shutil.rmtree(out)
    if marker.is_file():
        known = read_json(marker)
        asked = json.loads(json.dumps({"kind": kind, **identity}))
        if known != asked:
            names = sorted(key for key in known.keys() | asked.keys() if known.get(key) != asked.get(key))
            told = ", ".join(f"{name} {known.get(name)!r} there, {asked.get(name)!r} here" for name in names)
            raise UserError(f"{out} belongs to another run ({told}); choose another folder or pass --overwrite")
        return open_held(marker, "r")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no run of unmask; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_json(marker, {"kind": kind, **identity})
    return open_held(marker, "r")


def claim_run(
    processes: Processes, out: Path, kind: str, identity: dict[str, Any], overwrite: bool
) -> "TextIO | NoLog":
    """`open_run` by the main process, for all; the others write nothing and get something else to close."""
    return processes.on_main(lambda: open_run(out, kind, identity, overwrite)) or NoLog()


def sweep(out: Path, name: str) -> None:
    """Remove what a killed run left half-written under the temporary names of `name` (a pattern)."""
    for left in (*out.glob(f".{name}.[0-9]*.tmp"), *out.glob(f".{name}.[0-9]*.old")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def logged_at(line: str) -> float:
    """The update a line of the log belongs to; infinity for one that was cut short."""
    try:
        entry = json.loads(line)
    except ValueError:
        return float("inf")
    return float(entry.get("update", 0)) if isinstance(entry, dict) else float("inf")


class Log(Protocol):
    """Where a run tells how it goes."""

    def show(self, update: int, note: str) -> None: ...

    def write(self, entry: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class NoLog:
    """The log of a process that is not the main one."""

    def show(self, update: int, note: str) -> None:
        """Nothing."""

    def write(self, entry: dict[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def open_log(processes: Processes, path: Path, total: int, start: int, title: str) -> Log:
    """The log of a run, which the main process alone writes."""
    return RunLog(path, total, start, title) if processes.is_main else NoLog()


class RunLog:
    """log.jsonl in the run's folder, and a progress line.

    A resumed run first drops the lines logged after the checkpoint it resumes from.
    """

    def __init__(self, path: Path, total: int, start: int, title: str) -> None:
        self.path = path
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            write_text(path, "".join(line + "\n" for line in lines if logged_at(line) <= start))
        self.line = Line(title, total, start)

    def show(self, update: int, note: str) -> None:
        """Move the line."""
        self.line.show(update, note)

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line to log.jsonl."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Put the terminal back."""
        self.line.close()
