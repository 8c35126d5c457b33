"""Run records again, a few chosen at random, and see whether the same text comes out in as many steps."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from unmask.core.errors import UserError
from unmask.denoisers.digest import denoiser_digest
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.bench import Cell, Order, changes, heuristic_cell, one_per_step_cell, order_cell
from unmask.evaluate.family import ONE_PER_STEP
from unmask.evaluate.records import Record
from unmask.samplers.generate import decode
from unmask.tasks.base import Example, Task, checksum

COUNT, SEED = 10, 0
SEARCHED = 100_000  # examples looked through for those that are run again
SAME = ("text", "steps", "nfe")


class Replay(NamedTuple):
    """A record and what came out this time."""

    record: Record
    text: str
    steps: int
    nfe: int

    @property
    def differences(self) -> list[str]:
        """What is not the same, a phrase each; empty where the record is reproduced."""
        return [
            f"{name} {getattr(self.record, name)!r} there, {getattr(self, name)!r} here"
            for name in SAME
            if getattr(self.record, name) != getattr(self, name)
        ]


def choose(records: Sequence[Record], count: int = COUNT, seed: int = SEED) -> list[Record]:
    """`count` of the records, all if there are fewer: the same ones however the file is ordered."""
    ordered = sorted(records, key=lambda record: record.key)
    return random.Random(seed).sample(ordered, min(count, len(ordered)))


def verify(
    denoiser: TextDenoiser,
    task: Task,
    header: Mapping[str, Any],
    records: Sequence[Record],
    orders: Mapping[str, Order] | None = None,
    progress: Callable[[Replay], None] | None = None,
) -> list[Replay]:
    """Run every one of `records` again, each by itself, as `header` says they were made.

    orders: by the label they have in the records. Raises UserError, before anything is run, if the denoiser, the
    data or an order is not the one of the records.
    """
    config = header.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("split"), str):
        raise UserError("the records do not say which split they are of, so they cannot be run again")
    _check_same("task", config.get("task"), task.name)
    _check_same("denoiser", header.get("denoiser"), denoiser_digest(denoiser))
    _check_same("data", header.get("data"), checksum(task, config["split"]))
    _check_same("response_length", config.get("response_length"), denoiser.response_length)
    cells = [_cell(record, orders or {}, denoiser) for record in records]
    found = examples_of(task, config["split"], records)
    replays = []
    for record, cell in zip(records, cells, strict=True):
        row, example = found[record.id]
        (again,) = decode(
            denoiser, [example.prompt], sampler=cell.unmasker, budget=cell.budget, seed=record.seed, rows=[row],
            cache=config.get("cache"), exact=config.get("exact") is True, split_special_tokens=True,
        )  # fmt: skip
        replays.append(Replay(record, again.text or "", again.steps, again.nfe))
        if progress is not None:
            progress(replays[-1])
    return replays


def _check_same(name: str, there: object, here: object) -> None:
    if there != here:
        raise UserError(f"this is not the {name} of the records: {there!r} there, {here!r} here")


def _cell(record: Record, orders: Mapping[str, Order], denoiser: TextDenoiser) -> Cell:
    if record.order is None:
        return heuristic_cell(record.sampler, record.budget, denoiser)
    label = record.sampler.removesuffix(ONE_PER_STEP)
    if label not in orders:
        raise UserError(f"the records hold the learned order `{label}`; say where it is: --orders {label}=DIR")
    if label == record.sampler:
        cell = order_cell(label, orders[label], record.budget)
    else:
        cell = one_per_step_cell(label, orders, denoiser)
    if cell.order != record.order:
        raise UserError(f"`{label}` is not the learned order of the records ({record.order} there, {cell.order} here)")
    return cell


def examples_of(task: Task, split: str, records: Sequence[Record]) -> dict[str, tuple[int, Example]]:
    """The example of every record with its place in the split, which its random draws depend on.

    Raises UserError if the split has it not, or has another prompt or answer under its id.
    """
    wanted = {record.id for record in records}
    found: dict[str, tuple[int, Example]] = {}
    examples = task.examples(split)
    for row in range(min(len(examples), SEARCHED)):
        if len(found) == len(wanted):
            break
        example = examples[row]
        if example.id in wanted:
            found[example.id] = row, example
    for record in records:
        if record.id not in found:
            raise UserError(f"{task.name}/{split} has no example `{record.id}`; are these records of other data?")
        if changed := changes(record, task, found[record.id][1]):
            raise UserError(f"`{record.id}` has {changed} now; are these records of other data?")
    return found
