"""`unmask sample`: write responses to prompts."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from unmask.cli.catalogue import check_samplers
from unmask.cli.common import (
    NUMBER,
    PATH,
    WHOLE,
    WORD,
    Machine,
    check_number,
    default,
    find_order,
    say,
    tell,
    tell_json,
)
from unmask.core.errors import UserError
from unmask.core.example import PROMPT
from unmask.core.texts import check_characters, decode_text

if TYPE_CHECKING:
    from unmask.denoisers.codec import Codec
    from unmask.denoisers.folder import TextDenoiser
    from unmask.samplers.generate import Generation, Sampler


_ESCAPED = re.compile("[\udc80-\udcff]")  # a byte that the encoding of this machine has not got


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Write a response to each prompt, in at most BUDGET calls of the denoiser.

    One response per line on stdout; with --json one object per line.

    example: unmask sample --denoiser wordprob --budget 4 "On Friday 24 children come to play and 6 of them go home early. The other children make teams of 3. How many teams are there?"

    example: unmask sample --denoiser wordprob --order runs/order --budget 4 - < questions.txt

    example: unmask sample --denoiser wordprob --budget 4 --trace trace.json --beside iid "On Friday 24 children come to play and 6 of them go home early. The other children make teams of 3. How many teams are there?"

    example: unmask sample --denoiser wordprob --infill --budget 8 "On Friday 24 children come to play and 6 of them go home early. The other children make teams of 3. How many teams are there? -> <<24-6=<|mask:2|>>> <<18/3=6>> #### <|mask:4|>"
    """  # noqa: E501 - what is to be typed stands on one line

    denoiser: Annotated[str, WORD]
    """A bundled name (`unmask list denoisers`), a folder, or owner/name on the hub."""
    budget: Annotated[int, WHOLE]
    """The most denoiser calls a response may take."""
    prompts: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="PROMPT ...")] = ()
    """What to respond to; `-` reads more from stdin, one per line (UTF-8, or UTF-16 with its mark)."""
    order: Annotated[Path | None, PATH, default("none")] = None
    """Folder of a learned order that says where to write."""
    sampler: Annotated[str | None, WORD, default("top-prob")] = None
    """Sampler that says where to write, as NAME:key=value,...: see `unmask list samplers`."""
    temperature: Annotated[float, NUMBER] = 0.0
    """0 writes the most probable token, 1 draws from the denoiser's distribution."""
    response_length: Annotated[int | None, WHOLE, default("the denoiser's own")] = None
    """Positions a response gets."""
    template: Annotated[str | None, WORD, default("the denoiser's own")] = None
    """How prompts are written: bare, as they are; chat, by the checkpoint's chat template; or a text with {prompt}."""
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Cut the response before this text; may be given several times."""
    infill: bool = False
    """Prompts are whole texts in which <|mask|>, or <|mask:8|> for eight positions, marks what to write."""
    log_probs: bool = False
    """Also say the log-probability of what was written, in nats."""
    trace: Annotated[Path | None, PATH, default("none")] = None
    """File to write, as JSON, what was written where, when and how probably; `unmask view FILE` plays it."""
    beside: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Another sampler whose writing goes into the trace too; may be given several times."""
    watch: bool = False
    """Show the texts as they are written, on stderr: in colour on a terminal, elsewhere a line per step."""
    json: bool = False
    """Print one JSON object per prompt."""
    batch: Annotated[int, WHOLE] = 64
    """Prompts decoded together. In bfloat16 and float16 it may turn near ties: see --exact."""
    exact: bool = False
    """Each prompt by itself: the same answer whatever the others, in every precision. Slower on small denoisers."""
    cache: Annotated[str | None, WORD, default("none")] = None
    """Approximate cache: prefix-approximate:refresh=N or dual-approximate:window=N,refresh=N."""
    machine: Machine = field(default_factory=Machine)

    def check(self) -> None:
        """Raise UserError on what can be seen to be wrong before anything is loaded."""
        check_number("--budget", self.budget, 1)
        check_number("--temperature", self.temperature, 0)
        if self.order is not None and self.sampler is not None:
            raise UserError("give --order or --sampler, not both")
        check_samplers(*([self.sampler] if self.sampler is not None else []), *self.beside)
        from unmask.samplers.options import check_temperature

        check_temperature("--temperature", self.temperature)
        self.machine.apply()
        if self.cache is not None:
            from unmask.denoisers.caches import make_cache

            make_cache(self.cache)
        check_beside(self.beside, self.name, self.trace)
        if self.trace is not None:
            check_trace_path(self.trace)

    def run(self) -> None:
        """Decode, and print."""
        self.check()
        from unmask.denoisers.hub import load_denoiser
        from unmask.orders.folder import load_order

        prompts = read_prompts(self.prompts)
        machine = self.machine
        denoiser = load_denoiser(
            self.denoiser, machine.device, machine.torch_dtype, template=self.template,
            ignore_extra=machine.ignore_extra,
        )  # fmt: skip
        sampler: Sampler = self.sampler or "top-prob"
        if self.order is not None:
            sampler = load_order(find_order(self.order), self.machine.device)
        with Answers(prompts, lambda each: self.show(each, denoiser.codec)) as answers:
            generations = self.decoded(denoiser, prompts, sampler, answers.take)
        if self.trace is not None:
            found = {self.name: generations}
            found |= {name: self.decoded(denoiser, prompts, name) for name in self.beside}
            self.write(self.trace, denoiser.codec, found)
        say(summary(generations))
        if self.trace is not None:
            say(f"wrote {self.trace}; see it with: unmask view {self.trace}")

    def show(self, generation: "Generation | None", codec: "Codec") -> None:
        """A response on stdout; for one that there is none of, nothing as JSON, else an empty line."""
        if generation is None:
            if not self.json:
                tell("")
        elif self.json:
            tell_json(as_json(generation, codec, self.log_probs))
        else:
            text = " ".join((generation.text or "").splitlines())
            tell(f"{text}\t{generation.log_prob:.4f}" if self.log_probs else text)

    @property
    def name(self) -> str:
        """What the trace calls the sampler whose responses are printed."""
        return "learned" if self.order is not None else self.sampler or "top-prob"

    def decoded(
        self,
        denoiser: "TextDenoiser",
        prompts: list[str],
        sampler: "Sampler",
        on_done: "Callable[[int, Generation], None] | None" = None,
    ) -> "list[Generation]":
        """The responses of one sampler, shown while they are written if that is asked for."""
        from unmask.samplers.generate import decode
        from unmask.view.watch import Watch

        name = (sampler if isinstance(sampler, str) else self.name) if self.beside else ""
        watch = Watch(denoiser.codec, prompts, self.budget, name=name) if self.watch else contextlib.nullcontext()
        with watch as on_step:
            return decode(
                denoiser,
                prompts,
                sampler=sampler,
                budget=self.budget,
                response_length=self.response_length,
                temperature=self.temperature,
                seed=self.machine.seed,
                stop=self.stop,
                log_probs=self.log_probs or (self.trace is not None and self.temperature > 0),
                infill=self.infill,
                on_step=on_step,
                on_done=on_done,
                batch=self.batch,
                cache=self.cache,
                exact=self.exact,
            )

    def write(self, path: Path, codec: "Codec", found: "Mapping[str, list[Generation]]") -> None:
        """The trace: for each prompt, one of each sampler."""
        from unmask.evaluate.records import provenance
        from unmask.samplers.trace import make_trace, write_traces

        learned = self.order is not None
        traces = [
            make_trace(
                generation,
                codec,
                sampler=name,
                budget=self.budget,
                learned=learned and name == self.name,
                infill=self.infill,
            )
            for generations in zip(*found.values(), strict=True)
            for name, generation in zip(found, generations, strict=True)
        ]
        about = {"denoiser": self.denoiser, "temperature": self.temperature, "seed": self.machine.seed}
        write_traces(path, traces, about | provenance(self.machine.device))


