"""Give each heuristic its best block, end-of-text rule and level, on validation: what a fair table compares with.

Successive halving: every candidate on a few problems, the best few on all of them. Whatever is measured is kept in
tuning.json and never measured again.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.entries import at_least, reader
from unmask.core.errors import UserError
from unmask.core.files import read_json, write_json
from unmask.core.holding import Held, holding
from unmask.core.registry import check_sampler_name
from unmask.core.temporary import sweep
from unmask.core.typed import brief
from unmask.denoisers.digest import denoiser_digest
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.accuracy import Accuracy, deployed_accuracy
from unmask.evaluate.records import provenance
from unmask.samplers import SAMPLERS
from unmask.tasks.base import Task, check_split, checksum, whole_checksum

FILE, FORMAT, VERSION = "tuning.json", "unmask-tuning", 2

# Samplers whose option sets the number of steps, with values from few steps to many.
ADAPTIVE: dict[str, tuple[str, tuple[float, ...]]] = {
    "threshold": ("level", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)),
    "frontier": ("level", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)),
    "factor": ("factor", (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.03)),
    "entropy-bounded": ("bound", (3.0, 1.0, 0.5, 0.3, 0.1, 0.03, 0.01, 0.003)),
    "klass": ("level", (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)),
    "slowfast": ("level", (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)),
    "wino": ("draft", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)),
}
# Both meanings of a rule that are in use: the candidates of the moment share the quota, or the ends rank last.
END_OPTIONS = ("", "eot=defer", "eot=tail", "eot=defer,pace=true", "eot=tail,pace=true")
BLOCKS = (8, 16, 24)
TOLERANCE = 0.05  # steps by which a mean may pass what it was to match
WRITE_EVERY = 2.0  # seconds between writes of tuning.json: what a kill may cost
SLACK = 0.25  # the same on the few problems of the first round
HALVINGS = 2  # of the gap between two levels of the table on either side of a goal
IN_BLOCKS = 4  # best settings of an adaptive sampler that are tried in blocks too


class Candidate(NamedTuple):
    """A spec, as `make_sampler` reads it, at a budget."""

    spec: str
    budget: int


class Choice(NamedTuple):
    """The best candidate at a number of steps, with what it reached on validation."""

    spec: str
    budget: int
    accuracy: float
    steps_mean: float
    n: int


class Tuned(NamedTuple):
    """A heuristic's best settings: at the target mean steps, and at the most steps."""

    mean: Choice
    most: Choice


class Trial(NamedTuple):
    """One measurement for the progress callback: `done` candidates so far, this one last."""

    candidate: Candidate
    accuracy: Accuracy
    done: int


