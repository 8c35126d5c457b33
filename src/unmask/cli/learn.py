"""`unmask learn`: learn in which order, and how much at once, a denoiser writes."""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from unmask.cli.catalogue import check_samplers, presets, tasks
from unmask.cli.common import (
    NUMBER,
    PATH_WORD,
    SAME_COMMAND,
    WHOLE,
    WORD,
    Machine,
    check_given,
    check_number,
    default,
    say,
    tell,
)
from unmask.core.registry import check_name

if TYPE_CHECKING:
    from unmask.denoisers.folder import TextDenoiser
    from unmask.orders.folder import LearnedOrder
    from unmask.samplers.learned import DecodeRule
    from unmask.tasks.base import Task
    from unmask.train.learn import LearnResult
    from unmask.train.learn_config import LearnConfig

VALIDATION_PROBLEMS = 100
RULE_PROBLEMS = 200
QUICK = 16  # of either, with the preset that is to take seconds
AS_PRESET = default("as the preset says")
WATCHED = 0.9  # level of orders that are taught, before a rule is picked; drawing is not for them
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}


@dataclass(frozen=True, kw_only=True)
class Learn:
    """Learn an order for a denoiser; stopped and started again with the same command it goes on where it was.

    Leaves OUT/order (what --order and --orders take elsewhere), OUT/log.jsonl and OUT/checkpoint.safetensors.

    example: unmask learn --denoiser wordprob --task wordprob --budgets 2 4 8 16 --out runs/order
    """

    denoiser: Annotated[str, WORD]
    """A bundled name (`unmask list denoisers`), a folder, or owner/name on the hub."""
    task: Annotated[str, WORD]
    """Where the texts to learn from come from: see `unmask list tasks`."""
    out: Path
    """Folder of the run."""
    data: Annotated[str | None, PATH_WORD, default("none")] = None
    """File or folder the task reads, if it reads one."""
    template: Annotated[str | None, WORD, default("the denoiser's own")] = None
    """How prompts are written: bare, as they are; chat, by the checkpoint's chat template; or a text with {prompt}."""
    preset: Annotated[str | None, WORD, default("the one named as the task, else base")] = None
    """Settings to start from: see `unmask list presets`. The flags below change single ones."""
    budgets: Annotated[tuple[int, ...], AS_PRESET] = ()
    """Most steps per response; one network serves them all."""
    updates: Annotated[int | None, WHOLE, AS_PRESET] = None
    """How many updates of all stages together, shared among them as in the preset."""
    bound_updates: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Updates of the first stage, on the bound with a posterior that sees the text."""
    policy_updates: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Updates of the second stage, on the policy's own paths."""
    taught_updates: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Updates of the third stage, on what a slow decode shows to be right on canvases a threshold reached; 0: none."""
    taught_rounds: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Rounds of it: each walks anew, with the policy as it has become by then."""
    taught_batches: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Batches of --rows prompts that a round walks."""
    teacher: Annotated[str | None, WORD, AS_PRESET] = None
    """The slow decode: NAME:key=value,..."""
    texts: Annotated[str | None, WORD, AS_PRESET] = None
    """own: learn from right answers that the denoiser writes first; data: from the responses of the task."""
    own_count: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Training prompts that the denoiser answers for it."""
    own_sampler: Annotated[str | None, WORD, AS_PRESET] = None
    """How it writes them: NAME:key=value,..."""
    rows: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Examples per update."""
    samples: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Orders drawn per example, at least 2."""
    rate: Annotated[float | None, NUMBER, AS_PRESET] = None
    """Learning rate."""
    price: Annotated[float | None, NUMBER, AS_PRESET] = None
    """Nats that each step costs in the second stage: more gives fewer steps."""
    likelihood: Annotated[float | None, NUMBER, AS_PRESET] = None
    """Credit of a revealed position: this times the log-probability of its true token, less the next."""
    miss: Annotated[float | None, NUMBER, AS_PRESET] = None
    """Nats that a position costs whose most probable token is not the true one."""
    width: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Width of the policy, a multiple of 4."""
    layers: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Layers of the policy."""
    components: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Sets of coins in the policy's law: more than one is a mixture, for several orders that are each good."""
    denoiser_update: Annotated[str | None, WORD, AS_PRESET] = None
    """frozen leaves the denoiser as it is, joint trains it along and leaves it in OUT/denoiser, lora does by LoRA."""
    lora_rank: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Rank of its factors."""
    features: Annotated[str | None, PATH_WORD, default("none: the denoiser is at hand")] = None
    """Folder for what the denoiser says on a few paths; made if it is not there, then learned from without it."""
    feature_batches: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Batches of --rows texts to make features of."""
    accumulate: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Pieces to take the rows of an update in: the same update within rounding, in less memory."""
    workers: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Processes that make the batches ahead, where one core is too slow for the device; 0: none."""
    one_copy: bool = False
    """Load the denoiser in bfloat16 and keep no other copy: half the memory or less; it validates so too."""
    checkpoint_every: Annotated[int, WHOLE] = 25
    """Updates between checkpoints."""
    validate_every: Annotated[int, WHOLE] = 100
    """Updates between validations (accuracy as deployed, on 100 problems at each budget)."""
    rule_count: Annotated[int | None, WHOLE, default("200; 16 with the preset tiny")] = None
    """Validation problems on which the decode rule of each budget is picked at the end."""
    overwrite: bool = False
    """Start anew: remove what an earlier run wrote in OUT first, and nothing else."""
    machine: Machine = field(default_factory=Machine)

    def config(self) -> "LearnConfig":
        """The preset with the given flags in place."""
        from unmask.train.presets import LEARN_PRESETS, learn_preset

        preset = learn_preset(self.preset or (self.task if self.task in LEARN_PRESETS else "base"))
        names = (
            "data", "bound_updates", "policy_updates", "taught_updates", "taught_rounds", "taught_batches", "teacher",
            "texts", "own_count", "own_sampler", "rows", "samples", "rate",
            "price", "likelihood", "miss", "width", "layers", "components", "denoiser_update",
            "accumulate", "lora_rank", "features", "feature_batches", "workers",
        )  # fmt: skip
        given: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.updates is not None:
            given |= shared_out(self.updates, preset, given)
        if self.budgets:
            given["budgets"] = self.budgets
        if self.machine.dtype is not None:
            given["precision"] = PRECISIONS[check_name(self.machine.dtype, PRECISIONS, "dtype to learn in")]
        return replace(preset, task=self.task, seed=self.machine.seed, device=self.machine.device, **given)

    def check(self) -> None:
        """Raise UserError on what can be seen to be wrong before anything is loaded."""
        check_name(self.task, tasks(), "task", hint="unmask list tasks")
        if self.preset is not None:
            check_name(self.preset, presets("learn"), "preset", hint="unmask list presets")
        for name in (self.own_sampler, self.teacher):
            if name is not None:
                check_samplers(name)
        check_given(self, 1, float("inf"), "updates", "rows", "own_count", "width", "layers", "components")
        check_given(self, 1, float("inf"), "accumulate", "lora_rank", "feature_batches")
        check_given(self, 1, float("inf"), "taught_rounds", "taught_batches")
        check_given(self, 1, float("inf"), "checkpoint_every", "validate_every", "rule_count")
        check_given(self, 0, float("inf"), "bound_updates", "policy_updates", "taught_updates")
        check_given(self, 2, float("inf"), "samples")
        check_given(self, 0, 1, "rate")
        check_given(self, 0, 1000, "workers")
        check_given(self, 0, 1000, "price", "likelihood", "miss")
        for budget in self.budgets:
            check_number("--budgets", budget, 1)
        self.machine.apply()
        from unmask.train.learn_config import check

        check(self.config())

    @property
    def when_stopped(self) -> str:
        """What is true after Ctrl-C."""
        return f"{SAME_COMMAND} its last checkpoint"

    def run(self) -> None:
        """Learn, and say where the order is."""
        self.check()
        import torch

        from unmask.denoisers.hub import load_denoiser
        from unmask.samplers.learned import DecodeRule
        from unmask.train.processes import open_processes

        config = self.config()
        self.machine.say_if_slow(config.precision)
        if self.one_copy:
            config = replace(config, precision="bf16")
        processes = open_processes(config.device)
        stored = torch.float32 if config.denoiser_update != "frozen" else None  # what is trained is held in full
        result = learn_order(
            load_denoiser(
                self.denoiser,
                processes.device,
                torch.bfloat16 if self.one_copy else stored,
                template=self.template,
                ignore_extra=self.machine.ignore_extra,
            ),
            config,
            self.out,
            overwrite=self.overwrite,
            checkpoint_every=self.checkpoint_every,
            validate_every=self.validate_every,
            rule_count=self.rule_count or (QUICK if self.preset == "tiny" else RULE_PROBLEMS),
            problems=QUICK if self.preset == "tiny" else VALIDATION_PROBLEMS,
        )
        if not processes.is_main:
            return
        for steps, found in result.validation.items():
            rule = DecodeRule.from_dict(found["rule"])
            say(
                f"budget {steps}: {100 * found['accuracy']:.1f} % on {found['n']} validation problems in "
                f"{found['steps_mean']:.2f} [{found['steps_min']}, {found['steps_max']}] steps by {describe(rule)}"
            )
        tell(result.folder)


