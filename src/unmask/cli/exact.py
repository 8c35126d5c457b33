"""`unmask exact`: the suite where the best order is known, and how close a learner comes to it."""

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from unmask.cli.catalogue import exact_families, exact_instances
from unmask.cli.common import NUMBER, PATH, SAME_COMMAND, WHOLE, check_number, default, say, tell_json
from unmask.core.entries import at_least, parse_object, reader
from unmask.core.errors import UserError
from unmask.core.files import could_not_write, write_text
from unmask.core.holding import Held, NotHeld, hold
from unmask.core.registry import check_name
from unmask.core.temporary import sweep
from unmask.core.typed import brief

if TYPE_CHECKING:
    from unmask.exact.gap import Cell, Summary

FORMAT, VERSION = "unmask-exact", 1
QUICK_SECONDS = 5.0
INSTANCES = exact_instances()  # of each family


@dataclass(frozen=True)
class Job:
    """One cell to measure."""

    family: str
    number: int
    steps: int
    seed: int
    seconds: float
    updates: int | None


def run_job(job: Job) -> "Cell":
    """In a process of its own, on one core."""
    import torch

    from unmask.exact.gap import measure

    torch.set_num_threads(1)
    return measure(job.family, job.number, job.steps, seed=job.seed, seconds=job.seconds, updates=job.updates)


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Learn orders for short texts whose best order is known, and say how much of the gap they close.

    For each instance and number of steps: the exact NLL of every heuristic at its best level, the best static,
    deterministic and randomised order, and a learned one. Gap closed: 0 % is the best heuristic, 100 % the best
    randomised order there is. near-best: the share of the states it reaches from which on it costs at most 0.01
    nats more than the best. Records go to OUT/exact.jsonl; started again with the same settings,
    only what is missing is measured.

    example: unmask exact --quick

    example: unmask exact --families gate hmm --steps 3 --jobs 2 --out runs/exact
    """

    families: tuple[str, ...] = ()
    """Families of distributions (default: all of them)."""
    steps: tuple[int, ...] = (2, 3, 4)
    """Most steps a text may take."""
    instances: Annotated[int, WHOLE] = INSTANCES
    """Instances of each family."""
    seconds: Annotated[float, NUMBER] = 20.0
    """How long to learn on each instance, on one core."""
    updates: Annotated[int | None, WHOLE, default("as many as the seconds allow")] = None
    """How many updates to make instead: slower machines take longer and find the same."""
    jobs: Annotated[int, WHOLE] = 1
    """Instances learned side by side, each in a process with one core."""
    quick: bool = False
    """A small share: one instance a family, 2 and 3 steps, 5 seconds each."""
    out: Annotated[Path | None, PATH, default("keep no records")] = None
    """Folder for the records."""
    overwrite: bool = False
    """Start anew."""
    seed: Annotated[int, WHOLE] = 0
    """What every random draw of the learner derives from."""
    json: bool = False
    """Print the cells as a JSON list."""

    def check(self) -> None:
        """Raise UserError on what can be seen to be wrong before anything is measured."""
        for family in self.families:
            check_name(family, exact_families(), "family")
        check_number("--instances", self.instances, 1, 1_000)
        check_number("--seconds", self.seconds, 0.1)
        check_number("--jobs", self.jobs, 1)
        check_number("--jobs", self.jobs, 1, max(256, os.cpu_count() or 1))  # each is a process
        check_number("--seed", self.seed, 0)
        if self.updates is not None:
            check_number("--updates", self.updates, 1)
        for steps in self.steps:
            check_number("--steps", steps, 1, 4)  # the shortest texts of the suite have four positions

    @property
    def when_stopped(self) -> str:
        """What is true after Ctrl-C."""
        if self.out is None:
            return "nothing is kept; with --out DIR each cell is, and a second start measures what is missing"
        return f"{SAME_COMMAND} the last cell in {self.out}"

    def run(self) -> None:
        """Measure what is missing, and print the table."""
        self.check()
        from unmask.exact.gap import summaries
        from unmask.train.line import Line

        wanted = self.jobs_wanted()
        with CellRecords(self.out, self.settings(), self.overwrite) as records:
            missing = [job for job in wanted if (job.family, job.number, job.steps) not in records.cells]
            with Line("exact", len(wanted), len(wanted) - len(missing)) as line:
                for cell in measured(missing, self.jobs):
                    records.add(cell)
                    closed = "" if cell.closed is None else f"{100 * cell.closed:.0f} % closed"
                    line.show(len(records.cells), f"{cell.family} {cell.number} @{cell.steps}  {closed}")
        cells = [records.cells[job.family, job.number, job.steps] for job in wanted]
        if self.json:
            tell_json([cell.to_dict() for cell in cells])
        else:
            print_summaries(summaries(cells))

    def settings(self) -> dict[str, Any]:
        """What a record depends on, besides its cell."""
        from unmask.exact.recipe import RECIPE

        length = {"updates": self.updates} if self.updates is not None else {"seconds": self.learning_time}
        return {"seed": self.seed, **length, "recipe": asdict(RECIPE)}

    @property
    def learning_time(self) -> float:
        """Seconds for each instance."""
        return min(self.seconds, QUICK_SECONDS) if self.quick else self.seconds

    def jobs_wanted(self) -> list[Job]:
        """Every cell, family by family."""
        instances = 1 if self.quick else self.instances
        steps = tuple(number for number in self.steps if number <= 3) or self.steps if self.quick else self.steps
        return [
            Job(family, number, count, self.seed, self.learning_time, self.updates)
            for family in self.families or exact_families()
            for number in range(instances)
            for count in sorted(set(steps))
        ]


def measured(jobs: Sequence[Job], processes: int) -> "Iterator[Cell]":
    """The cells as they are done."""
    import torch

    if processes == 1:
        threads = torch.get_num_threads()
        try:
            yield from map(run_job, jobs)
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(min(processes, max(len(jobs), 1)), mp_context=get_context("spawn")) as pool:
        with ignoring_interrupts():  # what is started ignores them too: one answer to Ctrl-C is enough
            waiting: list[Future[Cell]] = [pool.submit(run_job, job) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            for process in active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Have Ctrl-C do nothing for a moment, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class CellRecords:
    """OUT/exact.jsonl: a header, then a line per cell, appended as it is measured. Without a folder nothing is kept.

    A context manager, which holds the folder.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any], overwrite: bool) -> None:
        self.path = None if folder is None else folder / "exact.jsonl"
        self.cells: dict[tuple[str, int, int], Cell] = {}
        self._held: Held = NotHeld()
        if folder is None or self.path is None:
            return
        self._held = hold(folder)
        try:
            sweep(folder, self.path.name)
            self._begin(self.path, settings, overwrite)
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> "CellRecords":
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def _begin(self, path: Path, settings: dict[str, Any], overwrite: bool) -> None:
        from unmask.evaluate.records import provenance

        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        header = self._header(path, lines[0]) if lines else {}
        if not lines or overwrite:
            header = {"format": FORMAT, "version": VERSION, "settings": settings, **provenance("cpu")}
            write_text(path, json.dumps(header) + "\n")
            return
        known = header.get("settings")
        if header.get("version") != VERSION or known != json.loads(json.dumps(settings)):
            raise UserError(
                f"{path} was made with other settings ({brief(known)}); choose another folder or --overwrite"
            )
        self._read(path, lines)

    def _header(self, path: Path, line: bytes) -> dict[str, Any]:
        try:
            header = parse_object(line)
        except ValueError:
            header = {}
        if header.get("format") != FORMAT:
            raise UserError(f"{path} is no record of `unmask exact`, so it is spared; choose another folder")
        return header

    def _read(self, path: Path, lines: list[bytes]) -> None:
        from unmask.exact.gap import Cell

        whole = dict.fromkeys(("number", "steps", "seed", "updates", "seconds"), at_least(0))
        read, names, kept = reader(Cell, **whole), Cell.__dataclass_fields__, 0
        for line in lines[1:]:
            try:
                entry = parse_object(line)
                cell = read({name: entry[name] for name in names if name in entry})
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self.cells[cell.family, cell.number, cell.steps] = cell
            kept += 1
        if kept < len(lines) - 1:
            say(f"{path}: line {kept + 2} is damaged; it and what follows is measured again")
            write_text(path, b"".join(lines[: kept + 1]).decode())

    def add(self, cell: "Cell") -> None:
        """Keep a cell."""
        self.cells[cell.family, cell.number, cell.steps] = cell
        if self.path is None:
            return
        self._held.check()
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(cell.to_dict()) + "\n")
        except OSError as error:
            raise could_not_write(self.path, error) from error


def print_summaries(rows: "Sequence[Summary]") -> None:
    """The table, on stdout."""
    from unmask.evaluate.fitted import Sheet, show

    heads = {
        "family": None, "cells": 1, "counted": 0, "median": None, "worst": None, "to deterministic": 2, "near-best": 3,
        "nats over entropy": 4, "lost": None,
    }  # fmt: skip
    cells = [
        (
            row.name, str(row.cells), str(row.counted),
            *("" if x is None else f"{100 * x:.1f} %" for x in (row.median, row.smallest, row.to_deterministic)),
            f"{100 * row.near_best:.1f} %", f"{row.excess:.4f}", str(row.lost),
        )
        for row in rows
    ]  # fmt: skip
    title = "gap closed between the best heuristic (0 %) and the best randomised order (100 %)"
    show(Sheet.of(heads, cells, title, [row.name == "all" for row in rows]), "stdout")
