"""What the verbs share: machine flags, how values are read and printed, and errors in one sentence."""

import contextlib
import io
import json
import os
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from unmask.cli.elsewhere import elsewhere, short
from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.core.texts import json_line, printable

if TYPE_CHECKING:
    import torch


class Command(Protocol):
    """A verb: a frozen dataclass of its arguments that can run. Its docstring ends with an example."""

    def run(self) -> None:
        """Do it: data to stdout, everything else to stderr."""
        ...


Parsed = TypeVar("Parsed", bound=Command)


# ---- optional values: no `{None}|INT` in the help, and an error that says what was expected


def _optional(kind: Callable[[str], Any], noun: str, metavar: str) -> PrimitiveConstructorSpec[Any]:
    def read(words: list[str]) -> Any:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"expected {noun}, got `{words[0]}`") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


def default(words: str) -> Any:
    """What the help says in place of `(default: None)`."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {words})")


WHOLE = _optional(int, "a whole number", "N")
NUMBER = _optional(float, "a number", "X")
WORD = _optional(str, "a word", "NAME")
PATH = _optional(Path, "a path", "PATH")
PATH_WORD = _optional(str, "a path", "PATH")  # kept as text, as it goes into a configuration


# ---- the machine


DTYPE_WORDS = "as stored; fit and learn: the preset's, else bfloat16 on hardware that has it"


@dataclass(frozen=True)
class Machine:
    """Where and how to compute."""

    device: Annotated[str, WORD] = "cpu"
    """Where to compute: cpu, cuda, cuda:1."""
    dtype: Annotated[str | None, WORD, default(DTYPE_WORDS)] = None
    """Precision of the denoiser: float32, bfloat16 or float16."""
    threads: Annotated[int | None, WHOLE, default("torch's own choice")] = None
    """CPU threads."""
    seed: Annotated[int, WHOLE] = 0
    """What every random draw derives from."""
    ignore_extra: bool = False
    """Leave out tensors of another library's checkpoint that are no part of its network, and are of no known use."""

    def say_if_slow(self, precision: str) -> None:
        """Warn of a preset in bfloat16 where it is emulated; one asked for by --dtype is warned of by `apply`."""
        import torch

        from unmask.train.precision import multiplies_bfloat16

        if self.dtype is None and precision == "bf16" and not multiplies_bfloat16(torch.device(self.device)):
            say(
                f"warning: this preset is in bfloat16, as its figures are, and {self.device} has no instructions "
                "for it here; --dtype float32 is many times as fast and gives other weights"
            )

    def apply(self) -> None:
        """Check the values and set the threads. Raises UserError on a device this machine has not got."""
        import torch

        from unmask.core.devices import check_device
        from unmask.train.precision import DTYPES, multiplies_bfloat16

        if self.threads is not None:
            check_number("--threads", self.threads, 1)
            check_number("--threads", self.threads, 1, max(256, os.cpu_count() or 1))  # torch crashes at too many
            torch.set_num_threads(self.threads)
        if self.dtype is not None:
            check_name(self.dtype, DTYPES, "dtype")
        check_number("--seed", self.seed, 0)
        check_device(self.device)
        # cuDNN prepares a plan for every new shape, and a decode has one at nearly every pass, as rows finish
        torch.backends.cuda.enable_cudnn_sdp(False)
        if self.dtype == "bfloat16" and not multiplies_bfloat16(torch.device(self.device)):
            say(f"warning: {self.device} has no instructions for bfloat16 here; float32 is many times as fast")

    @property
    def torch_dtype(self) -> "torch.dtype | None":
        """The dtype to load a denoiser in; None leaves it to the denoiser."""
        from unmask.train.precision import DTYPES

        return None if self.dtype is None else DTYPES[self.dtype]


