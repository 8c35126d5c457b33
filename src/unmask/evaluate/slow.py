"""Which one-position-per-step sampler is best on validation: what retention is measured by. Never found on test."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from unmask.core.errors import UserError
from unmask.core.files import read_json, write_json
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.accuracy import deployed_accuracy
from unmask.evaluate.family import ONE_PER_STEP
from unmask.evaluate.records import RECORDS, Record, denoiser_digest, digest, provenance, read_usable
from unmask.evaluate.tune import ADAPTIVE
from unmask.samplers.base import Unmasker
from unmask.tasks.base import Task, checksum

FILE, FORMAT, VERSION = "one-per-step.json", "unmask-one-per-step", 1
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
) -> Slow:
    """Run each of `names`, specs or labels of orders, one position per step on validation, and choose the best.

    Leaves them all in `out/one-per-step.json`; what stands there of an earlier start is not measured again.
    """
    length, path = denoiser.response_length, out / FILE
    made = {"format": FORMAT, "version": VERSION, **_identity(denoiser, task), "count": count, "seed": seed}
    known = _known(path, made)
    entries: list[dict[str, Any]] = []
    for name in names:
        sampler = orders[name].unmasker(length, one_per_step=True) if name in orders else name
        order = None if isinstance(sampler, str) else digest(sampler)[:16]
        entry = known.get((name, order))
        if entry is None:
            reached = deployed_accuracy(denoiser, task, SPLIT, count, sampler, length, seed=seed)
            entry = {"sampler": name, "order": order, "accuracy": reached.accuracy, "n": reached.n}
        entries.append(entry)
        write_json(path, {**made, **provenance(denoiser.device), "measured": entries})
    return best(map(_slow, entries))


def _known(path: Path, made: Mapping[str, object]) -> dict[tuple[str, str | None], dict[str, Any]]:
    """What an earlier start measured with the same denoiser on the same problems."""
    try:
        said = read_json(path)
        if any(said.get(name) != value for name, value in made.items()):
            return {}
        return {(each["sampler"], each["order"]): {**each, **_slow(each)._asdict()} for each in said["measured"]}
    except (UserError, KeyError, TypeError, ValueError):  # none, or damaged: it is measured again
        return {}


def _slow(entry: Mapping[str, Any]) -> Slow:
    return Slow(entry["sampler"], float(entry["accuracy"]), int(entry["n"]))


def _identity(denoiser: TextDenoiser, task: Task) -> dict[str, Any]:
    """What must agree for an accuracy to be the same thing."""
    return {"task": task.name, "split": SPLIT, "data": checksum(task, SPLIT), "denoiser": denoiser_digest(denoiser)}


def read_slow(path: Path, denoiser: TextDenoiser, task: Task) -> Slow:
    """The best in what an earlier run measured on validation: a folder, records or a one-per-step.json.

    Raises UserError if it is of another task, another denoiser or another split than validation, or holds no
    sampler at one position per step.
    """
    if path.is_dir():
        path = path / FILE if (path / FILE).is_file() else path / RECORDS
    if path.suffix == ".json":
        said = read_json(path)
        if said.get("format") != FORMAT or said.get("version") != VERSION:
            raise UserError(f"{path} does not say what was measured one position per step; give a bench on {SPLIT}")
        _check(path, said, denoiser, task)
        try:
            found = [_slow(each) for each in said["measured"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged: an entry lacks {error}; measure again with --tune") from error
    else:
        file = read_usable(path).file
        config = file.header.get("config")
        _check(path, {**(config if isinstance(config, dict) else {}), **file.header}, denoiser, task)
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


def _check(path: Path, said: Mapping[str, object], denoiser: TextDenoiser, task: Task) -> None:
    for name, value in _identity(denoiser, task).items():
        if said.get(name) != value:
            raise UserError(
                f"{path} cannot say which sampler is best on {SPLIT} here: "
                f"its {name} is {said.get(name)!r}, not {value!r}"
            )
