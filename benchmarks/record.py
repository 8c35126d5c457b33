"""Keep what a job leaves that is worth keeping: record.json, with the small files of its run beside it.

    PYTHONPATH=src python3 benchmarks/record.py --out runs/gpu/fit-large-wordprob --job fit-large-wordprob \\
        --status 0 --seconds 512 --run runs/gpu/work/fit-large-wordprob --device cuda -- unmask fit ...

A job may need several starts; each is a line of `starts`, so the time spent is known. Called by scripts/gpu.sh.
"""

import argparse
import os
import shutil
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.entries import at_least, lines_of, parse, parse_object, reader
from unmask.core.errors import UserError
from unmask.core.files import read_json, write_json
from unmask.evaluate.records import provenance

SMALL_FILES = ("log.jsonl", "table.json", "tuning.json")


class Start(NamedTuple):
    """What is read of an earlier start. seconds: how long it took."""

    seconds: float


_read_start = reader(Start, seconds=at_least(0))


def last_numbers(log: Path) -> dict[str, Any]:
    """The last value of every number in a log.jsonl; what a kill left of a line is left out."""
    numbers: dict[str, Any] = {}
    for line in lines_of(log.read_bytes()) if log.is_file() else ():
        with suppress(ValueError):
            numbers |= parse_object(line)
    return numbers


def card(run: Path) -> dict[str, Any]:
    """What the finished denoiser or order says of itself; empty if the run has made neither."""
    for made in ("denoiser", "order"):
        path = run / made / "config.json"
        if path.is_file():
            found = read_json(path)
            return {key: value for key, value in found.items() if key not in ("format", "version")}
    return {}


def numbers_of(run: Path) -> dict[str, Any]:
    """All that is measured so far: where the log stands, the card of what was made, the rows of a bench."""
    return {"last": last_numbers(run / "log.jsonl"), "made": card(run), "table": rows_of(run / "table.json")}


def rows_of(table: Path) -> list[Any] | None:
    """The rows of a bench, as they are; None where there is no table."""
    if not table.is_file():
        return None
    try:
        rows = parse(table.read_bytes())
    except ValueError as error:
        raise UserError(f"{table} is damaged: {error}; measure again") from error
    if not isinstance(rows, list):
        raise UserError(f"{table} holds no list of rows; is it the table of `unmask bench`?")
    return rows


def seconds_of(starts: Any, record: Path) -> float:
    """How long the earlier starts took. Raises UserError where they are none."""
    try:
        return sum(_read_start({"seconds": each["seconds"]}).seconds for each in starts)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{record} is damaged: a start: {error}; move it away") from error


def main() -> None:
    """Write or extend record.json, and copy the small files."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--job", required=True)
    parser.add_argument("--status", type=int, required=True, help="exit code: 0 finished, 124 or 137 out of time")
    parser.add_argument("--seconds", type=float, required=True, help="how long this start took")
    parser.add_argument("--run", type=Path, help="folder of the run, if the job has one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--note", action="append", default=[], help="a sentence to keep")
    parser.add_argument("command", nargs="*", help="after --: what was run")
    given = parser.parse_args()
    path = given.out / "record.json"
    starts = read_json(path).get("starts") if path.is_file() else []
    before = seconds_of(starts, path)
    found = provenance(given.device)
    found["commit"] = found["commit"] or os.environ.get("COMMIT")
    start = {
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": given.seconds,
        "status": given.status,
        "command": given.command,
        "notes": given.note,
        **found,
    }
    record: dict[str, Any] = {
        "job": given.job,
        "finished": given.status == 0,
        "seconds": before + given.seconds,
        **found,
        "config": None,
        "numbers": None,
        "starts": [*starts, start],
    }
    if given.run is not None and given.run.is_dir():
        marker = given.run / "run.json"
        record["config"] = read_json(marker) if marker.is_file() else None
        record["numbers"] = numbers_of(given.run)
        for name in SMALL_FILES:
            if (given.run / name).is_file():
                given.out.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(given.run / name, given.out / name)
    write_json(path, record)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
