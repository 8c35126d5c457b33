"""records.jsonl: one line per answer, appended as they come, so that a killed run loses at most a batch.

    {"format": "unmask-records", "version": 1, "config": {...}, "package": "0.1.0", "commit": "1f0c...", ...}
    {"sampler": "margin", "budget": 4, "seed": 0, "id": "wordprob/test/0", "prompt": "9b1d...", ...}

The first line says what the others were measured with. A line counts once its newline is on disk: what a kill
left of the last one is dropped and measured again.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

import torch

from unmask.core.entries import at_least, parse, reader
from unmask.core.errors import UserError
from unmask.core.files import could_not_write, open_held, still_there
from unmask.core.temporary import sweep
from unmask.core.typed import brief
from unmask.denoisers.digest import denoiser_digest
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.spared import FORMAT, RECORDS, check_ours

VERSION = 2
READ = (1, 2)  # versions; in the first, records do not say what the right answer is
# Parts of the header that must agree for a second start to be the same run; the rest is there to be read.
IDENTITY = ("denoiser", "task", "split", "data", "response_length", "temperature", "cache", "exact")


class Record(NamedTuple):
    """One answer of one sampler.

    sampler: as the table calls it. order: digest of the learned order, None for a heuristic.
    id:      of the example. prompt: short sha256 of its prompt. text: what was generated.
    answer:  extracted from the text, None if it gives none. correct: the task's judgement.
    steps, nfe, written, content: as in `Generation`. seconds: this row's share of its batch's wall time.
    revealed_at: the step each position of the response was revealed at, as `1 3 3 2`; files before it have None.
    shown:   of the first few examples, what else a playback needs: prompt, tokens and probability as in `Trace`.
    reference: the right answer, as the task has it; files of version 1 have None.
    """

    sampler: str
    budget: int
    seed: int
    id: str
    prompt: str
    text: str
    answer: str | None
    correct: bool
    steps: int
    nfe: int
    written: int
    content: int
    seconds: float
    order: str | None = None
    revealed_at: str | None = None
    shown: dict[str, Any] | None = None
    reference: str | None = None

    @property
    def steps_by_position(self) -> list[int] | None:
        """`revealed_at` as numbers."""
        return None if self.revealed_at is None else [int(word) for word in self.revealed_at.split()]

    @property
    def key(self) -> "Key":
        """What a record is found by."""
        return Key(self.sampler, self.budget, self.seed, self.id)


class Key(NamedTuple):
    """A cell of the experiment: there is one record for each."""

    sampler: str
    budget: int
    seed: int
    id: str


_NUMBERS = re.compile(r"(?:[0-9]{1,9}(?: [0-9]{1,9})* ?)?")


def _numbers(value: str) -> bool:
    return _NUMBERS.fullmatch(value) is not None


_whole = at_least(0)
_read_record = reader(
    Record, **dict.fromkeys(("budget", "seed", "steps", "nfe", "written", "content", "seconds"), _whole),
    revealed_at=_numbers,
)  # fmt: skip


class RecordsFile(NamedTuple):
    """What stands in a file. complete: bytes up to the last newline; anything after it is half a line."""

    header: dict[str, Any]
    records: list[Record]
    complete: int


class Usable(NamedTuple):
    """What of a file can be used, and a sentence on each thing that cannot."""

    file: RecordsFile
    problems: list[str]


def find_records(path: Path) -> Path:
    """The records file that is meant: `path` itself, or the one in a folder that a bench left."""
    if path.is_dir():
        path = path / RECORDS
    if not path.is_file():
        raise UserError(f"there is no {path}; give the folder that `unmask bench --out` wrote, or its {RECORDS}")
    return path


class RecordsReader:
    """A records file, read line by line. Iterate over it for the records; what was wrong is known afterwards.

    header: of the file, {} where there is no whole line. problems: a sentence on every line that cannot be used; where
    another run begins in the middle, it and all after it is left out. complete: bytes up to the last line end.
    Raises UserError naming the file if it cannot be read, or is no records file of a version that is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: dict[str, Any] = {}
        self.problems: list[str] = []
        self.complete = 0
        self._lines = enumerate(_whole_lines(path), start=1)
        for number, line in self._lines:
            self.complete = len(line)
            self.header = self._parse(line, number)
            _check_version(self.header, path)
            break

    def __iter__(self) -> Iterator[Record]:
        over = False  # since another run began
        for number, line in self._lines:
            self.complete += len(line)
            if over:
                continue
            try:
                entry = self._parse(line, number)
                if entry.get("format") == FORMAT:
                    self.problems.append(_second_run(entry, self.header, f"line {number} of {self.path}"))
                    over = True
                    continue
                record = _read_record(entry)
            except UserError as error:
                self.problems.append(str(error))
            except ValueError as error:
                self.problems.append(f"line {number} of {self.path} is not a record ({error}); delete that line")
            else:
                yield record

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            value = parse(line)
        except ValueError as error:
            raise UserError(f"line {number} of {self.path} is damaged ({error}); delete that line") from error
        if not isinstance(value, dict):
            raise UserError(f"line {number} of {self.path} is no JSON object; is this a records file?")
        return value


def _whole_lines(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror or error}") from error


def _check_version(header: Mapping[str, Any], path: Path) -> None:
    if header.get("format") != FORMAT:
        raise UserError(f"{path} is not a records file of unmask; choose another folder")
    if header.get("version") not in READ:
        raise UserError(
            f"{path} is of version {brief(header.get('version'))}, this unmask reads versions "
            f"{' and '.join(map(str, READ))}; choose another folder or a matching release"
        )


