"""Which examples make up update `n`: a pure function of (data, seed, n), so that a resumed run sees the same."""

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.codec import Codec
from unmask.tasks.base import Example

ENDLESS = 1 << 32  # a split at least this long is never repeated, so it needs no shuffling


class Batch(NamedTuple):
    """A clean canvas whose `masked` marks the positions that may be masked, with the clean tokens in place."""

    canvas: Canvas
    examples: list[Example]


class Batches:
    """Batches of similar prompt length, so that little is padding.

    Examples are taken in a seeded order (a fresh permutation each epoch), `pool` batches at a time; within a pool
    they are sorted by prompt length and the batches shuffled. Examples that do not fit are left out, and the first
    of the pool that do are taken once more in their place, with draws of their own.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        codec: Codec,
        rows: int,
        response_length: int,
        context: int,
        seed: int,
        pool: int = 16,
        pad_to: int = 8,
    ) -> None:
        if not len(examples):
            raise UserError("there are no training examples; give a file that has some")
        self.examples, self.codec, self.rows, self.seed, self.pool = examples, codec, rows, seed, pool
        self.response_length, self.context, self.pad_to = response_length, context, pad_to
        self._pool = lru_cache(maxsize=2)(self._make_pool)
        self._permutation = lru_cache(maxsize=2)(self._make_permutation)

    def batch(self, update: int) -> Batch:
        """The batch of update 0, 1, 2, ..."""
        return self._pool(update // self.pool)[update % self.pool]

    def _make_permutation(self, epoch: int) -> list[int]:
        order = list(range(len(self.examples)))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        return order

    def _example(self, number: int) -> Example:
        if len(self.examples) >= ENDLESS:
            return self.examples[(number + self.seed * 0x5DEECE66D) % len(self.examples)]
        epoch, place = divmod(number, len(self.examples))
        return self.examples[self._permutation(epoch)[place]]

    def _make_pool(self, pool: int) -> list[Batch]:
        size = self.rows * self.pool
        chosen = []
        for number in range(pool * size, (pool + 1) * size):
            example = self._example(number)
            response = self.codec.encode_response(example.response, self.response_length)
            prompt = self.codec.encode_prompt(example.prompt)
            if response is None or len(prompt) + self.response_length > self.context:
                continue
            chosen.append((len(prompt), number, prompt, response, example))
        if not chosen:
            raise UserError(
                f"no training example fits: prompt and a response of {self.response_length} tokens pass the context "
                f"of {self.context}, or the responses are longer than that; raise --context or --response-length"
            )
        kept = len(chosen)
        for spare in range(size - kept):  # repeat from the start of the pool what did not fit
            again, place = divmod(spare, kept)
            length, number, prompt, response, example = chosen[place]
            chosen.append((length, -number - 1 - again * ENDLESS, prompt, response, example))
        chosen.sort(key=lambda item: item[:2])
        batches = [self._assemble(chosen[start : start + self.rows]) for start in range(0, len(chosen), self.rows)]
        random.Random(f"{self.seed}/pool/{pool}").shuffle(batches)
        return batches

    def _assemble(self, chosen: list[tuple[int, int, list[int], list[int], Example]]) -> Batch:
        prompts = [item[2] for item in chosen]
        canvas = self.codec.assemble(
            prompts, [item[3] for item in chosen], 1, None, [item[1] for item in chosen], masked=True
        )
        return Batch(pad_left(canvas, self.pad_to, self.codec.pad_token), [item[4] for item in chosen])


def pad_left(canvas: Canvas, multiple: int, token: int) -> Canvas:
    """Add padding on the left until the length is a multiple: few distinct shapes to compile for."""
    extra = -canvas.tokens.shape[1] % multiple
    if not extra:
        return canvas

    def extend(value: Tensor, fill: int | bool) -> Tensor:
        return torch.cat([value.new_full((value.shape[0], extra), fill), value], dim=1)

    return Canvas(
        extend(canvas.tokens, token),
        extend(canvas.masked, False),
        extend(canvas.valid, False),
        canvas.step,
        canvas.budget,
        canvas.row,
    )
