"""Sampler by budget by seed over a task: records as it goes, a table at the end."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from unmask.core.digest import digest, text_digest
from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.core.typed import brief
from unmask.denoisers.caches import make_cache
from unmask.denoisers.codec import OWN
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.family import ONE_PER_STEP
from unmask.evaluate.learnings import learnings_of, over_learnings, reported_only, to_json
from unmask.evaluate.meaning import named
from unmask.evaluate.pinned import Pinned, parse_pinned
from unmask.evaluate.problems import Problem, first_problems
from unmask.evaluate.records import Key, Record, make_header
from unmask.evaluate.shared_records import KnownRecords, gather_records, open_records
from unmask.evaluate.spared import check_spared, check_there
from unmask.evaluate.summary import write_summary
from unmask.evaluate.sweep import ADAPTIVE_OPTIONS, parse_sweep
from unmask.evaluate.table import TableRow, table, tested_seed, write_table
from unmask.samplers import make_sampler
from unmask.samplers.base import AnyUnmasker, Unmasker
from unmask.samplers.generate import Generation, check_exact, decode
from unmask.samplers.options import check_whole
from unmask.samplers.trace import make_trace
from unmask.tasks.base import Example, Task, checksum
from unmask.train.processes import Processes, lost_processes, open_processes

SHOWN = 8  # the first examples of the split, whose records hold all that a playback needs


class Order(Protocol):
    """What is needed of a learned order."""

    def unmasker(self, budget: int, one_per_step: bool = False) -> Unmasker:
        """The sampler for a budget; with `one_per_step` it reveals a single position at each step."""
        ...


class Progress(NamedTuple):
    """Where a bench stands. done of total examples of this cell are measured, `right` of them right."""

    sampler: str
    budget: int
    seed: int
    done: int
    total: int
    right: int


class Cell(NamedTuple):
    """One thing to run: a sampler, under the name the table gives it, at a budget. order: digest or None."""

    name: str
    budget: int
    unmasker: AnyUnmasker
    order: str | None = None


@lost_processes()
def bench(
    denoiser: TextDenoiser,
    task: Task,
    split: str,
    *,
    samplers: Sequence[str] = (),
    orders: Mapping[str, Order] | None = None,
    budgets: Sequence[int] = (),
    one_per_step: Sequence[str] = (),
    sweeps: Sequence[str] = (),
    against: str | None = None,
    slow: str | None = None,
    seeds: Sequence[int] = (0,),
    count: int = 500,
    out: Path,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    batch: int = 64,
    asked: Mapping[str, Any] | None = None,
    cache: str | None = None,
    exact: bool = False,
) -> list[TableRow]:
    """Measure samplers and learned orders on the same examples, at temperature 0.

    samplers: specs. With orders, each is run at the ceiling of every order's mean steps and at its maximum
        steps, for each budget; without, at the budgets. `SPEC@BUDGET` is run at that budget only (adaptive
        samplers, whose level sets their steps).
    orders: by the label they get in the table; run first, at every budget. Of those that differ only in the seed they
        were learned with, the one of seed 0 (or the first) is tested and sets the steps of the baselines.
    one_per_step: samplers and labels also run with as many steps as the response has positions.
    sweeps: `NAME.option=VALUES` (see `parse_sweep`): an adaptive sampler's whole curve, its budget the length of
        the response; other options are swept wherever the samplers run.
    against: the sampler or label the others are tested against, instead of the orders: see `table`.
    slow: the sampler or label that is best on validation at one position per step, which is run so too; the
        retention of every row is measured by it. It must not have been found on `split`.
    seeds: of the random draws. Mean and maximum steps are taken over all of them. Seed 0 is the one that is
        tested, or the first where it is not among them.
    asked: what else the header is to say, for a reader: where the denoiser and the orders came from.
    cache: an approximate cache (`denoisers/caches.py`) for everything; none unless given.
    exact: each problem by itself, so that no answer depends on `batch`, in any precision: see `decode`.

    Started as several processes (`train/processes.py`) each measures every so many'th batch, and the main one writes
    the records in the order in which it would have made them alone.

    Leaves `out/records.jsonl` (appended to as it goes; a second start does only what is missing),
    `out/table.json` and `out/summary.json`. Raises UserError on bad input, before anything is run, or if `out` is
    of another run.
    """
    orders = orders or {}
    curves = [parse_sweep(text) for text in sweeps]
    pinned = [parse_pinned(text) for text in samplers]
    pinned += [each for curve in curves for each in curve.pinned(denoiser.response_length)]
    one_per_step = list(dict.fromkeys([*one_per_step, *([slow] if slow else [])]))
    seeds = list(dict.fromkeys(seeds))
    check_whole("batch", batch, 1)
    _check(denoiser, pinned=pinned, orders=orders, budgets=budgets, one_per_step=one_per_step, seeds=seeds)
    reference = _reference(against, pinned=pinned, orders=orders, one_per_step=one_per_step)
    problems = first_problems(denoiser, task, split, count)
    learnings = learnings_of(orders)
    beside = reported_only(learnings)
    config = {
        "task": task.name,
        "split": split,
        "response_length": denoiser.response_length,
        "temperature": 0.0,
        "count": count,
        "left_out": problems.left_out,
        "samplers": list(samplers),
        "orders": list(orders),
        "learning_seeds": {label: learning.seed for label, learning in learnings.items()},
        "budgets": list(budgets),
        "one_per_step": list(one_per_step),
        "sweeps": list(sweeps),
        "against": against,
        "slow": slow,
        "seeds": list(seeds),
        "tested_seed": tested_seed(seeds),
        "batch": batch,
    }
    if cache is not None:
        make_cache(cache)  # what is wrong with it shows before anything is run
        config["cache"] = cache
    if exact:
        check_exact(denoiser, exact)
        config["exact"] = True
    if denoiser.codec.template != OWN:
        config["template"] = denoiser.codec.template_name
    header = make_header(denoiser, config, checksum(task, split), asked)
    check_spared(out, overwrite)
    processes = open_processes(str(denoiser.device.type))
    with open_records(processes, out / "records.jsonl", header, overwrite) as records:
        run = _Run(
            denoiser,
            task,
            problems=problems.chosen,
            seeds=seeds,
            batch=batch,
            records=records,
            progress=progress,
            cache=cache,
            exact=exact,
            processes=processes,
        )
        wanted: dict[tuple[str, int], None] = {}  # an ordered set: the rows of the table
        steps = [] if orders else list(budgets)
        for label, order in orders.items():
            for budget in budgets:
                taken = run.cell(order_cell(label, order, budget))
                wanted[label, budget] = None
                if label in beside:
                    continue
                steps += [-(-sum(taken) // len(taken)), max(taken)]
        for spec, own in pinned:
            for budget in [own] if own else sorted(set(steps)):
                run.cell(heuristic_cell(spec, budget, denoiser))
                wanted[spec, budget] = None
        for name in one_per_step:
            cell = one_per_step_cell(name, orders, denoiser)
            run.cell(cell)
            wanted[cell.name, cell.budget] = None
        rows = table(
            (run.found(name, budget, seed) for name, budget in wanted for seed in seeds),
            against=reference,
            swept=ADAPTIVE_OPTIONS | {curve.swept for curve in curves},
            slow=_one_per_step_name(slow, orders, denoiser) if slow else None,
            untested=beside,
        )
    learned = to_json(over_learnings(rows, learnings))
    more = {"against": against, "retention_of": slow, "learnings": learned}
    processes.on_main(lambda: check_there(out))
    processes.on_main(lambda: write_table(out / "table.json", rows))
    processes.on_main(lambda: write_summary(out / "summary.json", rows, more))
    return rows


def _check(
    denoiser: TextDenoiser,
    *,
    pinned: Sequence[Pinned],
    orders: Mapping[str, Order],
    budgets: Sequence[int],
    one_per_step: Sequence[str],
    seeds: Sequence[int],
) -> None:
    """Everything that can be wrong before the first denoiser call."""
    for spec in [*(each.spec for each in pinned), *(name for name in one_per_step if name not in orders)]:
        make_sampler(spec, denoiser.codec.end_tokens)
        if spec in orders:
            raise UserError(f"`{spec}` is a sampler, so no learned order can be called that; choose another label")
    for budget in budgets:
        check_whole("budget", budget, 1)
    if not seeds:
        raise UserError("there is no seed to run with; give at least one, e.g. 0")
    if not (pinned or orders or one_per_step):
        raise UserError("there is nothing to measure; name a sampler or an order. hint: `unmask list samplers`")
    if not budgets and (orders or any(each.budget is None for each in pinned)):
        raise UserError("there is no budget to run at; give at least one, e.g. 4")


def _reference(
    against: str | None, *, pinned: Sequence[Pinned], orders: Mapping[str, Order], one_per_step: Sequence[str]
) -> Pinned | None:
    """What the rows are tested against, if it is among what is run."""
    if against is None:
        return None
    reference = parse_pinned(against)
    specs = dict.fromkeys([*orders, *(each.spec for each in pinned), *one_per_step])
    labels = [name + ONE_PER_STEP for name in one_per_step if name in orders]
    bare = [spec.partition(":")[0] for spec in specs]
    if reference.spec in bare and reference.spec not in specs:
        return reference  # stands for the sampler with any options
    if (same := named(reference.spec, [*specs, *labels])) is not None:
        return reference._replace(spec=same)
    check_name(reference.spec, dict.fromkeys([*specs, *labels, *bare]), "sampler of this bench")
    return reference


def order_cell(label: str, order: Order, budget: int) -> Cell:
    """A learned order at a budget."""
    unmasker = order.unmasker(budget)
    return Cell(label, budget, unmasker, digest(unmasker)[:16])


def heuristic_cell(spec: str, budget: int, denoiser: TextDenoiser) -> Cell:
    """A sampler from its spec at a budget."""
    return Cell(spec, budget, make_sampler(spec, denoiser.codec.end_tokens))


def one_per_step_cell(name: str, orders: Mapping[str, Order], denoiser: TextDenoiser) -> Cell:
    """A sampler or an order with as many steps as the response has positions."""
    label = _one_per_step_name(name, orders, denoiser).spec
    if name not in orders:
        return heuristic_cell(label, denoiser.response_length, denoiser)
    unmasker = orders[name].unmasker(denoiser.response_length, one_per_step=True)
    return Cell(label, denoiser.response_length, unmasker, digest(unmasker)[:16])


def _one_per_step_name(name: str, orders: Mapping[str, Order], denoiser: TextDenoiser) -> Pinned:
    """What the table calls it."""
    return Pinned(name + ONE_PER_STEP if name in orders else name, denoiser.response_length)


def changes(record: Record, task: Task, example: Example) -> str:
    """What of an example is not what it was when a record was made; empty where it is the same as far as is known.

    A record of an older file does not say what the right answer was: its judgement is compared instead.
    """
    if record.prompt != text_digest(example.prompt):
        return "another prompt"
    known = record.reference is not None
    same = record.reference == example.answer if known else record.correct == task.correct(record.text, example)
    return "" if same else f"another right answer ({brief(example.answer)}{f', not {brief(record.reference)}' * known})"


class _Run:
    """What all cells share; runs them one at a time."""

    def __init__(
        self,
        denoiser: TextDenoiser,
        task: Task,
        *,
        problems: Iterable[Problem],
        seeds: Sequence[int],
        batch: int,
        records: KnownRecords,
        progress: Callable[[Progress], None] | None,
        cache: str | None,
        exact: bool,
        processes: Processes,
    ) -> None:
        self.denoiser, self.task, self.seeds, self.records = denoiser, task, seeds, records
        self.progress, self.cache, self.exact, self.processes = progress, cache, exact, processes
        # Batches depend on the examples only, not on what is done: a resumed run makes the same ones.
        ordered = sorted(problems, key=lambda problem: (problem.prompt_tokens, problem.row))
        self.batches = [ordered[start : start + batch] for start in range(0, len(ordered), batch)]
        self.shown = {problem.row for problem in sorted(ordered, key=lambda problem: problem.row)[:SHOWN]}
        self.warm = False

    def cell(self, cell: Cell) -> list[int]:
        """Run a cell with every seed, where it is not done; the steps of all its rows."""
        missing = []
        for seed in self.seeds:
            for problems in self.batches:
                keys = [Key(cell.name, cell.budget, seed, problem.example.id) for problem in problems]
                for key, problem in zip(keys, problems, strict=True):
                    self._check_known(cell, key, problem)
                if any(key not in self.records.done for key in keys):
                    missing.append((seed, problems))
        world = self.processes.world  # a batch for each process, then the records in the order one would have made them
        for start in range(0, len(missing), world):
            mine = self.processes.share(missing[start : start + world])
            found: list[Record] = []
            for seed, problems in mine:
                self._warm_up(cell)
                found += self._measure(cell, seed, problems)
            for records in gather_records(self.processes, found):
                self.records.add(records)
            self._report(cell, missing[start][0])
        return [record.steps for seed in self.seeds for record in self.found(cell.name, cell.budget, seed)]

    def found(self, name: str, budget: int, seed: int) -> list[Record]:
        """The records of a cell so far, in the order of the batches."""
        keys = (Key(name, budget, seed, problem.example.id) for problems in self.batches for problem in problems)
        return [self.records.done[key] for key in keys if key in self.records.done]

    def _check_known(self, cell: Cell, key: Key, problem: Problem) -> None:
        """Raise UserError where an earlier start ran another order, or had another question or answer under this id."""
        known = self.records.done.get(key)
        if known is None:
            return
        if changed := changes(known, self.task, problem.example):
            raise UserError(
                f"{self.records.path} holds an answer to `{key.id}`, which has {changed} now; "
                "choose another folder for other data, or pass --overwrite"
            )
        if known.order != cell.order:
            raise UserError(
                f"{self.records.path} holds `{cell.name}` at {cell.budget} steps of another learned order; "
                "choose another folder or label, or pass --overwrite"
            )

    def _warm_up(self, cell: Cell) -> None:
        """One pass before the first that is timed: allocators and kernels are set up once per process."""
        if not self.warm:
            prompts = [problem.example.prompt for problem in self.batches[0]]
            decode(self.denoiser, prompts, budget=1, split_special_tokens=True)
            self.warm = True

    def _measure(self, cell: Cell, seed: int, problems: Sequence[Problem]) -> list[Record]:
        began = time.perf_counter()
        generations = decode(
            self.denoiser,
            [problem.example.prompt for problem in problems],
            sampler=cell.unmasker,
            budget=cell.budget,
            seed=seed,
            batch=len(problems),
            rows=[problem.row for problem in problems],
            cache=self.cache,
            exact=self.exact,
            split_special_tokens=True,
        )
        seconds = (time.perf_counter() - began) / len(problems)
        return [
            Record(
                sampler=cell.name,
                budget=cell.budget,
                seed=seed,
                id=problem.example.id,
                prompt=text_digest(problem.example.prompt),
                text=generation.text or "",
                answer=self.task.extract(generation.text or ""),
                correct=self.task.correct(generation.text or "", problem.example),
                reference=problem.example.answer,
                steps=generation.steps,
                nfe=generation.nfe,
                written=generation.written,
                content=generation.content,
                seconds=round(seconds, 6),
                order=cell.order,
                revealed_at=" ".join(map(str, generation.revealed_at)),
                shown=self._shown(generation) if problem.row in self.shown else None,
            )
            for problem, generation in zip(problems, generations, strict=True)
        ]

    def _shown(self, generation: Generation) -> dict[str, Any]:
        """What `Record.shown` holds."""
        trace = make_trace(generation, self.denoiser.codec, sampler="", budget=0)
        return {name: getattr(trace, name) for name in ("prompt", "tokens", "probability", "ends")}

    def _report(self, cell: Cell, seed: int) -> None:
        if self.progress is not None:
            found = self.found(cell.name, cell.budget, seed)
            total = sum(map(len, self.batches))
            right = sum(record.correct for record in found)
            self.progress(Progress(cell.name, cell.budget, seed, len(found), total, right))