def read_records(path: Path) -> RecordsFile:
    """Read a records file, without half a line at its end. Raises UserError naming the file and the line."""
    found = RecordsReader(path)
    records = list(found)
    if found.problems:
        raise UserError(found.problems[0])
    return RecordsFile(found.header, records, found.complete)


def usable(path: Path, each: Callable[[Record], object]) -> Usable:
    """Hand over the records of a file, or of the folder that a bench left, one by one, and say what cannot be used.

    Nothing is kept of them. Raises UserError where nothing can be used: no header of this version, or no record.
    """
    path = find_records(path)
    found, count = RecordsReader(path), 0
    for record in found:
        each(record)
        count += 1
    if not count:
        raise UserError(f"{path} holds no record{f' ({found.problems[0]})' if found.problems else ''}")
    cut = [f"{path} ends in the middle of a line"] if path.stat().st_size > found.complete else []
    return Usable(RecordsFile(found.header, [], found.complete), [*found.problems, *cut])


def read_usable(path: Path) -> Usable:
    """The same with the records: a line that is damaged or cut is left out."""
    records: list[Record] = []
    found = usable(path, records.append)
    return found._replace(file=found.file._replace(records=records))


def _second_run(entry: Mapping[str, Any], header: Mapping[str, Any], where: str) -> str:
    names = [name for name in IDENTITY if _entry(entry, name) != _entry(header, name)]
    told = ", ".join(f"{name} {_entry(header, name)!r} before, {_entry(entry, name)!r} after" for name in names)
    return f"{where} begins a second run ({told or 'the same'}); put each run into a file of its own"


class Records:
    """An open records file: what is done, and a way to add to it. Use as a context manager."""

    def __init__(self, path: Path, header: dict[str, Any], overwrite: bool = False) -> None:
        """Start a file with `header`, or take up the one that is there if it is of the same run.

        Raises UserError if it is of another (see `IDENTITY`), unless `overwrite` says to start again.
        """
        self.path = path
        self.done: dict[Key, Record] = {}
        self._file = self._open()
        sweep(path.parent, "table.json", "summary.json", "report.md", "report.html")
        try:
            complete = 0
            if overwrite or not (found := read_records(path)).complete:
                check_ours(path)
            else:
                complete = found.complete
                _check_same_run(path, found.header, header)
                self.done = {record.key: record for record in found.records}
            self._file.truncate(complete)
        except BaseException:
            self._file.close()
            raise
        if not complete:
            self._write(header)

    def _open(self) -> TextIO:
        """Held by us before anything is read, so that nobody adds to it in between."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise could_not_write(self.path, error) from error
        while True:
            file = open_held(self.path, "a")
            if still_there(file, self.path):
                return file
            file.close()

    def add(self, records: Iterable[Record]) -> None:
        """Append records that are not there yet, and flush."""
        new = [record for record in records if record.key not in self.done]
        self._write(*(to_json(record) for record in new))
        self.done.update((record.key, record) for record in new)

    def check(self) -> None:
        """Raise UserError where the file was removed or replaced meanwhile."""
        if not still_there(self._file, self.path):
            raise UserError(
                f"{self.path} was removed or replaced while the run went on, and what it held is gone; start the run "
                "again, into a folder that stays"
            )

    def _write(self, *entries: Mapping[str, Any]) -> None:
        self.check()
        try:
            self._file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
            self._file.flush()
        except OSError as error:
            raise UserError(f"could not write {self.path}: {error.strerror}; free some space") from error

    def __enter__(self) -> "Records":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def to_json(record: Record) -> dict[str, Any]:
    """A plain object, without the fields that older files have not where they are empty."""
    entry = record._asdict()
    return {name: entry[name] for name in entry if name not in LATER or entry[name] is not None}


LATER = ("revealed_at", "shown", "reference")


def _check_same_run(path: Path, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    asked = json.loads(json.dumps(asked))
    names = [name for name in IDENTITY if _entry(known, name) != _entry(asked, name)]
    if names:
        told = ", ".join(f"{n} {_entry(known, n)!r} there, {_entry(asked, n)!r} here" for n in names)
        raise UserError(f"{path} is of another run ({told}); choose another folder or pass --overwrite")


def _entry(header: Mapping[str, Any], name: str) -> Any:
    config = header.get("config")
    return header[name] if name in header else config.get(name) if isinstance(config, dict) else None


def make_header(
    denoiser: TextDenoiser, config: Mapping[str, Any], data: str, asked: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The first line. data: checksum of the examples. asked: names and places, as the caller gave them."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "config": dict(config),
        "denoiser": denoiser_digest(denoiser),
        "data": data,
        "dtype": str(dtype_of(denoiser)).removeprefix("torch."),
        "asked": dict(asked or {}),
        **provenance(denoiser.device),
    }


def dtype_of(denoiser: TextDenoiser) -> torch.dtype:
    """The precision of the weights."""
    return next((weight.dtype for weight in denoiser.network.parameters()), torch.float32)


def provenance(device: torch.device | str) -> dict[str, Any]:
    """What a measurement was made with: package, commit (None outside a checkout), torch, device, threads."""
    device = torch.device(device)
    try:
        package: str | None = version("unmask")
    except PackageNotFoundError:
        package = None
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "package": package,
        "commit": commit(),
        "torch": torch.__version__,
        "device": named,
        "threads": torch.get_num_threads(),
    }


def commit() -> str | None:
    """The git commit this code runs from, with `-dirty` where it was edited; None outside a repository."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str | None:
        try:
            told = subprocess.run(
                ["git", *arguments], cwd=here.parent, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return told.stdout.strip()

    # an installed copy may stand inside a repository that is not ours: the file must be known to it
    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
