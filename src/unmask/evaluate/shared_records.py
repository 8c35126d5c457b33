"""The records of a bench that several processes make: one of them has the file, all of them know what is in it."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from unmask.evaluate.records import Key, Record, Records, to_json
from unmask.train.processes import Processes


class KnownRecords(Protocol):
    """What is done, and a way to add to it. A context manager."""

    path: Path
    done: dict[Key, Record]

    def add(self, records: Iterable[Record]) -> None: ...

    def __enter__(self) -> "KnownRecords": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Remembered:
    """The records as a process without the file knows them."""

    def __init__(self, path: Path, done: dict[Key, Record]) -> None:
        self.path, self.done = path, done

    def add(self, records: Iterable[Record]) -> None:
        """Remember those that are not there yet."""
        for record in records:
            self.done.setdefault(record.key, record)

    def __enter__(self) -> "Remembered":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def open_records(processes: Processes, path: Path, header: dict[str, Any], overwrite: bool) -> KnownRecords:
    """`Records(path, header, overwrite)` on the main process, and what is in them on the others.

    Its UserError is raised on all.
    """
    records = processes.on_main(lambda: Records(path, header, overwrite))
    if processes.world == 1 and records is not None:
        return records
    known = processes.from_main(lambda: [to_json(each) for each in records.done.values()] if records else [])
    found = [Record(**entry) for entry in known]
    return records if records is not None else Remembered(path, {record.key: record for record in found})


def gather_records(processes: Processes, found: list[Record]) -> list[list[Record]]:
    """What each process found, in order of rank."""
    if processes.world == 1:
        return [found]
    return [[Record(**entry) for entry in entries] for entries in processes.gather([to_json(each) for each in found])]