def check_beside(beside: Sequence[str], name: str, trace: Path | None) -> None:
    """Raise UserError where samplers are to be put beside the first, but not into a trace, or one of them twice."""
    if beside and trace is None:
        raise UserError("--beside says which samplers go into the trace too: give --trace FILE")
    names = [name, *beside]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise UserError(f"the trace would have `{twice}` twice; name each sampler once")


def check_trace_path(path: Path) -> None:
    """Raise UserError where the trace would take the place of something else."""
    from unmask.core.files import is_stream
    from unmask.samplers.trace import FORMAT

    if path.is_dir():
        raise UserError(f"--trace {path} is a folder; name a file, e.g. {path / 'trace.json'}")
    if not path.exists() or is_stream(path):
        return
    with open(path, "rb") as file:
        start = file.read(4096)
    if start and FORMAT.encode() not in start:
        raise UserError(
            f"--trace {path} would replace a file that is no trace of unmask, so it is spared; choose another name"
        )


class Answers:
    """Responses as they are finished, shown in the order of their prompts: a context manager.

    On the way out, whatever ended it, those are shown that had to wait for an earlier one; `show(None)` stands for it.
    """

    def __init__(self, prompts: Sequence[str], show: "Callable[[Generation | None], None]") -> None:
        self.total, self.show = len(prompts), show
        self.shown = 0
        self._waiting: dict[int, Generation] = {}

    def take(self, number: int, generation: "Generation") -> None:
        """The response to prompt `number`."""
        self._waiting[number] = generation
        while self.shown in self._waiting:
            self.show(self._waiting.pop(self.shown))
            self.shown += 1

    def __enter__(self) -> "Answers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BrokenPipeError):
            return
        count = self.shown + len(self._waiting)
        for number in range(self.shown, max(self._waiting, default=-1) + 1):
            self.show(self._waiting.get(number))
        if 0 < count < self.total:
            say(f"{count} of {self.total} responses are finished")