def shared_out(updates: int, preset: "LearnConfig", given: dict[str, Any]) -> dict[str, int]:
    """`updates` among the stages as the preset shares its own; those given stay, and the second stage has the rest."""
    found = {
        name: int(given.get(name, round(updates * getattr(preset, name) / preset.updates)))
        for name in ("bound_updates", "taught_updates")
    }
    check_number("--bound-updates", found["bound_updates"], 0, updates)
    check_number("--taught-updates", found["taught_updates"], 0, updates - found["bound_updates"])
    return found | {"policy_updates": updates - sum(found.values())}


def learn_order(
    denoiser: "TextDenoiser",
    config: "LearnConfig",
    out: Path,
    *,
    overwrite: bool = False,
    checkpoint_every: int = 25,
    validate_every: int = 100,
    rule_count: int = RULE_PROBLEMS,
    problems: int = VALIDATION_PROBLEMS,
) -> "LearnResult":
    """`train.learn.learn`, with accuracy as deployed to watch and to pick the decode rules by."""
    from unmask.evaluate.rules import choose_rules
    from unmask.samplers.learned import DecodeRule
    from unmask.tasks import make_task
    from unmask.train.learn import learn
    from unmask.train.line import Line
    from unmask.train.processes import is_main

    task = make_task(config.task, config.data)
    watched = DecodeRule("threshold", WATCHED) if config.taught_updates else DecodeRule("sample")

    def validate(order: "LearnedOrder", denoiser: "TextDenoiser") -> dict[str, float]:
        watching = replace(order, rules=dict.fromkeys(config.budgets, watched))
        return accuracies(watching, denoiser, task, config.budgets, problems)

    def choose(
        order: "LearnedOrder", denoiser: "TextDenoiser"
    ) -> tuple[dict[int, DecodeRule], dict[str, Any]]:
        with Line("pick decode rules") if is_main() else nullcontext() as line:
            return choose_rules(
                order,
                denoiser,
                task,
                config.budgets,
                count=rule_count,
                progress=lambda at: None if line is None else line.show(at.done, f"budget {at.budget}", at.total),
            )

    return learn(
        denoiser,
        config,
        out,
        overwrite=overwrite,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        validate=validate,
        choose_rules=choose,
    )


def accuracies(
    order: "LearnedOrder", denoiser: "TextDenoiser", task: "Task", budgets: tuple[int, ...], problems: int
) -> dict[str, float]:
    """Accuracy as deployed at each budget, on the first validation problems."""
    from unmask.evaluate.accuracy import deployed_accuracy

    return {
        f"accuracy@{budget}": deployed_accuracy(
            denoiser, task, "validation", problems, order, budget
        ).accuracy
        for budget in budgets
    }


def describe(rule: "DecodeRule") -> str:
    """`threshold 0.4`, `threshold 0.9, paced`, `sample`, `sample sharpened by 2`, `sample scaled by 1.5`."""
    words = f"threshold {rule.level:g}" if rule.kind == "threshold" else "sample"
    words += "" if rule.sharpness == 1 else f" sharpened by {rule.sharpness:g}"
    words += "" if rule.scale == 1 else f" scaled by {rule.scale:g}"
    return words + (", paced" if rule.pace else "")
