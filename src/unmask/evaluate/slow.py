"""Which one-position-per-step sampler is best on validation: what retention is measured by. Never found on test."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from unmask.core.digest import digest
from unmask.core.entries import at_least, reader
from unmask.core.errors import UserError
from unmask.core.files import read_json, write_json
from unmask.core.holding import Held, holding
from unmask.core.temporary import sweep
from unmask.core.typed import brief
from unmask.denoisers.digest import denoiser_digest
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.accuracy import deployed_accuracy
from unmask.evaluate.family import ONE_PER_STEP
from unmask.evaluate.records import Record, provenance, read_usable
from unmask.evaluate.spared import RECORDS
from unmask.evaluate.tune import ADAPTIVE
from unmask.evaluate.verify import examples_of
from unmask.samplers.base import Unmasker
from unmask.tasks.base import Task, checksum, whole_checksum

FILE, FORMAT, VERSION = "one-per-step.json", "unmask-one-per-step", 2
READ = (1, 2)  # versions; the first has a checksum of 200 examples alone
SPLIT = "validation"


class Order(Protocol):
    """What is needed of a learned order."""

    def unmasker(self, budget: int, one_per_step: bool = False) -> Unmasker:
        """The sampler for a budget."""
        ...


class Slow(NamedTuple):
    """sampler: a spec, or the label of a learned order. accuracy: on `n` validation problems, in 0..1."""

    sampler: str
    accuracy: float
    n: int


class Measured(NamedTuple):
    """An entry of the file. order: digest of the learned order, None for a heuristic."""

    sampler: str
    order: str | None
    accuracy: float
    n: int


_read_measured = reader(Measured, accuracy=lambda share: 0 <= share <= 1, n=at_least(1))


def best(found: Iterable[Slow]) -> Slow:
    """The most accurate, the first of equals."""
    return max(found, key=lambda each: each.accuracy)


def measure_slow(
    denoiser: TextDenoiser,
    task: Task,
    names: Sequence[str],
    orders: Mapping[str, Order],
    *,
    count: int,
    out: Path,
    seed: int = 0,
    held: Held | None = None,
) -> Slow:
    """Run each of `names`, specs or labels of orders, one position per step on validation, and choose the best.

    Leaves them all in `out/one-per-step.json`; what stands there of an earlier start is not measured again.
    held: `out`, where the caller holds it already.
    """
    path = out / FILE
    made = {"format": FORMAT, "version": VERSION, **_identity(denoiser, task), **_whole(task)}
    made |= {"count": count, "seed": seed}
    with holding(out, held) as folder:
        sweep(out, FILE)
        return _measure(denoiser, task, names, orders, path, made, count, seed, folder)


def _measure(
    denoiser: TextDenoiser,
    task: Task,
    names: Sequence[str],
    orders: Mapping[str, Order],
    path: Path,
    made: Mapping[str, object],
    count: int,
    seed: int,
    held: Held,
) -> Slow:
    known, length = _known(path, made), denoiser.response_length
    entries: list[Measured] = []
    for name in names:
        sampler = orders[name].unmasker(length, one_per_step=True) if name in orders else name
        order = None if isinstance(sampler, str) else digest(sampler)[:16]
        entry = known.get((name, order))
        if entry is None:
            reached = deployed_accuracy(denoiser, task, SPLIT, count, sampler, length, seed=seed)
            entry = Measured(name, order, reached.accuracy, reached.n)
        entries.append(entry)
        held.check()
        measured = [each._asdict() for each in entries]
        write_json(path, {**made, **provenance(denoiser.device), "measured": measured})
    return best(map(_slow, entries))


def _known(path: Path, made: Mapping[str, object]) -> dict[tuple[str, str | None], Measured]:
    """What an earlier start measured with the same denoiser on the same problems; damaged, it is measured again.

    Raises UserError where the file is somebody else's.
    """
    if not path.exists():
        return {}
    said = read_json(path)
    if said.get("format") != FORMAT:
        raise UserError(f"{path} was not written by unmask, so it is spared; choose another folder")
    if any(said.get(name) != value for name, value in made.items()):
        return {}
    try:
        return {(each.sampler, each.order): each for each in _measured(said)}
    except ValueError:
        return {}


def _measured(said: Mapping[str, Any]) -> list[Measured]:
    entries = said.get("measured")
    if not isinstance(entries, list):
        raise ValueError(f"measured cannot be {brief(entries)}")
    return [_read_measured(each) for each in entries]


def _slow(entry: Measured) -> Slow:
    return Slow(entry.sampler, entry.accuracy, entry.n)


def _identity(denoiser: TextDenoiser, task: Task) -> dict[str, Any]:
    """What must agree for an accuracy to be the same thing."""
    return {"task": task.name, "split": SPLIT, "data": checksum(task, SPLIT), "denoiser": denoiser_digest(denoiser)}


def _whole(task: Task) -> dict[str, Any]:
    """The same of all the data: records compare each example instead."""
    return {"examples": whole_checksum(task, SPLIT)}


def read_slow(path: Path, denoiser: TextDenoiser, task: Task) -> Slow:
    """The best in what an earlier run measured on validation: a folder, records or a one-per-step.json.

    Raises UserError if it is of another task, another denoiser or another split than validation, or holds no
    sampler at one position per step.
    """
    if path.is_dir():
        path = path / FILE if (path / FILE).is_file() else path / RECORDS
    if path.suffix == ".json":
        said = read_json(path)
        if said.get("format") != FORMAT or said.get("version") not in READ:
            raise UserError(f"{path} does not say what was measured one position per step; give a bench on {SPLIT}")
        _check(path, said, _identity(denoiser, task) | (_whole(task) if said["version"] == VERSION else {}))
        try:
            found = [_slow(each) for each in _measured(said)]
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}; measure again with --tune") from error
    else:
        file = read_usable(path).file
        config = file.header.get("config")
        _check(path, {**(config if isinstance(config, dict) else {}), **file.header}, _identity(denoiser, task))
        examples_of(task, SPLIT, file.records)
        found = slow_samplers(file.records, denoiser.response_length)
    if not found:
        raise UserError(f"{path} holds no sampler at one position per step; name some with --one-per-step there")
    return best(found)


def slow_samplers(records: Iterable[Record], response_length: int) -> list[Slow]:
    """What ran one position per step: fixed quotas with as many steps as positions, and orders made to.

    The accuracy is over all seeds. An adaptive sampler reveals as many as it likes, whatever its budget.
    """
    judged: dict[str, list[bool]] = {}
    for record in records:
        name = record.sampler.removesuffix(ONE_PER_STEP)
        slow = name != record.sampler if record.order else name.partition(":")[0] not in ADAPTIVE
        if slow and record.budget == response_length:
            judged.setdefault(name, []).append(record.correct)
    return [Slow(name, sum(right) / len(right), len(right)) for name, right in judged.items()]


def _check(path: Path, said: Mapping[str, object], identity: Mapping[str, object]) -> None:
    for name, value in identity.items():
        if said.get(name) != value:
            raise UserError(
                f"{path} cannot say which sampler is best on {SPLIT} here: "
                f"its {name} is {said.get(name)!r}, not {value!r}"
            )