def check_number(flag: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise UserError unless low <= value <= high, and finite."""
    if value == float("inf"):
        raise UserError(f"{flag} must be a finite number, got {value:g}")
    if not low <= value <= high:
        span = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise UserError(f"{flag} must be {span}, got {value:g}")


def check_given(command: object, low: float, high: float, *names: str) -> None:
    """`check_number` on every named field of `command` that is not None."""
    for name in names:
        if (value := getattr(command, name)) is not None:
            check_number(f"--{name.replace('_', '-')}", value, low, high)


def find_order(folder: Path) -> Path:
    """The folder of a learned order; that of the run which makes it will do, once it has."""
    if (folder / "run.json").is_file():
        if not (folder / "order" / "config.json").is_file():
            raise UserError(f"the run in {folder} has not finished; start it again with the same command")
        return folder / "order"
    return folder


# ---- words for people


def say(text: str) -> None:
    """Tell the person, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def tell(text: object) -> None:
    """Give the person what was asked for, on stdout, at once."""
    print(printable(str(text)), flush=True)


def tell_json(value: Any) -> None:
    """The same to a program: one line of JSON, exact on a stdout of any encoding."""
    text = json_line(value)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    print(text, flush=True)


SAME_COMMAND = "start it again with the same command, and it goes on from"  # after Ctrl-C


def write_what_is_asked() -> None:
    """Have stdout and stderr spell out a character that they have no sign for, instead of failing at it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


NAMES_WIDTH = 30  # of a column of names on a terminal; longer ones stand above what they are


def print_columns(rows: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, on stdout: a line each, or wrapped between words where somebody's screen is narrow."""
    width = max((len(name) for name, _ in rows), default=0)
    if not sys.stdout.isatty():
        for name, about in rows:
            tell(f"{name:<{width}}  {about}".rstrip())
        return
    screen = shutil.get_terminal_size().columns
    for line in wrapped(rows, screen):
        tell(line)


def wrapped(rows: Sequence[tuple[str, str]], screen: int) -> list[str]:
    """The lines of `print_columns` on a screen of so many columns; no word is broken that fits a line."""
    width = min(max((len(name) for name, _ in rows), default=0), NAMES_WIDTH, max(screen // 3, 8))
    lines: list[str] = []
    for name, about in rows:
        told = textwrap.wrap(about, max(screen - width - 2, 20), break_long_words=False, break_on_hyphens=False)
        first = "" if len(name) > width or not told else told.pop(0)
        lines.append(f"{name:<{width}}  {first}".rstrip())
        lines += [f"{'':<{width}}  {line}" for line in told]
    return lines


def first_line(thing: object) -> str:
    """The first line of a docstring, without its full stop."""
    return (thing.__doc__ or "").strip().partition("\n")[0].removesuffix(".")


# ---- parsing


def flags(kind: type[Any]) -> list[str]:
    """Every `--flag` of a dataclass of arguments, those of its machine included."""
    names = [item.name for item in fields(kind)]
    if "machine" in names:
        names.remove("machine")
        names += [item.name for item in fields(Machine)]
    return [f"--{name.replace('_', '-')}" for name in names]


MAY_BE_EMPTY = ("--stop",)  # says itself why not


def check_flags(kind: type[Any], verb: str, arguments: Sequence[str]) -> None:
    """Raise UserError on a flag that `verb` has not got, with what does the same there or the nearest it has."""
    known = flags(kind)
    given = list(arguments)[: arguments.index("--")] if "--" in arguments else list(arguments)
    switches = {f"--{name.replace('_', '-')}" for name, of in kinds(kind).items() if of is bool}
    for place, word in enumerate(given):
        flag = word.partition("=")[0].replace("_", "-")
        before = given[place - 1] if place else ""
        empty = before if not word and before not in switches else flag if word == f"{word.partition('=')[0]}=" else ""
        if empty in known and empty not in MAY_BE_EMPTY:
            raise UserError(f"{empty} is given an empty text; is it a variable of the shell that is not set?")
        if flag in switches and "=" in word:  # tyro would take the value for a prompt
            raise UserError(f"{flag} takes no value, got `{word.partition('=')[2]}`: it is there or it is not")
        if re.match(r"-[A-Za-z]", word) and word != "-h" and (before in switches or not before.startswith("-")):
            raise UserError(f"`unmask {verb}` has no flag `{word}`. {short(word, known)} hint: `unmask {verb} --help`")
        if flag.startswith("--") and flag not in (*known, "--help") and not flag.startswith("--tyro-"):
            value = word.partition("=")[2] or next(iter(given[place + 1 :]), None)
            instead = elsewhere(verb, flag, value, known)
            if instead is None:
                close = get_close_matches(flag, known, n=1, cutoff=0.5)
                instead = f"Did you mean `{close[0]}`?" if close else ""
            told = f" {instead}" if instead else ""
            raise UserError(f"`unmask {verb}` has no flag `{flag}`.{told} hint: `unmask {verb} --help`")


def kinds(kind: type[Any]) -> dict[str, Any]:
    """The type of every field of a dataclass of arguments, without what is annotated besides."""
    return get_type_hints(kind)


def spread(kind: type[Any], arguments: Sequence[str]) -> list[str]:
    """The arguments, lists written with commas as words of their own: `--budgets 4,8` is `--budgets 4 8`.

    Names of samplers are parted where no option begins, so that `margin,threshold:level=0.7,eot=defer` are two.
    """
    numbers = {name for name, of in kinds(kind).items() if get_origin(of) is tuple and get_args(of)[0] is int}
    found: list[str] = []
    flag = ""
    for place, word in enumerate(arguments):
        if word == "--":
            return [*found, *arguments[place:]]
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            parts = _parts(flag, value, numbers) if equals else []
            found += [flag, *parts] if len(parts) > 1 else [word]
            continue
        parts = _parts(flag, word, numbers)
        if flag in REPEATED:  # takes one word, so that what follows is not its own
            parts, flag = [each for part in parts for each in (flag, part)][1:], ""
        found += parts
    return found


NAMES = ("--samplers", "--one-per-step", "--families", "--beside")  # lists of names, which may have options
REPEATED = ("--beside",)


def _parts(flag: str, word: str, numbers: Iterable[str]) -> list[str]:
    if flag.removeprefix("--").replace("-", "_") in numbers and re.fullmatch(r"\d+(\s*,\s*\d+)+,?", word):
        return [part.strip() for part in word.split(",") if part.strip()]
    if flag in NAMES:
        return [part.strip() for part in re.split(r",(?=[^,=]*(?:,|:|$))", word) if part.strip()] or [word]
    return [word]


def parse(kind: type[Parsed], verb: str, arguments: Sequence[str]) -> Parsed:
    """The arguments of a verb. Prints --help and exits 0, or raises UserError in one sentence."""
    check_flags(kind, verb, arguments)
    arguments = spread(kind, arguments)
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(
                kind,
                prog=f"unmask {verb}",
                args=list(arguments),
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stopped:
        if not stopped.code:
            raise
    raise UserError(f"{sentence(boxed.getvalue())}; hint: `unmask {verb} --help`")


def sentence(box: str) -> str:
    """What the first section of one of tyro's messages says, as one sentence.

    The title stands in the frame; where stdout is not UTF-8 there is none, and it is a section of its own.
    """
    rows = [row.strip("│ ") for row in box.splitlines() if not row.startswith(("╭", "╰"))]
    sections = [list(group) for rule, group in groupby(rows, lambda row: row.startswith(("───", "---"))) if not rule]
    first = sections[min("╭" not in box, len(sections) - 1)] if sections else ["cannot read the arguments"]
    text = " ".join(" ".join(first).split()).removesuffix(".")
    if text.startswith("Missing from"):
        names = re.findall(r"^[│ ] {5}(--[\w-]+|[A-Z]+\b)", box, re.MULTILINE)
        return f"missing {', '.join(names)}"
    if text.startswith("Unrecognized options: "):
        return f"cannot place `{text.partition(': ')[2]}`"
    text = text.replace("Error parsing ", "", 1).replace("Could not find valid parse for arguments:", "cannot read")
    return text[:1].lower() + text[1:]


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings as `warning: sentence` instead of the line of code that raised them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest, **more: say(f"warning: {message}")
        yield
