"""Lessons: canvases that a decode reached by itself, and which of their most probable tokens are right already.

What is right is what a slow decode would go on to write from there, wherever a judge says that its answer is correct:
prompts and a judge are enough, no texts are read. It is asked at every canvas: with a mistake on it another answer is
right, and without one there are several, of which only that of this canvas goes with what stands there. The canvases
that the slow decode passes through on its way are lessons too, some of them: what it went on to write is known.

A filter that predicts what the finished text agrees with: Learn2PD, Bao et al. 2025, arXiv 2509.25188; that it has to
be asked on the learner's own canvases: DAgger, Ross et al. 2011, arXiv 1011.0686.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.base import Denoised, Denoiser
from unmask.orders.policy import PolicyNetwork
from unmask.reveals.bernoulli import Bernoulli
from unmask.samplers.base import AnyUnmasker
from unmask.samplers.decode import decode_canvas
from unmask.samplers.pick import pick_from_level
from unmask.train.features import CANVAS, Kept, Player, keep, kept_of
from unmask.train.shards import check_canvas, check_seen, check_tensor, reading_shard, shard_path, write_shard_file

FORMAT, VERSION = "unmask-lesson", 1
LEVELS = (0.8, 0.97)  # of the thresholds that canvases are reached by, as those that serve
PASSED = 0.25  # share of the canvases that the slow decode passes through that is kept: many, and alike
SURE = 0.98  # where every position is at least this certain there is nothing to decide

Walker = Callable[[Canvas, Denoised], Tensor]
"""From a canvas and what the denoiser says to [B, L]: how likely each masked position is right, as far as it knows."""

Judge = Callable[[Tensor, Canvas], Tensor]
"""From finished tokens, long [b, L], and the canvas whose `row` says whose they are, to bool [b]: is it correct?"""


class Lesson(NamedTuple):
    """canvas: N canvases, of any step. right: bool [N, L], masked positions whose most probable token is right.

    said: what the denoiser said there (`features.Recorder`).
    """

    canvas: Canvas
    right: Tensor
    said: dict[str, Tensor]

    @property
    def denoised(self) -> Denoised:
        """What the denoiser said, where the canvas is."""
        return Player([self.said])(self.canvas)


@torch.no_grad()
def make_lesson(
    clean: Canvas, walker: Walker, denoiser: Denoiser, teacher: AnyUnmasker, judge: Judge, draws: Draws
) -> Lesson:
    """Follow the walker through each row of `clean`, greedily and by a threshold, up to the last step.

    Each row's level is drawn, so that there are hasty paths and slow ones. Kept are canvases with something to decide.
    """
    level = LEVELS[0] + (LEVELS[1] - LEVELS[0]) * draws.row_uniform(clean, "level")[:, None]
    canvas, met = clean, [none_of(clean)]
    while bool((going := canvas.unfinished & ~canvas.last_step).any()):  # at the last step nothing is decided
        canvas, level = canvas.take(going), level[going]
        slow = go_on(canvas, denoiser, teacher)
        correct = judge(slow.tokens, canvas)
        met.append(of_pass(0, canvas, slow, correct))
        for number in range(1, len(slow.passes)):
            some = draws.row_uniform(canvas, f"passed through at {number}") < PASSED
            met.append(of_pass(number, canvas, slow, correct & some))
        said = cast(Denoised, slow.passes[0].said)
        best = said.to_rows(said.top2_tokens[:, 0], 0)
        canvas = canvas.reveal(pick_from_level(canvas, walker(canvas, said) - level, 0.0), best).take(correct)
        level = level[correct]
    return join(met)


def of_pass(number: int, canvas: Canvas, slow: "Slow", wanted: Tensor) -> Lesson:
    """The canvases of a pass of a slow decode that began at `canvas`, of the rows `wanted` (bool [B]).

    They count as reached in as many steps as passes, but with a step to come: where a hurried decode may meet them.
    """
    rows, before, said = slow.passes[number]
    start = canvas.take(rows)
    step = torch.minimum(start.step + number, start.budget - 2)
    best = said.to_rows(said.top2_tokens[:, 0], 0)
    undecided = (said.to_rows(said.top2[:, 0], 1.0) < SURE).any(-1)
    right = before.masked & (best == slow.tokens[rows])
    return take(
        Lesson(replace(before, step=step, budget=start.budget), right, kept_of(said)), wanted[rows] & undecided
    )


def largest_probability(canvas: Canvas, denoised: Denoised) -> Tensor:
    """The walker that has learned nothing: a threshold on what the denoiser itself gives its best guess."""
    return denoised.to_rows(denoised.top2[:, 0], 0.0)


def coins_of(policy: PolicyNetwork) -> Walker:
    """A policy as a walker."""
    return lambda canvas, denoised: cast(Bernoulli, policy(canvas, denoised)).probabilities()


class Pass(NamedTuple):
    """rows: long [b], those of the canvases still being written. before: canvas [b]. said: what the denoiser said."""

    rows: Tensor
    before: Canvas
    said: Kept


class Slow(NamedTuple):
    """tokens: long [B, L], the finished canvases. passes: how they came about; the first is of all."""

    tokens: Tensor
    passes: list[Pass]


def go_on(canvas: Canvas, denoiser: Denoiser, teacher: AnyUnmasker) -> Slow:
    """What the teacher makes of unfinished canvases, with a step for each position."""
    unhurried = replace(canvas, step=torch.zeros_like(canvas.step), budget=canvas.masked.sum(-1))
    passes: list[Pass] = []
    decoded = decode_canvas(
        denoiser, unhurried, teacher,
        on_step=lambda step: passes.append(Pass(step.rows, step.before, keep(step.denoised))),
    )  # fmt: skip
    return Slow(decoded.canvas.tokens, passes)


def none_of(canvas: Canvas) -> Lesson:
    """No canvases, of the length of this one."""
    nobody = torch.zeros_like(canvas.row, dtype=torch.bool)
    return Lesson(canvas.take(nobody), canvas.masked[nobody], {})


def take(lesson: Lesson, rows: Tensor) -> Lesson:
    """The canvases that `rows` (bool [N]) names, on the CPU."""
    rows = rows.cpu()
    canvas = lesson.canvas.to("cpu")
    of = rows.repeat_interleave(canvas.masked.sum(-1))
    return Lesson(canvas.take(rows), lesson.right.cpu()[rows], {name: value[of] for name, value in lesson.said.items()})


def join(lessons: list[Lesson]) -> Lesson:
    """One after the other; all canvases are of the same length."""
    fields = {name: torch.cat([getattr(each.canvas, name).cpu() for each in lessons]) for name in CANVAS}
    names = {name: None for each in lessons for name in each.said}
    said = {name: torch.cat([each.said[name] for each in lessons if each.said]) for name in names}
    return Lesson(Canvas(**fields), torch.cat([each.right.cpu() for each in lessons]), said)


def write_lesson(folder: Path, number: int, lesson: Lesson) -> None:
    """Write one lesson in one go."""
    tensors = {f"canvas.{name}": getattr(lesson.canvas, name) for name in CANVAS}
    tensors |= {f"said.{name}": value for name, value in lesson.said.items()}
    write_shard_file(shard_path(folder, number), tensors | {"right": lesson.right}, header(number))


def read_lesson(folder: Path, number: int, device: str) -> Lesson:
    """Read one lesson. Raises UserError naming the file if it is missing, damaged or not what it should be."""
    with reading_shard(shard_path(folder, number), header(number)) as (tensors, _):
        canvas = check_canvas(Canvas(*(tensors[f"canvas.{name}"] for name in CANVAS)))
        said = {name[5:]: value for name, value in tensors.items() if name.startswith("said.")}
        right = check_tensor(tensors["right"], "right", "bool", *canvas.tokens.shape)
        return Lesson(canvas.to(device), right.to(device), check_seen(said, int(canvas.masked.sum())))


def header(number: int) -> dict[str, object]:
    """What every lesson says of itself."""
    return {"format": FORMAT, "version": VERSION, "number": number}
