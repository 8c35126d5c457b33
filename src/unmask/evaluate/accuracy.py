"""How often a sampler is right: the light measurement that fitting and learning validate with."""

from typing import NamedTuple

from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.problems import first_problems
from unmask.samplers.generate import Sampler, decode
from unmask.tasks.base import Task


class Accuracy(NamedTuple):
    """accuracy: share of right answers. steps and nfe: per row. n: examples measured on."""

    accuracy: float
    steps_mean: float
    steps_min: int
    steps_max: int
    nfe: float
    n: int


def deployed_accuracy(
    denoiser: TextDenoiser,
    task: Task,
    split: str,
    count: int,
    sampler: Sampler,
    budget: int,
    seed: int = 0,
    batch: int = 64,
) -> Accuracy:
    """Decode the first `count` examples of a split as a user would (temperature 0) and judge the texts.

    Rows are numbered as in the split: the same call gives the same numbers, and one with a larger `count`
    repeats the rows of a smaller one. Writes nothing.
    """
    problems = first_problems(denoiser, task, split, count).chosen
    generations = decode(
        denoiser,
        [problem.example.prompt for problem in problems],
        sampler=sampler,
        budget=budget,
        seed=seed,
        batch=batch,
        rows=[problem.row for problem in problems],
        split_special_tokens=True,
    )
    right = sum(
        task.correct(generation.text or "", problem.example)
        for generation, problem in zip(generations, problems, strict=True)
    )
    steps = [generation.steps for generation in generations]
    n = len(generations)
    return Accuracy(
        accuracy=right / n,
        steps_mean=sum(steps) / n,
        steps_min=min(steps),
        steps_max=max(steps),
        nfe=sum(generation.nfe for generation in generations) / n,
        n=n,
    )
