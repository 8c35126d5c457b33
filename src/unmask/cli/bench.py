"""`unmask bench`: measure samplers and learned orders on the same problems."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from unmask.cli import catalogue
from unmask.cli.common import PATH, PATH_WORD, SAME_COMMAND, WHOLE, WORD, Machine, check_number, default, say, tell_json
from unmask.cli.orders import load_orders
from unmask.cli.verify import verify_records
from unmask.core.errors import UserError
from unmask.core.holding import Held, NotHeld, hold
from unmask.core.registry import check_name
from unmask.evaluate.pinned import parse_pinned
from unmask.evaluate.spared import MADE, check_spared

if TYPE_CHECKING:
    from unmask.denoisers.folder import TextDenoiser
    from unmask.evaluate.bench import Progress
    from unmask.evaluate.table import TableRow
    from unmask.evaluate.tune import Trial, Tuned
    from unmask.orders.folder import LearnedOrder
    from unmask.tasks.base import Task
    from unmask.train.line import Line

DEFAULT_SAMPLERS = ("iid", "random", "left-to-right", "top-prob", "margin", "entropy")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure samplers and learned orders on the same problems; a second start does only what is missing.

    Leaves OUT/records.jsonl (one line per answer) and OUT/table.json, and prints the table. With orders, every sampler
    runs at each order's mean steps, rounded up, and at its maximum.

    example: unmask bench --denoiser wordprob --task wordprob --budgets 2 4 8 --out runs/bench

    example: unmask bench --denoiser wordprob --task wordprob --orders runs/order --budgets 4 --tune --out runs/fair

    example: unmask bench --denoiser wordprob --task wordprob --sweep threshold.level=0.5:0.95:0.05 --out runs/curve

    example: unmask bench --verify runs/bench
    """

    denoiser: Annotated[str | None, WORD, default("required; with --verify that of the records")] = None
    """A bundled name (`unmask list denoisers`), a folder, or owner/name on the hub."""
    task: Annotated[str | None, WORD, default("required; with --verify that of the records")] = None
    """Where the problems come from: see `unmask list tasks`."""
    out: Annotated[Path | None, PATH, default("required, but for --verify")] = None
    """Folder of the records."""
    data: Annotated[str | None, PATH_WORD, default("none")] = None
    """File or folder the task reads, if it reads one."""
    split: Annotated[str, WORD] = "test"
    """Which problems of the task."""
    samplers: tuple[str, ...] = DEFAULT_SAMPLERS
    """Samplers as NAME:key=value,...; NAME@STEPS runs at that budget only. See `unmask list samplers`."""
    orders: Annotated[tuple[str, ...], default("none")] = ()
    """Folders of learned orders, as DIR or LABEL=DIR."""
    budgets: tuple[int, ...] = (4,)
    """The most steps a response may take; each is a row of the table."""
    one_per_step: Annotated[tuple[str, ...], default("none")] = ()
    """Samplers, and labels of orders, to run with one position per step as well."""
    sweep: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, default("none")] = ()
    """A sampler over many values of an option: NAME.option=0.5,0.7 or NAME.option=0.5:0.95:0.05. Repeatable."""
    against: Annotated[str | None, WORD, default("the learned orders")] = None
    """The sampler or label all others are tested against, as NAME or NAME@STEPS."""
    retention_from: Annotated[Path | None, PATH, default("none; with --tune measured")] = None
    """A bench on validation that says which one-per-step sampler is best: accuracy is shown as a share of its own."""
    seeds: Annotated[tuple[int, ...], default("that of --seed")] = ()
    """Seeds of the random draws; 0, or else the first, is the one that is tested."""
    count: Annotated[int, WHOLE] = 500
    """How many problems."""
    tune: bool = False
    """Give each sampler its best block, end-of-text rule and level on validation first (minutes to hours)."""
    tune_count: Annotated[int, WHOLE] = 500
    """Validation problems to tune on."""
    template: Annotated[str | None, WORD, default("the denoiser's own")] = None
    """How prompts are written: bare, as they are; chat, by the checkpoint's chat template; or a text with {prompt}."""
    batch: Annotated[int, WHOLE] = 64
    """Problems decoded together. In bfloat16 and float16 it may turn near ties: see --exact."""
    exact: bool = False
    """Each problem by itself: no answer depends on --batch, in any precision. Not with --compile; --tune is without."""
    cache: Annotated[str | None, WORD, default("none")] = None
    """Approximate cache: prefix-approximate:refresh=N or dual-approximate:window=N,refresh=N. --tune runs without."""
    compile: bool = False
    """Compile the denoiser: faster after about a minute, needs a C++ compiler. Near ties may turn."""
    json: bool = False
    """Print the rows as JSON instead of the table."""
    overwrite: bool = False
    """Start anew where OUT holds the records of another run."""
    verify: Annotated[Path | None, PATH, default("none")] = None
    """Measure nothing: run ten records of this folder again; the exit code is 1 if any comes out otherwise."""
    machine: Machine = field(default_factory=Machine)

    def check(self) -> None:
        """Raise UserError on what can be seen to be wrong before anything is loaded."""
        if self.verify is not None:
            self.machine.apply()
            return
        for name in ("denoiser", "task", "out"):
            given(self, name)
        check_name(given(self, "task"), catalogue.tasks(), "task", hint="unmask list tasks")
        check_number("--count", self.count, 1)
        check_number("--tune-count", self.tune_count, 1)
        check_number("--batch", self.batch, 1)
        for budget in self.budgets:
            check_number("--budgets", budget, 1)
        for seed in self.seeds:
            check_number("--seeds", seed, 0)
        catalogue.check_samplers(*(parse_pinned(text).spec for text in self.samplers))
        if self.sweep:
            from unmask.evaluate.sweep import parse_sweep

            for text in self.sweep:
                parse_sweep(text)
        if self.tune:
            for name in self.samplers:
                if name not in catalogue.samplers():
                    raise UserError(f"--tune picks the options itself: give bare names, not `{name}`")
        if self.cache is not None:
            from unmask.denoisers.caches import make_cache

            make_cache(self.cache)
        if self.exact and self.compile:
            raise UserError("--exact does not go with --compile: compiled code rounds as its first shapes want it")
        self.machine.apply()
        check_records_folder(given(self, "out"), self.overwrite)

    @property
    def when_stopped(self) -> str:
        """What is true after Ctrl-C."""
        return "" if self.verify is not None else f"{SAME_COMMAND} the last answers in {self.out}"

    def run(self) -> None:
        """Tune if asked to, measure, print."""
        self.check()
        if self.verify is not None:
            verify_records(self.verify, self.denoiser, self.task, self.data, self.orders, self.machine, self.json)
            return
        from unmask.denoisers.compiled import compiled
        from unmask.denoisers.hub import load_denoiser
        from unmask.evaluate.bench import bench
        from unmask.tasks import make_task
        from unmask.tasks.base import check_split
        from unmask.train.line import Line
        from unmask.train.processes import open_processes

        name, task_name, out = (given(self, each) for each in ("denoiser", "task", "out"))
        task = make_task(task_name, self.data)
        check_split(self.split, task)
        processes = open_processes(self.machine.device)
        orders = load_orders(self.orders, processes.device)
        denoiser = load_denoiser(
            name, processes.device, self.machine.torch_dtype, template=self.template,
            ignore_extra=self.machine.ignore_extra,
        )  # fmt: skip
        denoiser = compiled(denoiser) if self.compile else denoiser
        # from the first problem of validation to the last of the table: a second start is refused at once
        with processes.on_main(lambda: hold(out)) or NotHeld() as held:
            slow = processes.from_main(lambda: self.slow(denoiser, task, orders, held))
            samplers = list(self.samplers)
            if self.tune:
                samplers = processes.from_main(lambda: self.tuned(denoiser, task, orders, held))
            with Line("bench") if processes.is_main else nullcontext() as line:
                rows = bench(
                    denoiser,
                    task,
                    self.split,
                    samplers=samplers,
                    orders=orders,
                    budgets=self.budgets,
                    one_per_step=self.one_per_step,
                    sweeps=self.sweep,
                    against=self.against,
                    slow=slow,
                    seeds=self.seeds or (self.machine.seed,),
                    count=self.count,
                    out=out,
                    overwrite=self.overwrite,
                    progress=None if line is None else partial(show, line),
                    batch=self.batch,
                    asked={"denoiser": name, "orders": list(self.orders)}
                    | {flag: getattr(self, flag) for flag in ("data", "tune", "compile")}
                    | ({} if self.template is None else {"template": self.template}),
                    cache=self.cache,
                    exact=self.exact,
                )
        if not processes.is_main:
            return
        print_rows(rows, self.json, orders)
        if self.against is not None and all(row.versus is None for row in rows):
            name = self.against.partition("@")[0]
            say(f"note: no row takes as many steps as `{name}`, so nothing is tested; {name}@STEPS tests every row")

    def slow(
        self, denoiser: "TextDenoiser", task: "Task", orders: "Mapping[str, LearnedOrder]", held: Held
    ) -> str | None:
        """The sampler that is best on validation at one position per step, if that is known or can be measured."""
        from unmask.evaluate.slow import measure_slow, read_slow
        from unmask.samplers import SAMPLERS, make_sampler

        if self.retention_from is not None:
            found = read_slow(self.retention_from, denoiser, task).sampler
            if found not in orders and found.partition(":")[0] not in SAMPLERS:
                raise UserError(
                    f"`{found}` is best on validation in {self.retention_from}, and is no sampler: "
                    f"name that order with --orders {found}=DIR"
                )
            return found
        if not (self.tune and self.one_per_step):
            return None
        for name in self.one_per_step:
            if name not in orders:
                make_sampler(name, denoiser.codec.end_tokens)
        best = measure_slow(
            denoiser, task, self.one_per_step, orders, count=self.tune_count, out=held.folder, held=held
        )
        return best.sampler

    def tuned(
        self, denoiser: "TextDenoiser", task: "Task", orders: "Mapping[str, LearnedOrder]", held: Held
    ) -> list[str]:
        """The best settings of every sampler at the steps each order takes on validation, or at the budgets."""
        from unmask.evaluate.accuracy import deployed_accuracy
        from unmask.evaluate.tune import bench_samplers, tune
        from unmask.train.line import Line

        goals: list[tuple[float, int]] = [] if orders else [(float(budget), budget) for budget in self.budgets]
        for order in orders.values():
            for budget in self.budgets:
                taken = deployed_accuracy(
                    denoiser, task, "validation", self.tune_count, order, budget, batch=self.batch
                )
                goals.append((taken.steps_mean, taken.steps_max))
        chosen: dict[str, None] = {}
        with Line("tune") as line:
            for number, (mean, most) in enumerate(goals):
                found: dict[str, Tuned] = tune(
                    denoiser,
                    task,
                    self.samplers,
                    target_steps=mean,
                    max_steps=most,
                    count=self.tune_count,
                    out=held.folder,
                    overwrite=self.overwrite and number == 0,
                    held=held,
                    progress=lambda trial: show_trial(line, trial),
                    batch=self.batch,
                )
                chosen |= dict.fromkeys(bench_samplers(found))
        return list(chosen)


