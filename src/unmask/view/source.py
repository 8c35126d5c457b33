"""What a person may ask to see: a trace, the records of a bench, or a table; found, read and checked."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.errors import UserError
from unmask.evaluate.family import family
from unmask.evaluate.records import FORMAT as RECORDS
from unmask.evaluate.records import Record, read_records
from unmask.evaluate.table import TableRow, Versus, table, with_areas
from unmask.samplers.trace import FORMAT as TRACES
from unmask.samplers.trace import Trace, TraceFile, check_trace, read_traces

HUGE = 2**30  # bytes of records; more do not fit a person's patience
KINDS = "a trace of `unmask sample --trace`, or records.jsonl or table.json of `unmask bench`, or its folder"


class Bench(NamedTuple):
    """A bench as it can be shown. records: empty where only its table is there. notes: what the reader must know."""

    header: dict[str, Any]
    rows: list[TableRow]
    records: list[Record]
    notes: list[str]


def load(path: Path) -> Bench | TraceFile:
    """Read what `path` is. Raises UserError that names it and says what is wrong and what to do."""
    if path.is_dir():
        names = ("records.jsonl", "table.json", "trace.json")
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise UserError(f"there is nothing to view in {path}; give {KINDS}{_nearby(path)}")
        return load(found)
    if not path.exists():
        raise UserError(f"there is no {path}; give {KINDS}{_nearby(path.parent)}")
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if not start.strip():
        raise UserError(f"{path} is empty; give {KINDS}")
    if TRACES.encode() in start:
        return read_traces(path)
    if RECORDS.encode() in start:
        return load_records(path)
    if start.lstrip().startswith(b"["):
        return load_table(path)
    raise UserError(f"{path} is neither a trace nor records of unmask; give {KINDS}")


def _nearby(folder: Path) -> str:
    """Where there would be something to see, one level below."""
    found = sorted({each.parent for name in ("records.jsonl", "trace.json") for each in folder.glob(f"*/{name}")})
    return f". Did you mean {' or '.join(map(str, found[:3]))}?" if found else ""


def load_records(path: Path) -> Bench:
    """A bench from its records. Half a line at the end is left out, and said."""
    size = path.stat().st_size
    if size > HUGE:
        most, smaller = HUGE / 2**20, path.parent / "table.json"
        raise UserError(f"{path} has {size / 2**20:.0f} MiB, and at most {most:.0f} are read; view {smaller}")
    header, records, complete = read_records(path)
    if not records:
        raise UserError(f"{path} holds no whole record yet; let `unmask bench` run on, with the same command")
    notes = []
    if complete < size:
        notes.append(f"the last line of {path} is cut off and left out; `unmask bench` measures it again")
    known = {record.key: record for record in records}
    if len(known) < len(records):
        notes.append(f"{path} has {len(records) - len(known)} records twice; of each the later one is shown")
    cells: dict[tuple[str, int, int], list[Record]] = {}
    for record in known.values():
        cells.setdefault((record.sampler, record.budget, record.seed), []).append(record)
    for (sampler, budget, _), found in cells.items():
        if not any(record.nfe for record in found):
            raise UserError(f"{path} has no denoiser call in any record of `{sampler}` at {budget}; measure it again")
    rows = table(cells.values())
    counts = sorted({row.n for row in rows})
    if len(counts) > 1:
        notes.append(f"not every sampler has run on the same problems: n is from {counts[0]} to {counts[-1]}")
    return Bench(header, rows, list(known.values()), notes)


def load_table(path: Path) -> Bench:
    """A bench from its table alone, with header.json beside it if that is there."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}; copy it again from where it came") from error
    if not entries:
        raise UserError(f"{path} has no rows; measure something with `unmask bench`")
    beside = path.with_name("header.json")
    header = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    rows = with_areas(_row(entry, f"row {number} of {path}") for number, entry in enumerate(entries, start=1))
    return Bench(header if isinstance(header, dict) else {}, rows, [], [])


def _row(entry: Any, where: str) -> TableRow:
    try:
        told = entry.get("versus")
        whole = told and set(Versus._fields) <= set(told)  # older tables say less of a comparison
        versus = Versus(**told) if whole else None
        row = TableRow(**entry | {"versus": versus})
        row = row if row.family else row._replace(family=family(row.sampler, row.learned))  # older tables name none
    except (TypeError, AttributeError) as error:
        raise UserError(f"{where} is not a row of `unmask bench` ({error}); is this its table.json?") from error
    words = ("sampler", "learned", "versus", "family")
    optional = ("aup", "retention")
    numbers = [
        value
        for name, value in row._asdict().items()
        if name not in words and not (name in optional and value is None)
    ]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
        raise UserError(f"{where} has something that is no number; copy the file again from where it came")
    return row


def shown(records: Sequence[Record]) -> list[Trace]:
    """Traces of the records that hold one, of the first seed."""
    first = records[0].seed if records else 0
    return [
        check_trace(
            {
                "sampler": record.sampler,
                "budget": record.budget,
                "text": record.text,
                "steps": record.steps,
                "nfe": record.nfe,
                "revealed_at": record.steps_by_position or [],
                "learned": record.order is not None,
                "correct": record.correct,
                **record.shown,
            },
            f"the record of `{record.sampler}` at {record.budget} on {record.id}",
        )
        for record in records
        if record.shown and record.seed == first
    ]
