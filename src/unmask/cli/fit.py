"""`unmask fit`: train or fine-tune a denoiser."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from unmask.cli.catalogue import presets, tasks
from unmask.cli.common import (
    NUMBER,
    PATH_WORD,
    SAME_COMMAND,
    WHOLE,
    WORD,
    Machine,
    check_given,
    default,
    say,
    tell,
)
from unmask.core.registry import check_name

if TYPE_CHECKING:
    from unmask.denoisers.folder import TextDenoiser
    from unmask.tasks.base import Example, Task
    from unmask.train.fit import FitConfig

VALIDATION_PROBLEMS = 64
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}
AS_PRESET = default("as the preset says")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Train or fine-tune a denoiser; stopped and started again with the same command it goes on where it was.

    Leaves OUT/denoiser (what --denoiser takes elsewhere), OUT/log.jsonl and OUT/checkpoint.safetensors.

    example: unmask fit --task wordprob --out runs/wordprob

    example: unmask fit --task jsonl --data my.jsonl --init wordprob --updates 2000 --out runs/mine
    """

    task: Annotated[str, WORD]
    """What to learn: see `unmask list tasks`."""
    out: Path
    """Folder of the run."""
    data: Annotated[str | None, PATH_WORD, default("none")] = None
    """File or folder the task reads, if it reads one."""
    preset: Annotated[str | None, WORD, default("the one named as the task, else base")] = None
    """Settings to start from: see `unmask list presets`. The flags below change single ones."""
    init: Annotated[str | None, WORD, default("random weights")] = None
    """Denoiser to go on from: a bundled name, a folder or owner/name on the hub."""
    new_head: bool = False
    """With --init of an encoder that was saved without its output head: begin one anew."""
    template: Annotated[str | None, WORD, default("the denoiser's own")] = None
    """With --init: how prompts are written: bare, as they are; chat, by its chat template; or a text with {prompt}."""
    mix: Annotated[tuple[str, ...], AS_PRESET] = ()
    """Tasks that need no data to mix in, as NAME=SHARE of the examples: arithmetic=0.4."""
    no_mix: bool = False
    """Mix nothing in, whatever the preset says."""
    updates: Annotated[int | None, WHOLE, AS_PRESET] = None
    """How many updates; a run still on its plateau may be made longer or shorter when started again."""
    rows: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Examples per update."""
    rate: Annotated[float | None, NUMBER, AS_PRESET] = None
    """Learning rate of AdamW."""
    muon_rate: Annotated[float | None, NUMBER, AS_PRESET] = None
    """Learning rate of Muon, for the matrices inside the blocks; 0 gives them to AdamW."""
    weight_decay: Annotated[float | None, NUMBER, AS_PRESET] = None
    """Weight decay."""
    layers: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Blocks of the network."""
    width: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Width of the network."""
    heads: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Attention heads of the network."""
    hidden: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Width inside the feed-forward layers."""
    vocabulary: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Most tokens the tokenizer may learn."""
    context: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Most positions of prompt and response together; with --init, no fewer than it had."""
    response_length: Annotated[int | None, WHOLE, default("enough for the training responses")] = None
    """Positions of a response."""
    compile: bool = False
    """Compile the network: twice as fast after a minute, needs a C++ compiler."""
    no_compile: bool = False
    """Do not compile, whatever the preset says."""
    workers: Annotated[int | None, WHOLE, AS_PRESET] = None
    """Processes that make the batches ahead, where one core is too slow for the device; 0: none."""
    checkpoint_every: Annotated[int, WHOLE] = 200
    """Updates between checkpoints."""
    validate_every: Annotated[int, WHOLE] = 2_000
    """Updates between validations (loss, and accuracy one position per step, on 64 problems)."""
    overwrite: bool = False
    """Start anew: remove what an earlier run wrote in OUT first, and nothing else."""
    machine: Machine = field(default_factory=Machine)

    def config(self) -> "FitConfig":
        """The preset with the given flags in place."""
        from unmask.train.presets import FIT_PRESETS, fit_preset

        preset = fit_preset(self.preset or (self.task if self.task in FIT_PRESETS else "base"))
        names = (
            *("data", "init", "template", "updates", "rows", "rate", "muon_rate", "weight_decay", "workers"),
            *("layers", "width", "heads", "hidden", "vocabulary", "context", "response_length"),
        )
        given: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.machine.dtype is not None:
            given["precision"] = PRECISIONS[check_name(self.machine.dtype, PRECISIONS, "dtype to fit in")]
        if self.new_head:
            given["new_head"] = True
        if self.machine.ignore_extra:
            given["ignore_extra"] = True
        if self.mix or self.no_mix:
            given["mix"] = () if self.no_mix else self.mix
        if self.compile or self.no_compile:
            given["compile"] = self.compile and not self.no_compile
        return replace(preset, task=self.task, seed=self.machine.seed, device=self.machine.device, **given)

    def check(self) -> None:
        """Raise UserError on what can be seen to be wrong before anything is loaded."""
        check_name(self.task, tasks(), "task", hint="unmask list tasks")
        if self.preset is not None:
            check_name(self.preset, presets("fit"), "preset", hint="unmask list presets")
        most = float("inf")
        check_given(self, 1, most, "updates", "rows", "layers", "width", "heads", "hidden", "context")
        check_given(self, 1, most, "response_length", "checkpoint_every", "validate_every")
        check_given(self, 0, 1, "rate", "muon_rate", "weight_decay")
        check_given(self, 0, 1000, "workers")
        check_given(self, 260, most, "vocabulary")  # the bytes and the special tokens
        self.machine.apply()
        self.config()

    @property
    def when_stopped(self) -> str:
        """What is true after Ctrl-C."""
        return f"{SAME_COMMAND} its last checkpoint"

    def run(self) -> None:
        """Fit, and say where the denoiser is."""
        self.check()
        from unmask.denoisers.compiled import check_compiler
        from unmask.tasks import make_task
        from unmask.train.fit import fit
        from unmask.train.processes import is_main

        config = self.config()
        self.machine.say_if_slow(config.precision)
        if config.compile and config.device == "cpu":
            check_compiler("pass --no-compile")
        if config.new_head:
            say(f"{config.init} has no output head; one is begun anew, and knows nothing yet")
        result = fit(
            config,
            self.out,
            overwrite=self.overwrite,
            checkpoint_every=self.checkpoint_every,
            validate_every=self.validate_every,
            validate=validation if has_validation(make_task(config.task, config.data)) else None,
        )
        if not is_main():
            return
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in result.validation.items())
        say(f"fitted {result.folder}" + (f" (validation: {numbers})" if numbers else ""))
        tell(result.folder)


def has_validation(task: "Task") -> bool:
    """Whether there is anything to validate on."""
    return "validation" in task.splits and len(task.examples("validation")) > 0


def validation(denoiser: "TextDenoiser", task: "Task") -> dict[str, float]:
    """Accuracy as deployed, one position per step, and the denoising loss, on the first validation problems."""
    from unmask.evaluate.accuracy import deployed_accuracy

    measured = deployed_accuracy(
        denoiser, task, "validation", VALIDATION_PROBLEMS, "top-prob", denoiser.response_length
    )
    examples = task.examples("validation")
    some = [examples[index] for index in range(min(VALIDATION_PROBLEMS, len(examples)))]
    return {"accuracy": measured.accuracy, "validation_loss": validation_loss(denoiser, some)}


def validation_loss(denoiser: "TextDenoiser", examples: "list[Example]") -> float:
    """The denoising loss on examples that fit, at times and masks that never change."""
    from unmask.core.draws import Draws
    from unmask.objectives.denoising import denoising_loss, mask_for_denoising, stratified_times

    codec, length = denoiser.codec, denoiser.response_length
    pairs = [(item.prompt, codec.encode_response(item.response, length)) for item in examples]
    kept = [(prompt, ids) for prompt, ids in pairs if ids is not None]
    kept = [(p, ids) for p, ids in kept if len(codec.encode_prompt(p, codec.special)) + length <= denoiser.context]
    if not kept:
        return float("nan")
    clean = codec.clean_canvas([p for p, _ in kept], [ids for _, ids in kept], range(len(kept)))
    clean = clean.to(denoiser.device)
    draws = Draws(0)
    times = stratified_times(len(kept), draws.row_uniform(clean, "time")[0])
    canvas = mask_for_denoising(clean, times, draws.uniform(clean, "mask"))
    return denoising_loss(denoiser(canvas), clean, times).loss.item()