def tune(
    denoiser: TextDenoiser,
    task: Task,
    names: Sequence[str],
    *,
    target_steps: float,
    max_steps: int,
    split: str = "validation",
    count: int = 500,
    out: Path,
    first: int = 100,
    keep: int = 8,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[Trial], None] | None = None,
    batch: int = 64,
    held: Held | None = None,
) -> dict[str, Tuned]:
    """The best settings of each named heuristic at a mean of `target_steps` and at `max_steps`.

    Fixed-quota samplers run at the budgets ceil(target_steps) and max_steps, with every block and end rule.
    Adaptive ones (`ADAPTIVE`) sweep their level, end rule, pace and budget; those whose measured mean steps pass
    the target by more than `TOLERANCE` are out. The most accurate wins, then the one with fewer steps.

    first, keep: problems of the first round, and how many candidates go on to all `count`.
    batch: problems decoded together; in bfloat16 and float16 it may turn near ties, see `decode`.
    held: `out`, where the caller holds it already; else no other process may write there for the while.
    Leaves `out/tuning.json` with every candidate; a second start measures only what is missing.
    Raises UserError on bad input, or if `out` holds the tuning of something else.
    """
    for name in names:
        check_sampler_name(name, SAMPLERS)
    check_split(split, task)
    if not 1 <= target_steps <= max_steps:
        raise UserError(f"target steps must lie between 1 and max steps, got {target_steps} and {max_steps}")
    if min(count, first, keep) < 1:
        raise UserError(f"count, first and keep must be at least 1, got {count}, {first} and {keep}")
    identity = {
        "task": task.name,
        "split": split,
        "data": checksum(task, split),
        "examples": whole_checksum(task, split),
        "denoiser": denoiser_digest(denoiser),
        "response_length": denoiser.response_length,
        "seed": seed,
    }
    with holding(out, held) as folder:
        sweep(out, FILE)
        ledger = _Ledger(out / FILE, identity, provenance(denoiser.device), overwrite)

        def measure(candidate: Candidate, problems: int) -> Accuracy:
            known = ledger.get(candidate, problems)
            if known is None:
                folder.check()
                known = deployed_accuracy(denoiser, task, split, problems, *candidate, seed=seed, batch=batch)
                ledger.add(candidate, problems, known)
                if progress is not None:
                    progress(Trial(candidate, known, len(ledger.measured)))
            return known

        search = _Search(measure, min(first, count), count, keep, denoiser.response_length)
        try:
            tuned = {name: search.best(name, target_steps, max_steps) for name in names}
        finally:
            ledger.write()
        ledger.choose(target_steps, max_steps, tuned)
        return tuned


def bench_samplers(tuned: Mapping[str, Tuned]) -> list[str]:
    """What to give `bench`: fixed-quota settings as they are, adaptive ones pinned to their budget."""
    chosen: dict[str, None] = {}
    for name, settings in tuned.items():
        for choice in settings:
            chosen[f"{choice.spec}@{choice.budget}" if name in ADAPTIVE else choice.spec] = None
    return list(chosen)


def write_spec(name: str, *options: str) -> str:
    """`NAME:key=value,...` from options that may be empty."""
    return ":".join(filter(None, (name, ",".join(filter(None, options)))))


def end_options(name: str) -> tuple[str, ...]:
    """The end rules that go with a sampler: none with one that re-masks."""
    return ("",) if hasattr(SAMPLERS[name], "edit") else END_OPTIONS