def check_records_folder(out: Path, overwrite: bool = False, made: Sequence[str] = MADE) -> None:
    """Raise UserError if `out` is the folder of something that is no bench, or holds files that none left."""
    if (out / "run.json").is_file() or (out / "model.safetensors").is_file():
        raise UserError(f"{out} is the folder of another run; choose another folder for the records")
    check_spared(out, overwrite, made)


def given(command: Bench, name: str) -> Any:
    """The value of a flag that can be left out with --verify only."""
    value = getattr(command, name)
    if value is None:
        raise UserError(f"missing --{name}; hint: `unmask bench --help`")
    return value


def show(line: "Line", at: "Progress") -> None:
    """A line on where the bench stands."""
    share = f"{100 * at.right / at.done:.1f} %" if at.done else ""
    line.show(at.done, f"{at.sampler} @{at.budget} seed {at.seed}  {share}", at.total)


def show_trial(line: "Line", trial: "Trial") -> None:
    """A line on what was tried last."""
    spec, budget = trial.candidate
    line.show(trial.done, f"{spec} @{budget}  {100 * trial.accuracy.accuracy:.1f} %", trial.done)


def print_rows(rows: "list[TableRow]", as_json: bool, orders: "Mapping[str, LearnedOrder]") -> None:
    """The table and what its rows come to, or the rows as JSON, on stdout."""
    from unmask.evaluate.fitted import show as show_table
    from unmask.evaluate.learnings import learnings_of, over_learnings, render_learnings
    from unmask.evaluate.summary import render_families, render_seeds
    from unmask.evaluate.table import print_table, to_json

    if as_json:
        tell_json(to_json(rows))
        return
    print_table(rows, to="stdout")
    learned = render_learnings(over_learnings(rows, learnings_of(orders)))
    for more in (render_families(rows), render_seeds(rows), learned):
        if more is not None:
            show_table(more, "stdout")
