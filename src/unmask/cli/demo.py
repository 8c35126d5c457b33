"""`unmask demo`: learn an order for the bundled denoiser and measure what it buys, offline."""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from unmask import __version__
from unmask.cli.bench import check_records_folder, show
from unmask.cli.catalogue import presets
from unmask.cli.common import SAME_COMMAND, WHOLE, WORD, Machine, check_number, say
from unmask.cli.learn import describe, learn_order
from unmask.core.files import write_text
from unmask.core.registry import check_name
from unmask.evaluate.spared import MADE

if TYPE_CHECKING:
    from unmask.denoisers.codec import Codec
    from unmask.denoisers.folder import TextDenoiser
    from unmask.evaluate.table import TableRow
    from unmask.orders.folder import LearnedOrder
    from unmask.samplers.generate import Generation
    from unmask.tasks.base import Example, Task
    from unmask.train.learn_config import LearnConfig

HEURISTICS = ("iid", "left-to-right", "top-prob", "margin", "threshold:level=0.9")
RULE_PROBLEMS = 150  # of validation, to choose decode rules by
ONE_PER_STEP = ("top-prob", "left-to-right", "learned")


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The whole story on this machine, offline, in minutes: learn an order, then measure it against the heuristics.

    Leaves OUT/report.html (all of it, for a browser), OUT/report.md, OUT/table.json, OUT/records.jsonl and the learned
    order in OUT/learn/order. Stopped and started again it goes on where it was.

    example: unmask demo

    example: unmask demo --count 100 --out runs/quick
    """

    out: Path = Path("runs/demo")
    """Folder of what the demo makes."""
    count: Annotated[int, WHOLE] = 500
    """Test problems to measure on; none of them, nor their numbers, was trained on."""
    denoiser: Annotated[str, WORD] = "wordprob"
    """Denoiser to learn an order for."""
    preset: Annotated[str, WORD] = "demo"
    """Settings to learn with: see `unmask list presets`."""
    overwrite: bool = False
    """Start anew."""
    machine: Machine = field(default_factory=Machine)

    def check(self) -> None:
        """Raise UserError on what can be seen to be wrong before anything is loaded."""
        check_number("--count", self.count, 1)
        check_name(self.preset, presets("learn"), "preset", hint="unmask list presets")
        self.machine.apply()
        check_records_folder(self.out, self.overwrite, (*MADE, "report.md", "report.html"))

    @property
    def when_stopped(self) -> str:
        """What is true after Ctrl-C."""
        return f"{SAME_COMMAND} where it was"

    def run(self) -> None:
        """Learn, measure, report."""
        self.check()
        from unmask.denoisers.hub import load_denoiser
        from unmask.evaluate.bench import bench
        from unmask.evaluate.table import print_table
        from unmask.samplers.generate import decode
        from unmask.tasks import make_task
        from unmask.train.line import Line
        from unmask.train.precision import resolve_precision
        from unmask.train.presets import learn_preset
        from unmask.view.page import render, write_page
        from unmask.view.source import load

        config = learn_preset(self.preset)
        precision = resolve_precision(config.precision, self.machine.device)
        config = replace(config, seed=self.machine.seed, device=self.machine.device, precision=precision)
        task = make_task(config.task)
        machine = self.machine
        denoiser = load_denoiser(
            self.denoiser, machine.device, machine.torch_dtype, ignore_extra=machine.ignore_extra
        )
        order = self.learned(denoiser, config, task)
        say(f"measuring it on {self.count} test problems")
        with Line("bench") as line:
            rows = bench(
                denoiser,
                task,
                "test",
                samplers=[*HEURISTICS, *(f"{name}@{budget}" for name in HEURISTICS for budget in config.budgets)],
                orders={"learned": order},
                budgets=config.budgets,
                one_per_step=ONE_PER_STEP,
                seeds=(self.machine.seed,),
                count=self.count,
                out=self.out,
                overwrite=self.overwrite,
                progress=lambda at: show(line, at),
            )
        example = task.examples("test")[0]
        budget = sorted(config.budgets)[len(config.budgets) // 2]
        shown = decode(denoiser, [example.prompt], sampler=order, budget=budget, seed=self.machine.seed)[0]
        write_text(self.out / "report.md", report(rows, order, denoiser, example, shown))
        print_table(rows, to="stdout")
        for sentence in verdicts(rows):
            say(sentence)
        write_page(self.out / "report.html", render(load(self.out), self.out.name))
        say(f"wrote {self.out / 'report.md'} and {self.out / 'table.json'}")
        say(f"open {self.out / 'report.html'} in a browser: accuracy, orders, and texts being written")

    def learned(self, denoiser: "TextDenoiser", config: "LearnConfig", task: "Task") -> "LearnedOrder":
        """The order, learned now or by an earlier start."""
        from unmask.denoisers.digest import denoiser_digest
        from unmask.orders.folder import load_order
        from unmask.tasks.base import checksums

        made = self.out / "learn" / "order"
        if not self.overwrite and (made / "config.json").is_file():
            known = load_order(made).card
            made_with = {"denoiser": denoiser_digest(denoiser), "examples": checksums(task, "train", "validation")}
            if (known.get("learn"), known.get("made_with")) == (json.loads(json.dumps(asdict(config))), made_with):
                say(f"taking the order learned by an earlier start from {made}")
                return load_order(made, config.device)
        say(f"learning an order for `{self.denoiser}` from scratch (log: {self.out / 'learn' / 'log.jsonl'})")
        began = time.monotonic()
        folder = self.out / "learn"
        order = learn_order(denoiser, config, folder, overwrite=self.overwrite, rule_count=RULE_PROBLEMS).order
        say(f"learned an order in {(time.monotonic() - began) / 60:.1f} minutes")
        return order


def verdicts(rows: "list[TableRow]") -> list[str]:
    """For each budget of the learned order: how it compares with the best heuristic at as many steps."""
    told = []
    for row in rows:
        against = [
            (other, other.versus)
            for other in rows
            if other.versus is not None and (other.versus.sampler, other.versus.budget) == (row.sampler, row.budget)
        ]
        if row.learned and against:
            best, versus = max(against, key=lambda pair: pair[0].accuracy)
            told.append(
                f"{row.sampler} at {row.steps_mean:.2f} steps: {percent(row)}; the best heuristic there, "
                f"{best.sampler} at {best.steps_mean:.2f}: {percent(best)}; {versus.points:+.1f} points, "
                f"p = {versus.p:.2g}"
            )
    return told


def percent(row: "TableRow") -> str:
    """`52.4 % [48.0, 56.7]`."""
    return f"{100 * row.accuracy:.1f} % [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def report(
    rows: "list[TableRow]",
    order: "LearnedOrder",
    denoiser: "TextDenoiser",
    example: "Example",
    shown: "Generation",
) -> str:
    """The text of report.md."""
    from unmask.evaluate.records import provenance

    made = provenance(denoiser.device)
    lines = [
        "# unmask demo",
        "",
        f"unmask {__version__} (commit {made['commit']}), torch {made['torch']} on {made['device']} with "
        f"{made['threads']} threads. An order was learned from scratch for a bundled denoiser and measured on "
        f"{rows[0].n} test problems, the same for every sampler, at temperature 0. Heuristics run as they are; "
        "`unmask bench --tune` gives each its best settings.",
        "",
        "| sampler | budget | steps mean [min, max] | NFE | tokens per pass | accuracy [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        steps = f"{row.steps_mean:.2f} [{row.steps_min}, {row.steps_max}]"
        lines.append(f"| {row.sampler} | {row.budget} | {steps} | {row.nfe:.2f} | {row.tpf:.2f} | {percent(row)} |")
    lines += ["", *(f"- {sentence}" for sentence in verdicts(rows)), "", "## Decode rules, chosen on validation", ""]
    lines += [f"- budget {budget}: {describe(rule)}" for budget, rule in sorted(order.rules.items())]
    lines += ["", f"## One example, step by step ({example.id}, the first of the test problems)", ""]
    lines += [f"> {example.prompt}", "", f"Right answer: `{example.response}`", "", "```"]
    lines += playback(shown, denoiser.codec)
    lines += ["```", ""]
    return "\n".join(lines)


def playback(generation: "Generation", codec: "Codec") -> list[str]:
    """A line per step: what is written so far, `_` for a position still masked, ends of text left out."""
    pieces = [
        "" if token in codec.end_tokens else codec.tokenizer.decode([token], skip_special_tokens=False)
        for token in generation.tokens
    ]
    lines = []
    for step in range(1, generation.steps + 1):
        text = "".join(piece if at <= step else "_" for piece, at in zip(pieces, generation.revealed_at, strict=True))
        new = sum(at == step for at in generation.revealed_at)
        lines.append(f"step {step}, {new:2d} new: {text}")
    return lines
