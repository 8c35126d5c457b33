"""Keep what a job leaves that is worth keeping: record.json, with the small files of its run beside it.

    PYTHONPATH=src python3 benchmarks/record.py --out runs/gpu/fit-large-wordprob --job fit-large-wordprob \\
        --status 0 --seconds 512 --run runs/gpu/work/fit-large-wordprob --device cuda -- unmask fit ...

A job may need several starts; each is a line of `starts`, so the time spent is known. Called by scripts/gpu.sh.
"""

import argparse
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unmask.core.files import read_json, write_json
from unmask.evaluate.records import provenance

SMALL_FILES = ("log.jsonl", "table.json", "tuning.json")


def last_numbers(log: Path) -> dict[str, Any]:
    """The last value of every number in a log.jsonl; half a line at its end is left out."""
    numbers: dict[str, Any] = {}
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and line.endswith("}"):
                numbers |= json.loads(line)
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
    table = run / "table.json"
    return {
        "last": last_numbers(run / "log.jsonl"),
        "made": card(run),
        "table": json.loads(table.read_text(encoding="utf-8")) if table.is_file() else None,
    }


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
    starts = read_json(path)["starts"] if path.is_file() else []
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
        "seconds": sum(each["seconds"] for each in starts) + given.seconds,
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
    main()