def block_options(response_length: int) -> list[str]:
    """No block, the usual ones that are shorter than the response, and half of it."""
    sizes = {size for size in (*BLOCKS, response_length // 2) if 1 <= size < response_length}
    return ["", *(f"block={size}" for size in sorted(sizes))]


def fixed_candidates(name: str, budget: int, response_length: int) -> list[Candidate]:
    """Every block with every end rule."""
    return [
        Candidate(write_spec(name, block, end), budget)
        for block, end in product(block_options(response_length), end_options(name))
    ]


def adaptive_lines(name: str, target: float, most: int, response_length: int) -> list[list[Candidate]]:
    """Sweeps of the level, from few steps to many: one for each end rule, pace and budget.

    Budgets: the floor of each goal, so that something always stays within it, its ceiling, twice that, and as
    many as the response has positions, where only the level decides.
    """
    option, levels = ADAPTIVE[name]
    around = {budget for goal in (target, most) for budget in (int(goal), math.ceil(goal), 2 * math.ceil(goal))}
    budgets = sorted({budget for budget in around if budget < response_length} | {response_length})
    return [
        [Candidate(write_spec(name, f"{option}={level}", end), budget) for level in levels]
        for budget, end in product(budgets, (*END_OPTIONS, "pace=true") if len(end_options(name)) > 1 else ("",))
        if budget < response_length or "pace" not in end  # one position a step is revealed anyway
    ]


def half_way(candidate: Candidate, other: Candidate) -> Candidate:
    """The candidate with its level half-way to that of `other`."""
    head, comma, rest = candidate.spec.partition(",")
    option, _, level = head.rpartition("=")
    beyond = other.spec.partition(",")[0].rpartition("=")[2]
    return Candidate(f"{option}={(float(level) + float(beyond)) / 2:.6g}{comma}{rest}", candidate.budget)


def in_blocks(candidate: Candidate, response_length: int) -> list[Candidate]:
    """The candidate with each block."""
    return [
        Candidate(f"{candidate.spec},{block}", candidate.budget) for block in block_options(response_length) if block
    ]


@dataclass(frozen=True)
class _Search:
    """Successive halving over the candidates of one sampler: `first` problems for all, `count` for `keep`."""

    measure: Callable[[Candidate, int], Accuracy]
    first: int
    count: int
    keep: int
    response_length: int

    def best(self, name: str, target: float, most: int) -> Tuned:
        """The best settings at both goals."""
        if name in ADAPTIVE:
            candidates = self._sweep(name, target, most)
            return Tuned(self._pick(candidates, target), self._pick(candidates, most))
        at_mean = fixed_candidates(name, math.ceil(target), self.response_length)
        at_most = fixed_candidates(name, most, self.response_length)
        return Tuned(self._pick(at_mean, math.ceil(target)), self._pick(at_most, most))

    def _sweep(self, name: str, target: float, most: int) -> list[Candidate]:
        """Each line up to where its steps pass both goals, levels just within a goal, and the best in blocks."""
        tried: dict[Candidate, None] = {}
        for line in adaptive_lines(name, target, most, self.response_length):
            swept = []
            for candidate in line:
                swept.append(candidate)
                if self._steps(candidate) > most + SLACK:
                    break
            tried.update(dict.fromkeys(swept))
            for goal in (target, most):
                tried.update(dict.fromkeys(self._close_in(swept, goal)))
        best = {
            candidate: None
            for goal in (target, most)
            for candidate in self._within(tried, self.first, goal + TOLERANCE)[:IN_BLOCKS]
        }
        for candidate in best:
            tried.update(dict.fromkeys(in_blocks(candidate, self.response_length)))
        return list(tried)

    def _close_in(self, line: Sequence[Candidate], goal: float) -> Iterator[Candidate]:
        """Halve the gap between the last level within the goal and the first beyond it."""
        for pair in pairwise(line):
            within, beyond = pair
            if self._steps(within) <= goal + TOLERANCE < self._steps(beyond):
                for _ in range(HALVINGS):
                    middle = half_way(within, beyond)
                    yield middle
                    fits = self._steps(middle) <= goal + TOLERANCE
                    within, beyond = (middle, beyond) if fits else (within, middle)

    def _steps(self, candidate: Candidate) -> float:
        return self.measure(candidate, self.first).steps_mean

    def _within(self, candidates: Iterable[Candidate], problems: int, limit: float) -> list[Candidate]:
        """Those with mean steps of at most `limit`, the most accurate first, then those with fewer steps."""
        measured = [(candidate, self.measure(candidate, problems)) for candidate in candidates]
        fair = [(candidate, result) for candidate, result in measured if result.steps_mean <= limit]
        fair.sort(key=lambda pair: (-pair[1].accuracy, pair[1].steps_mean))
        return [candidate for candidate, _ in fair]

    def _pick(self, candidates: Sequence[Candidate], goal: float) -> Choice:
        """The best of the finalists on all problems.

        A mean just beyond the goal on the few problems may be within it on all of them, and the other way round.
        So half as many again are taken from those within it, and the best of those that cannot pass it, their
        budget being the limit.
        """
        ranked = self._within(candidates, self.first, goal + SLACK)
        within = self._within(candidates, self.first, goal + TOLERANCE)
        safe = next(candidate for candidate in ranked if candidate.budget <= goal)
        finalists = dict.fromkeys([*ranked[: self.keep], *within[: self.keep // 2], safe])
        winner = self._within(finalists, self.count, goal + TOLERANCE)[0]
        result = self.measure(winner, self.count)
        return Choice(winner.spec, winner.budget, result.accuracy, result.steps_mean, result.n)


class _Tried(NamedTuple):
    """A line of tuning.json: a candidate, and what it reached on so many problems."""

    spec: str
    budget: int
    problems: int
    accuracy: float
    steps_mean: float
    steps_min: int
    steps_max: int
    nfe: float
    n: int


class _Choices(NamedTuple):
    """Another: what was chosen for a pair of goals."""

    target_steps: float
    max_steps: int
    samplers: dict[str, Any]


_read_tried = reader(
    _Tried, accuracy=lambda share: 0 <= share <= 1,
    **dict.fromkeys(("budget", "problems", "steps_mean", "steps_min", "steps_max", "nfe", "n"), at_least(0)),
)  # fmt: skip
_read_choices = reader(_Choices)


class _Ledger:
    """tuning.json: what was measured, and what was chosen."""

    def __init__(self, path: Path, identity: Mapping[str, Any], made_with: Mapping[str, Any], overwrite: bool) -> None:
        self.path, self.identity, self.made_with = path, identity, made_with
        self.measured: dict[tuple[Candidate, int], Accuracy] = {}
        self.choices: list[dict[str, Any]] = []
        self._written = 0.0
        if path.exists():
            self._read(overwrite)

    def _read(self, overwrite: bool) -> None:
        found = read_json(self.path)
        if found.get("format") != FORMAT:
            raise UserError(f"{self.path} is no tuning record of unmask, so it is spared; choose another folder")
        if overwrite:
            return
        if found.get("version") != VERSION:
            raise UserError(
                f"{self.path} is a tuning record of version {brief(found.get('version'))}, this unmask goes on with "
                f"version {VERSION}; choose another folder or --overwrite"
            )
        known = found.get("identity")
        known = known if isinstance(known, dict) else {}
        names = sorted(name for name, value in self.identity.items() if known.get(name) != value)
        if names:
            told = ", ".join(f"{name} {brief(known.get(name))} there, {self.identity[name]!r} here" for name in names)
            raise UserError(f"{self.path} is the tuning of another run ({told}); choose another folder or --overwrite")
        try:
            for each in map(_read_tried, found["candidates"]):
                accuracy = Accuracy(*(getattr(each, name) for name in Accuracy._fields))
                self.measured[Candidate(each.spec, each.budget), each.problems] = accuracy
            self.choices = [_read_choices(each)._asdict() for each in found["choices"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.path} is damaged: an entry: {error}; delete it to tune again") from error

    def get(self, candidate: Candidate, problems: int) -> Accuracy | None:
        """What was measured on so many problems."""
        return self.measured.get((candidate, problems))

    def add(self, candidate: Candidate, problems: int, accuracy: Accuracy) -> None:
        """Keep a measurement; on disk too, if the last time was a while ago."""
        self.measured[candidate, problems] = accuracy
        if time.monotonic() - self._written > WRITE_EVERY:
            self.write()

    def choose(self, target: float, most: int, tuned: Mapping[str, Tuned]) -> None:
        """Keep the choices of these goals, in place of earlier ones of the same goals."""
        others = [c for c in self.choices if (c["target_steps"], c["max_steps"]) != (target, most)]
        samplers = {name: {goal: choice._asdict() for goal, choice in settings._asdict().items()}
                    for name, settings in tuned.items()}  # fmt: skip
        self.choices = [*others, {"target_steps": target, "max_steps": most, "samplers": samplers}]
        self.write()

    def write(self) -> None:
        """Replace the file."""
        self._written = time.monotonic()
        candidates = [
            {**candidate._asdict(), "problems": problems, **accuracy._asdict()}
            for (candidate, problems), accuracy in self.measured.items()
        ]
        write_json(
            self.path,
            {
                "format": FORMAT,
                "version": VERSION,
                "identity": dict(self.identity),
                **self.made_with,
                "choices": self.choices,
                "candidates": candidates,
            },
        )
