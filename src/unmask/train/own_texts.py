"""Texts for an order to learn from: those of the task, or right answers that the denoiser writes itself.

A response in the data is one of many ways to say the same; the denoiser may prefer another, and then no order writes
the one of the data, and every path is told off for it. Its own right answers are texts that some order does write.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from unmask.core.entries import lines_of, parse, reader
from unmask.core.errors import UserError
from unmask.core.files import could_not_write, write_text
from unmask.denoisers.folder import TextDenoiser
from unmask.samplers.generate import decode
from unmask.tasks.base import ENDLESS, Example, Task
from unmask.train.processes import Processes

CHUNK = 256  # prompts decoded between two writes
FEWEST = 0.05  # right answers, of those written, below which there is too little to learn from
AHEAD = 1 << 20  # where the prompts start in an endless split, away from what a denoiser was most likely fitted on


class Written(NamedTuple):
    """How far the writing is."""

    done: int
    right: int
    total: int


def own_texts(
    denoiser: TextDenoiser,
    task: Task,
    path: Path,
    *,
    count: int,
    sampler: str,
    budget: int | None = None,
    processes: Processes | None = None,
    progress: Callable[[Written], None] | None = None,
) -> list[Example]:
    """The first `count` training prompts that fit, answered by the denoiser at temperature 0; the right ones only.

    path: a JSONL file with a line for each prompt, appended to as they are answered. Started again, whole chunks are
        taken from it and the rest is answered anew, so that the same rows share a batch and the texts are the same.
    sampler, budget: how to write them; the budget is the response length unless given.
    processes: share the prompts of a chunk; the main one keeps the file.
    Raises UserError if fewer than 5 % are right, or none fits.
    """
    processes = processes or Processes(str(denoiser.device))
    prompts = _prompts(denoiser, task, count)
    lines: list[dict[str, object]] = processes.from_main(lambda: _known(path, prompts, task))
    for start in range(len(lines), len(prompts), CHUNK):
        chunk = range(start, min(start + CHUNK, len(prompts)))
        mine = processes.share(chunk)
        written = decode(
            denoiser,
            [prompts[i].prompt for i in mine],
            sampler=sampler,
            budget=budget or denoiser.response_length,
            rows=list(mine),
            split_special_tokens=True,
        ) if mine else []  # fmt: skip
        texts: dict[int, str] = {}
        for pairs in processes.gather([[i, each.text or ""] for i, each in zip(mine, written, strict=True)]):
            texts |= dict(pairs)
        new = [
            {"id": prompts[i].id, "text": texts[i], "right": task.correct(texts[i], prompts[i])} for i in chunk
        ]
        lines += new
        processes.on_main(partial(_append, path, new))
        if progress is not None:
            progress(Written(len(lines), sum(line["right"] is True for line in lines), len(prompts)))
    right = [
        example._replace(response=str(line["text"]))
        for example, line in zip(prompts, lines, strict=True)
        if line["right"]
    ]
    if len(right) < FEWEST * len(prompts):
        raise UserError(
            f"the denoiser is right on {len(right)} of {len(prompts)} training prompts, too few to learn from; "
            "learn from the texts of the data (--texts data), or fit the denoiser for longer"
        )
    return right


def _prompts(denoiser: TextDenoiser, task: Task, count: int) -> list[Example]:
    """The examples to answer."""
    train = task.examples("train")
    room = denoiser.context - denoiser.response_length
    first = AHEAD if len(train) >= ENDLESS else 0
    looked_at = range(first, min(len(train), first + 10 * count))
    codec = denoiser.codec
    fitting = (train[i] for i in looked_at if len(codec.encode_prompt(train[i].prompt, codec.special)) <= room)
    found = list(islice(fitting, count))
    if not found:
        raise UserError(f"no training prompt fits: a prompt may have {room} tokens; raise the context of the denoiser")
    return found


def _append(path: Path, lines: list[dict[str, object]]) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
    except OSError as error:
        raise could_not_write(path, error) from error


class Line(NamedTuple):
    """What stands on a line."""

    id: str
    text: str
    right: bool


_read_line = reader(Line)


def _known(path: Path, prompts: Sequence[Example], task: Task) -> list[dict[str, object]]:
    """The lines of the chunks that an earlier start finished; from one that is damaged on they are answered anew."""
    if not path.exists():
        return []
    lines: list[dict[str, object]] = []
    for text, prompt in zip(lines_of(path.read_bytes()), prompts, strict=False):
        try:
            line = _read_line(parse(text))
        except ValueError:
            break
        if line.id != prompt.id or line.right != task.correct(line.text, prompt):
            break
        lines.append(line._asdict())
    kept = lines if len(lines) == len(prompts) else lines[: len(lines) // CHUNK * CHUNK]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    return kept
