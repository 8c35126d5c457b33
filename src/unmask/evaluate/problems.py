"""Which examples a measurement is made on."""

from typing import NamedTuple

from unmask.core.errors import UserError
from unmask.denoisers.folder import TextDenoiser
from unmask.tasks.base import Example, Task


class Problem(NamedTuple):
    """An example with its place in the split, which is its row identity, and the tokens of its prompt."""

    row: int
    example: Example
    prompt_tokens: int


class Problems(NamedTuple):
    """chosen: in the order of the split. left_out: how many did not fit into the denoiser's context."""

    chosen: list[Problem]
    left_out: int


def first_problems(denoiser: TextDenoiser, task: Task, split: str, count: int) -> Problems:
    """The first `count` examples of a split (all, if it has fewer) without those the denoiser cannot hold.

    The same for every sampler, so comparisons are fair; an accuracy says nothing about the ones left out.
    """
    if count < 1:
        raise UserError(f"count must be at least 1 example, got {count}")
    examples = task.examples(split)
    wanted = min(count, len(examples))
    room = denoiser.context - denoiser.response_length
    chosen = []
    for row in range(wanted):
        example = examples[row]
        tokens = len(denoiser.codec.encode_prompt(example.prompt, denoiser.codec.special))
        if tokens <= room:
            chosen.append(Problem(row, example, tokens))
    if not chosen:
        raise UserError(
            f"none of the first {wanted} examples of {task.name}/{split} fits: a prompt may have {room} tokens"
        )
    return Problems(chosen, wanted - len(chosen))
