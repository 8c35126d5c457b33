"""The third stage: walk, let a slow decode say what was right, have the policy learn it, and walk again.

A round walks `taught_batches` batches of prompts and adds them to the lessons: the first by the largest probability,
the others with the policy as the round before left it. Its updates go over all lessons so far, again and again, without
the denoiser.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoiser
from unmask.denoisers.codec import Codec
from unmask.objectives import imitation_loss
from unmask.orders.policy import PolicyNetwork
from unmask.samplers.base import AnyUnmasker
from unmask.tasks.base import Example, Task
from unmask.train.learn_config import LearnConfig
from unmask.train.lessons import (
    Judge,
    Lesson,
    coins_of,
    largest_probability,
    make_lesson,
    read_lesson,
    write_lesson,
)
from unmask.train.runs import FOLDERS, remove_files
from unmask.train.shards import missing_shards
from unmask.train.stage import StageLoss, Step


class Prompts(NamedTuple):
    """A batch. clean: canvases with their budgets, all of the response masked. examples: what they are of."""

    clean: Canvas
    examples: Sequence[Example]
    draws: Draws


def task_judge(task: Task, codec: Codec, clean: Canvas, examples: Sequence[Example]) -> Judge:
    """The task's own idea of a correct answer, for the rows of `clean`."""
    place = {row: number for number, row in enumerate(clean.row.tolist())}
    masked = clean.masked.cpu()

    def judge(tokens: Tensor, canvas: Canvas) -> Tensor:
        found = []
        for written, row in zip(tokens.cpu(), canvas.row.tolist(), strict=True):
            response = written[masked[place[row]]].tolist()
            found.append(task.correct(codec.decode(response), examples[place[row]]))
        return torch.tensor(found, dtype=torch.bool, device=tokens.device)

    return judge


def round_of(update: int, config: LearnConfig) -> int:
    """The round, from 0, that update 0, 1, ... of the stage belongs to.

    Round r has r + 1 times the updates of the first, as it has r + 1 times the lessons: all rounds go over them equally
    often.
    """
    rounds, updates = config.taught_rounds, config.taught_updates
    ends = (updates * (r + 1) * (r + 2) / (rounds * (rounds + 1)) for r in range(rounds))
    return next(r for r, end in enumerate(ends) if update < end)


def taught_step(
    config: LearnConfig,
    folder: Path,
    prompts: Callable[[int], Prompts],
    task: Task,
    codec: Codec,
    policy: PolicyNetwork,
    denoiser: Denoiser,
    teacher: AnyUnmasker,
    show: Callable[[int, str], None],
) -> Step:
    """Updates of the stage, from 0. Lessons are kept in `folder`; while walking `show(update, words)` is told."""

    def step(update: int) -> StageLoss:
        known = (round_of(update, config) + 1) * config.taught_batches
        for number in missing_shards(folder, known):
            clean, examples, draws = prompts(number)
            walker = largest_probability if number < config.taught_batches else coins_of(policy)
            judge = task_judge(task, codec, clean, examples)
            write_lesson(folder, number, make_lesson(clean, walker, denoiser, teacher, judge, draws))
            show(update, f"batch {number + 1} of {known} walked")
        lesson = next_lesson(folder, update, known, str(policy.slope.device))
        loss = lesson_loss(lesson, policy)
        loss.backward()  # type: ignore[no-untyped-call]
        return StageLoss(loss.detach(), {"imitation": loss.item(), "canvases": float(len(lesson.canvas.row))})

    return step


def lesson_loss(lesson: Lesson, policy: PolicyNetwork) -> Tensor:
    """Scalar: nats per canvas."""
    return imitation_loss(policy(lesson.canvas, lesson.denoised), lesson.right).mean()


def next_lesson(folder: Path, update: int, known: int, device: str) -> Lesson:
    """The lesson of an update, one after the other; those that leave nothing to decide are passed over."""
    for number in range(update, update + known):
        lesson = read_lesson(folder, number % known, device)
        if len(lesson.canvas.row):
            return lesson
    raise UserError(
        "there is nothing to be taught: on all prompts the denoiser is certain of everything or wrong, however slow "
        "it writes; fit it for longer, or leave out --taught-updates"
    )


def forget_lessons(folder: Path) -> None:
    """Remove them once the order is learned."""
    remove_files(folder, *FOLDERS["lessons"])
