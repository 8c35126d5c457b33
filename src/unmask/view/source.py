"""What a person may ask to see: a trace, the records of a bench, or a table; found, read and checked."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.entries import at_least, between, parse, reader
from unmask.core.errors import UserError
from unmask.core.files import read_json
from unmask.core.typed import brief
from unmask.evaluate.family import family
from unmask.evaluate.pinned import parse_pinned
from unmask.evaluate.records import Key, Record, RecordsReader
from unmask.evaluate.spared import FORMAT as RECORDS
from unmask.evaluate.sweep import ADAPTIVE_OPTIONS, parse_sweep
from unmask.evaluate.table import TableRow, Versus, table, with_areas
from unmask.evaluate.tally import Tallies
from unmask.samplers.trace import FORMAT as TRACES
from unmask.samplers.trace import Trace, TraceFile, check_trace, read_traces
from unmask.view.heat import StepCounts

KINDS = "a trace of `unmask sample --trace`, or records.jsonl or table.json of `unmask bench`, or its folder"


class Bench(NamedTuple):
    """A bench as it can be shown. notes: what the reader must know.

    records: those that hold what a playback needs. steps: by sampler and budget, when which position was revealed. Both
    of the first seed alone, and empty where only the table is there.
    """

    header: dict[str, Any]
    rows: list[TableRow]
    records: list[Record]
    notes: list[str]
    steps: Mapping[tuple[str, int], StepCounts] = {}


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
    """A bench from its records. Half a line at the end is left out, and said. Only records to be played are kept."""
    found, tallies = RecordsReader(path), Tallies()
    played: dict[Key, Record] = {}
    steps: dict[tuple[str, int], StepCounts] = {}
    first: int | None = None  # the seed that is shown
    for record in found:
        tallies.add(record)
        first = record.seed if first is None else first
        if record.seed == first and record.revealed_at is not None:
            steps.setdefault((record.sampler, record.budget), StepCounts()).add(record.revealed_at)
        played.pop(record.key, None)
        if record.seed == first and record.shown:
            played[record.key] = record
    if found.problems:
        raise UserError(found.problems[0])
    if not tallies.cells:
        raise UserError(f"{path} holds no whole record yet; let `unmask bench` run on, with the same command")
    notes = []
    if found.complete < path.stat().st_size:
        notes.append(f"the last line of {path} is cut off and left out; `unmask bench` measures it again")
    if again := sum(cell.again for cell in tallies.cells.values()):
        notes.append(f"{path} has {again} records twice; of each the later one is shown")
    for (sampler, budget, _), cell in tallies.cells.items():
        if not any(cell.nfe):
            raise UserError(f"{path} has no denoiser call in any record of `{sampler}` at {budget}; measure it again")
    rows = table(tallies.cells.values(), **asked(path, found.header))
    counts = sorted({row.n for row in rows})
    if len(counts) > 1:
        notes.append(f"not every sampler has run on the same problems: n is from {counts[0]} to {counts[-1]}")
    return Bench(found.header, rows, list(played.values()), notes, steps)


def asked(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """What the rows of a bench are tested against and measured by, as its last start had it, for `evaluate.table`.

    It stands in summary.json beside the records, else in their header; what cannot be read is left out.
    """
    config, last = header.get("config"), path.with_name("summary.json")
    known: dict[str, Any] = dict(config) if isinstance(config, dict) else {}
    with suppress(UserError):
        known |= read_json(last) if last.is_file() else {}
    found: dict[str, Any] = {}
    with suppress(UserError):
        if isinstance(known.get("against"), str):
            found["against"] = parse_pinned(known["against"])
    with suppress(UserError):
        found["swept"] = ADAPTIVE_OPTIONS | {parse_sweep(text).swept for text in _words(known.get("sweeps"))}
    if isinstance(known.get("tested_seed"), int):
        found["tested"] = known["tested_seed"]
    learned = known.get("learnings")
    rows = [row for row in learned if isinstance(row, dict)] if isinstance(learned, list) else []
    found["untested"] = {label for row in rows for label in _words(row.get("labels")) if label != row.get("tested")}
    return found


def _words(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def load_table(path: Path) -> Bench:
    """A bench from its table alone, with header.json beside it if that is there."""
    entries = _parsed(path)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} has no rows; measure something with `unmask bench`")
    beside = path.with_name("header.json")
    header = _parsed(beside) if beside.is_file() else {}
    rows = with_areas(_row(entry, f"row {number} of {path}") for number, entry in enumerate(entries, start=1))
    return Bench(header if isinstance(header, dict) else {}, rows, [], [])


def _parsed(path: Path) -> Any:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; copy it again from where it came") from error


_share = between(0, 1)
_read_row = reader(
    TableRow, accuracy=_share, low=_share, high=_share, n=at_least(1), tpf=at_least(0),
    **dict.fromkeys(("budget", "steps_mean", "steps_min", "steps_max", "nfe", "seconds", "seed"), at_least(0)),
)  # fmt: skip
_read_versus = reader(Versus, p=_share, holm=_share)


def _row(entry: Any, where: str) -> TableRow:
    try:
        told = entry.get("versus") if isinstance(entry, dict) else None
        row = _read_row({**entry, "versus": None} if isinstance(entry, dict) else entry)
        if told is not None and not isinstance(told, dict):
            raise ValueError(f"versus cannot be {brief(told)}")
        whole = told is not None and set(Versus._fields) <= set(told)  # older tables say less of a comparison
        row = row if row.family else row._replace(family=family(row.sampler, row.learned))  # older tables name none
        return row._replace(versus=_read_versus(told) if whole else None)
    except ValueError as error:
        raise UserError(f"{where} is not a row of `unmask bench` ({error}); is this its table.json?") from error


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
                **({} if record.reference is None else {"reference": record.reference}),
                **record.shown,
            },
            f"the record of `{record.sampler}` at {record.budget} on {record.id}",
        )
        for record in records
        if record.shown and record.seed == first
    ]
