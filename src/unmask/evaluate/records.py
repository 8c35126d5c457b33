"""records.jsonl: one line per answer, appended as they come, so that a killed run loses at most a batch.

    {"format": "unmask-records", "version": 1, "config": {...}, "package": "0.1.0", "commit": "1f0c...", ...}
    {"sampler": "margin", "budget": 4, "seed": 0, "id": "wordprob/test/0", "prompt": "9b1d...", ...}

The first line says what the others were measured with. A line counts once its newline is on disk: what a kill
left of the last one is dropped and measured again.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

import torch
from torch import nn

from unmask.core.errors import UserError
from unmask.core.files import open_held
from unmask.denoisers.codec import CHAT
from unmask.denoisers.folder import TextDenoiser

FORMAT, VERSION = "unmask-records", 1
RECORDS = "records.jsonl"
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


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _numbers(value: Any) -> bool:
    return value is None or (isinstance(value, str) and all(word.isdecimal() for word in value.split()))


GOOD: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("sampler", "id", "prompt", "text"), lambda value: isinstance(value, str)),
    **dict.fromkeys(("budget", "seed", "steps", "nfe", "written", "content"), _whole),
    **dict.fromkeys(("answer", "order"), lambda value: isinstance(value, str | None)),
    "correct": lambda value: isinstance(value, bool),
    "seconds": lambda value: isinstance(value, int | float),
    "revealed_at": _numbers,
    "shown": lambda value: isinstance(value, dict | None),
}


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


def read_records(path: Path) -> RecordsFile:
    """Read a records file, without half a line at its end. Raises UserError naming the file and the line."""
    file, problems = _read(path)
    if problems:
        raise UserError(problems[0])
    return file


def read_usable(path: Path) -> Usable:
    """Read the records of a file, or of the folder that a bench left, that can be read, and say what cannot.

    A line that is damaged or cut is left out; where another run begins in the middle, it and all after it is.
    Raises UserError where nothing can be used: no header of this version, or no record.
    """
    path = find_records(path)
    usable = _read(path)
    if not usable.file.records:
        raise UserError(f"{path} holds no record{f' ({usable.problems[0]})' if usable.problems else ''}")
    size = path.stat().st_size
    cut = [f"{path} ends in the middle of a line"] if size > usable.file.complete else []
    return usable._replace(problems=[*usable.problems, *cut])


def _read(path: Path) -> Usable:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror or error}") from error
    complete = data.rfind(b"\n") + 1
    lines = data[:complete].split(b"\n")[:-1]
    if not lines:
        return Usable(RecordsFile({}, [], 0), [])
    header = _parse(lines[0], path, 1)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} is not a records file of unmask; choose another folder")
    if header.get("version") != VERSION:
        raise UserError(
            f"{path} is of version {header.get('version')!r}, this unmask reads version {VERSION}; "
            "choose another folder or a matching release"
        )
    records: list[Record] = []
    problems = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            entry = _parse(line, path, number)
            if entry.get("format") == FORMAT:
                problems.append(_second_run(entry, header, f"line {number} of {path}"))
                break
            records.append(_record(entry, f"line {number} of {path}"))
        except UserError as error:
            problems.append(str(error))
    return Usable(RecordsFile(header, records, complete), problems)


def _second_run(entry: Mapping[str, Any], header: Mapping[str, Any], where: str) -> str:
    names = [name for name in IDENTITY if _entry(entry, name) != _entry(header, name)]
    told = ", ".join(f"{name} {_entry(header, name)!r} before, {_entry(entry, name)!r} after" for name in names)
    return f"{where} begins a second run ({told or 'the same'}); put each run into a file of its own"


def _record(entry: dict[str, Any], where: str) -> Record:
    """One record. Raises UserError if a field is missing, unknown or of the wrong kind."""
    try:
        record = Record(**entry)
    except TypeError as error:
        raise UserError(f"{where} is not a record ({error}); delete that line") from error
    wrong = next((name for name, good in GOOD.items() if not good(getattr(record, name))), None)
    if wrong is not None:
        raise UserError(f"{where} is not a record ({wrong} cannot be {getattr(record, wrong)!r}); delete that line")
    return record


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"line {number} of {path} is damaged ({error}); delete that line") from error
    if not isinstance(value, dict):
        raise UserError(f"line {number} of {path} is no JSON object; is this a records file?")
    return value


class Records:
    """An open records file: what is done, and a way to add to it. Use as a context manager."""

    def __init__(self, path: Path, header: dict[str, Any], overwrite: bool = False) -> None:
        """Start a file with `header`, or take up the one that is there if it is of the same run.

        Raises UserError if it is of another (see `IDENTITY`), unless `overwrite` says to start again.
        """
        self.path = path
        self.done: dict[Key, Record] = {}
        complete = 0
        if path.exists() and not overwrite:
            found = read_records(path)
            complete = found.complete
            if complete:
                _check_same_run(path, found.header, header)
            self.done = {record.key: record for record in found.records}
        self._file = self._open(complete)
        if not complete:
            self._write(header)

    def _open(self, complete: int) -> TextIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open_held(self.path, "a")
            file.truncate(complete)
            return file
        except OSError as error:
            raise UserError(f"could not write {self.path}: {error.strerror or error}") from error

    def add(self, records: Iterable[Record]) -> None:
        """Append records that are not there yet, and flush."""
        new = [record for record in records if record.key not in self.done]
        self._write(*(to_json(record) for record in new))
        self.done.update((record.key, record) for record in new)

    def _write(self, *entries: Mapping[str, Any]) -> None:
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
    """A plain object, without the fields for pictures where they are empty."""
    entry = record._asdict()
    return {name: entry[name] for name in entry if name not in ("revealed_at", "shown") or entry[name] is not None}


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


def text_digest(text: str) -> str:
    """Sixteen hex digits of the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def denoiser_digest(denoiser: TextDenoiser) -> str:
    """sha256 of the weights and of how text is read: two denoisers with the same digest answer alike."""
    codec = denoiser.codec
    names = [codec.mask, codec.end, codec.pad, codec.template, *codec.stops]
    if codec.template == CHAT and codec.chat is not None:
        names += [codec.chat.source, *(word for pair in codec.chat.tokens for word in pair)]
    return digest([denoiser.network, codec.tokenizer.to_str(), names])


def digest(value: object) -> str:
    """sha256 of what a sampler or a network is made of: weights, options, nested in any way.

    Functions count by name only. The device does not matter.
    """
    state = hashlib.sha256()
    _feed(state.update, value)
    return state.hexdigest()


def _feed(update: Callable[[bytes], None], value: object) -> None:
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        update(f"{value.dtype}{list(value.shape)}".encode())
        update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    elif isinstance(value, nn.Module):
        _feed(update, [type(value).__qualname__, getattr(value, "config", None), dict(value.state_dict())])
    elif is_dataclass(value) and not isinstance(value, type):
        told = [f for f in fields(value) if "since" not in f.metadata or getattr(value, f.name) != f.default]
        _feed(update, [type(value).__qualname__, {f.name: getattr(value, f.name) for f in told}])
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _feed(update, (str(key), value[key]))
    elif isinstance(value, list | tuple):
        update(f"({len(value)}".encode())
        for item in value:
            _feed(update, item)
    elif callable(value):
        update(f"{getattr(value, '__qualname__', type(value).__qualname__)};".encode())
    else:
        update(f"{type(value).__name__}:{value!r};".encode())
