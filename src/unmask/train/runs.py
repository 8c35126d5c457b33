"""The folder of a run: whose it is, what has been logged, and the line people watch."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from unmask.core.entries import parse_object
from unmask.core.errors import UserError
from unmask.core.files import read_json, says, write_json, write_text
from unmask.core.holding import LOCK, Held, NotHeld, hold
from unmask.core.temporary import remove, sweep
from unmask.core.typed import brief
from unmask.train.line import Line
from unmask.train.processes import Processes

FORMAT, VERSION = "unmask-run", 1
MARKER = "run.json"
# All that a run writes in its folder: files, and folders with theirs. --overwrite removes these and nothing else.
FILES = ("log.jsonl", "checkpoint.safetensors", "texts.jsonl")
FOLDERS: dict[str, tuple[str, ...]] = {
    "denoiser": ("config.json", "model.safetensors", "tokenizer.json", "codec.json", "README.md"),
    "order": ("config.json", "model.safetensors", "README.md"),
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    "lessons": ("shard-*.safetensors",),
}


def open_run(out: Path, kind: str, identity: dict[str, Any], overwrite: bool) -> Held:
    """Claim `out` for this run, or recognise it as the same run begun earlier.

    identity: what must agree for a resumed run to be the same run; differences are named in the error.
    As long as what is returned stays open no other process gets past here (see `holding.hold`).
    """
    _check_free(out)
    held = hold(out)
    try:
        marker = out / MARKER
        _check_free(out)  # once more, now that nobody else comes in between
        sweep(out, MARKER, *FILES, *FOLDERS)
        sweep(out / "lessons", *FOLDERS["lessons"])
        asked = json.loads(json.dumps({"format": FORMAT, "version": VERSION, "kind": kind, **identity}))
        if overwrite and marker.is_file():
            _empty(out)
        elif marker.is_file():
            _check_same(out, read_json(marker), asked)
            return held
        write_json(marker, asked)
        return held
    except BaseException:
        held.close()
        raise


def _check_free(out: Path) -> None:
    """Raise UserError where a folder holds other things than a run."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose a folder for the run")
    if out.is_dir() and not (out / MARKER).is_file():
        ours = (f".{MARKER}.", LOCK)  # what is left of a run that was killed when it had only just begun
        if any(not each.name.startswith(ours) for each in out.iterdir()):
            raise UserError(
                f"{out} holds files but no run of unmask, so nothing in it is touched; choose another folder"
            )


def _empty(out: Path) -> None:
    """Remove what a run left, so that another can begin. Raises UserError where the marker is not one of ours."""
    if not says(out / MARKER, format=FORMAT):
        raise UserError(
            f"{out / MARKER} is not one that this version of unmask wrote, so --overwrite spares the folder; "
            "remove it yourself or choose another folder"
        )
    for name in FILES:
        remove(out / name)
    for folder, names in FOLDERS.items():
        remove_files(out / folder, *names)


def _check_same(out: Path, known: dict[str, Any], asked: dict[str, Any]) -> None:
    if known.get("format") != FORMAT:
        raise UserError(f"{out / MARKER} is not one that this version of unmask wrote; choose another folder")
    names = sorted(key for key in known.keys() | asked.keys() if known.get(key) != asked.get(key))
    if names:
        told = ", ".join(f"{name} {brief(known.get(name))} there, {brief(asked.get(name))} here" for name in names)
        raise UserError(f"{out} belongs to another run ({told}); choose another folder or pass --overwrite")


def claim_run(processes: Processes, out: Path, kind: str, identity: dict[str, Any], overwrite: bool) -> Held:
    """`open_run` by the main process, for all; the others write nothing and hold nothing."""
    return processes.on_main(lambda: open_run(out, kind, identity, overwrite)) or NotHeld()


def remove_files(folder: Path, *names: str) -> None:
    """Remove files by name, or by pattern, and the folder if nothing else is in it."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for name in names:
        for file in folder.glob(name):
            remove(file)
    with suppress(OSError):
        folder.rmdir()


def logged_at(line: bytes) -> float:
    """The update a line of the log belongs to; infinity for one that was cut short or damaged."""
    try:
        update = parse_object(line).get("update", 0)
    except ValueError:
        return float("inf")
    return update if type(update) in (int, float) else float("inf")


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
            lines = path.read_bytes().split(b"\n")
            kept = [line.decode() for line in lines if logged_at(line) <= start]
            write_text(path, "".join(line + "\n" for line in kept))
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
