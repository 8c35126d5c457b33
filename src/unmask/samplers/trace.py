"""Traces: which token was written at which step and how probable it was then, in a file that a page can play.

    {"format": "unmask-trace", "version": 2, "denoiser": "wordprob", "seed": 0, ..., "traces": [
      {"sampler": "margin", "budget": 4, "prompt": "On Friday ...", "text": "<<24-6=18>> <<18/3=6>> #### 6",
       "steps": 4, "nfe": 4, "tokens": ["<<", "2", ...], "revealed_at": [1, 2, ...], "probability": [0.98, 0.71, ...]}]}

A prompt decoded by several samplers has a trace for each.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.errors import UserError
from unmask.core.files import read_json, replacing
from unmask.denoisers.codec import Codec
from unmask.denoisers.marks import around_marks
from unmask.samplers.generate import Generation
from unmask.samplers.prompts import Prompt, is_conversation

FORMAT, VERSION = "unmask-trace", 2
READ = (1, VERSION)  # the first knew one token that ends a text, `end`
AGAIN = "write it again with `unmask sample --trace`"
HUGE = 256 * 2**20  # bytes; what is larger is no file to look at
DIGITS = 4  # of a probability
ANCHORS = 3  # tokens that say how the next one is joined to them


class Trace(NamedTuple):
    """How one text was written. The lists run over the positions that were masked, from left to right.

    tokens:      their texts; "" where a character is made of several tokens and is shown at the last of them.
    revealed_at: the number (from 1) of the step each was revealed at; 0 where none did.
    probability: what the denoiser gave it then; None where that is not known.
    around:      when infilling, the given texts before, between and after the positions, one more than those.
    learned:     whether a learned order chose the positions.
    ends:        the tokens that end a text, as they stand in `tokens`: a chat also ends with that of its turns.
    correct:     a task's judgement of the text; None without one.
    reference:   the right answer, where a task knows it.
    """

    sampler: str
    budget: int
    prompt: str
    text: str
    steps: int
    nfe: int
    tokens: list[str]
    revealed_at: list[int]
    probability: list[float | None]
    around: list[str] | None = None
    learned: bool = False
    ends: list[str] | None = None
    correct: bool | None = None
    reference: str | None = None


class TraceFile(NamedTuple):
    """What stands in a file: where it comes from, and the traces."""

    about: dict[str, Any]
    traces: list[Trace]


def make_trace(
    generation: Generation, codec: Codec, *, sampler: str, budget: int, learned: bool = False, infill: bool = False
) -> Trace:
    """The trace of one generation, under the name its sampler is to have."""
    prompt = generation.prompt if isinstance(generation.prompt, str) else shown(generation.prompt, codec)
    around = surroundings(prompt, codec.mask) if infill else None
    return Trace(
        sampler=sampler,
        budget=budget,
        prompt=prompt,
        text=generation.text or "",
        steps=generation.steps,
        nfe=generation.nfe,
        tokens=pieces(generation.tokens, codec) if around is None else filled_pieces(generation.tokens, around, codec),
        revealed_at=generation.revealed_at,
        probability=[None if p is None else round(p, DIGITS) for p in generation.probability],
        around=around,
        learned=learned,
        ends=[codec.end, *codec.stops],
    )


def shown(prompt: Prompt | None, codec: Codec) -> str:
    """A prompt that is no text, as text: the turns of a conversation, or what token ids stand for."""
    if prompt is None:
        return ""
    if is_conversation(prompt):
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)  # type: ignore[index]
    return str(codec.tokenizer.decode([int(token) for token in prompt], skip_special_tokens=False))  # type: ignore[arg-type]


def pieces(tokens: Sequence[int], codec: Codec, within: bool = False) -> list[str]:
    """The text of each token where it stands, so that together they are the text of all; within: another goes before.

    Some tokenizers have the blank before a word in the word, and none before the first word of a text. A character of
    several tokens stands at the last of them, and "" at the others. Special tokens are their names.
    """
    if not tokens:
        return []
    found: list[str] = []
    names = {number: name for name, number in codec.special.items()}
    known = [*(codec.encode("a") if within else []), *tokens]
    start = first = len(known) - len(tokens)  # start: of the tokens whose bytes are no whole character yet
    for place, token in enumerate(known[first:], start=first):
        if token in names:
            if place > start:  # bytes that never became one
                found[-1] = codec.shown(known[start:place])
            found.append(names[token])
            start = place + 1
            continue
        window, here = known[max(0, start - ANCHORS) : start], known[start : place + 1]
        text, before = codec.shown([*window, *here]), codec.shown(window)
        text = text.removeprefix(before) if text.startswith(before) else codec.shown(here)
        if text.endswith("�") and len(here) < 4 and place + 1 < len(known):  # UTF-8 takes at most four bytes
            found.append("")
        else:
            found.append(text if place > first else codec.spell(here, within))
            start = place + 1
    return found


def filled_pieces(tokens: Sequence[int], around: Sequence[str], codec: Codec) -> list[str]:
    """The same of tokens that stand in a text in spans, with the texts `around` them."""
    found: list[str] = []
    span: list[int] = []
    text = around[0] != ""  # whether there is some before the span
    for token, given in zip(tokens, around[1:], strict=True):
        span.append(token)
        if given:
            found, span, text = found + pieces(span, codec, text), [], True
    return found + pieces(span, codec, text or bool(found))


def surroundings(prompt: str, mask: str) -> list[str]:
    """What stands before, between and after the masked positions of a text to infill."""
    return around_marks(prompt, mask)


def write_traces(path: Path, traces: Iterable[Trace], about: Mapping[str, Any] | None = None) -> None:
    """Replace `path` by a file of traces. about: what they were made with, as the reader should see it."""
    head = {"format": FORMAT, "version": VERSION, **(about or {})}
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "traces": [\n')
        lines = (json.dumps(to_json(trace), ensure_ascii=False) for trace in traces)
        file.write(",\n".join(lines) + "\n]}\n")


def to_json(trace: Trace) -> dict[str, Any]:
    """A plain object, without what is not known."""
    return {name: value for name, value in trace._asdict().items() if value is not None}


def read_traces(path: Path) -> TraceFile:
    """What `write_traces` wrote. Raises UserError naming the file, and the trace, if it is damaged or foreign."""
    if path.is_file() and path.stat().st_size > HUGE:
        size = path.stat().st_size / 2**20
        most = HUGE / 2**20
        raise UserError(f"{path} has {size:.0f} MiB, and more than {most:.0f} are not read; trace fewer prompts")
    value = read_json(path)
    if value.get("format") != FORMAT:
        raise UserError(f"{path} is not a trace of unmask (format {value.get('format')!r}); {AGAIN}")
    if value.get("version") not in READ:
        raise UserError(
            f"{path} is of version {value.get('version')!r}, this unmask reads versions "
            f"{' and '.join(map(str, READ))}; {AGAIN}"
        )
    entries = value.get("traces")
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} holds no trace; {AGAIN}")
    about = {name: entry for name, entry in value.items() if name not in ("format", "version", "traces")}
    return TraceFile(about, [check_trace(entry, f"trace {n} of {path}") for n, entry in enumerate(entries, start=1)])


def check_trace(entry: Any, where: str) -> Trace:
    """The trace that a JSON object is, of any version. Raises UserError saying which of its fields is wrong."""
    if not isinstance(entry, dict):
        raise UserError(f"{where} is no JSON object; {AGAIN}")
    if "end" in entry and "ends" not in entry:
        entry = {name: value for name, value in entry.items() if name != "end"} | {"ends": [entry["end"]]}
    missing = [name for name in Trace._fields if name not in entry and name not in Trace._field_defaults]
    if missing or (unknown := sorted(set(entry) - set(Trace._fields))):
        what = f"has no {missing[0]}" if missing else f"has an unknown field {unknown[0]!r}"
        raise UserError(f"{where} {what}; {AGAIN}")
    for name, good in CHECKS.items():
        if name in entry and not good(entry[name]):
            raise UserError(f"{where} is damaged: {name} cannot be {_short(entry[name])}; {AGAIN}")
    trace = Trace(**entry)
    count, around = len(trace.tokens), trace.around
    if not count == len(trace.revealed_at) == len(trace.probability):
        raise UserError(f"{where} is damaged: tokens, revealed_at and probability are not equally long; {AGAIN}")
    if around is not None and len(around) != count + 1:
        raise UserError(f"{where} is damaged: around must have {count + 1} texts, has {len(around)}; {AGAIN}")
    if max(trace.revealed_at, default=0) > trace.steps:
        raise UserError(f"{where} is damaged: it reveals at step {max(trace.revealed_at)} of {trace.steps}; {AGAIN}")
    return trace


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6


def _share(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= 1)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "sampler": lambda value: isinstance(value, str),
    "budget": _whole,
    "prompt": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str),
    "steps": _whole,
    "nfe": _whole,
    "tokens": _texts,
    "revealed_at": lambda value: isinstance(value, list) and all(map(_whole, value)),
    "probability": lambda value: isinstance(value, list) and all(map(_share, value)),
    "around": _texts,
    "learned": lambda value: isinstance(value, bool),
    "ends": _texts,
    "correct": lambda value: isinstance(value, bool),
    "reference": lambda value: isinstance(value, str),
}


def written(trace: Trace, step: int, blank: str = "_") -> str:
    """The text after a number of steps: `blank` for a position still masked, end tokens left out."""
    ends = trace.ends or []
    shown = [
        blank if not 0 < at <= step else "" if token in ends else token
        for token, at in zip(trace.tokens, trace.revealed_at, strict=True)
    ]
    around = trace.around or [""] * (len(shown) + 1)
    return around[0] + "".join(token + given for token, given in zip(shown, around[1:], strict=True))