def read_prompts(words: tuple[str, ...]) -> list[str]:
    """The prompts, `-` replaced by the lines of stdin that are not blank."""
    prompts: list[str] = []
    for word in words:
        if word == "-":
            prompts += [line.rstrip("\r") for line in read_stdin().split("\n") if line.strip()]
        else:
            prompts.append(as_typed(word))
    if not prompts:
        raise UserError(f'there is no prompt; give at least one, e.g. "{PROMPT}"')
    for number, prompt in enumerate(prompts, start=1):
        check_characters(prompt, f"prompt {number}")
    return prompts


def as_typed(word: str) -> str:
    """A word of the command line in UTF-8, whatever this machine took it for; bytes that are none stay as they are."""
    if word.isascii():
        return word
    with contextlib.suppress(UnicodeError):
        return os.fsencode(word).decode("utf-8") if _ESCAPED.search(word) else word
    return word


def read_stdin() -> str:
    """All of stdin, UTF-8 unless a mark at its beginning says otherwise, whatever this machine would take it for."""
    if sys.stdin is None:
        raise UserError("stdin is closed, and `-` reads prompts from there; send them in: `... - < questions.txt`")
    bits = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read() if bits is None else decode_text(bits.read(), "stdin")


def as_json(generation: "Generation", codec: "Codec", log_probs: bool) -> dict[str, Any]:
    """What a program may want to know of a response."""
    from unmask.samplers.trace import pieces

    found: dict[str, Any] = {
        "prompt": generation.prompt,
        "text": generation.text,
        "steps": generation.steps,
        "nfe": generation.nfe,
        "written": generation.written,
        "content": generation.content,
        "stopped": generation.stopped,
        "tokens": pieces(generation.tokens, codec),
        "revealed_at": generation.revealed_at,
    }
    if log_probs:
        found |= {"log_prob": generation.log_prob, "probability": generation.probability}
    return found


def summary(generations: "list[Generation]") -> str:
    """One line on what it took."""
    steps = [generation.steps for generation in generations]
    nfe = sum(generation.nfe for generation in generations)
    content = sum(generation.content for generation in generations)
    return (
        f"{len(generations)} response{'s' * (len(generations) != 1)} "
        f"in {sum(steps) / len(steps):.2f} [{min(steps)}, {max(steps)}] steps each, "
        f"{content / max(1, nfe):.2f} tokens per denoiser call"
    )
