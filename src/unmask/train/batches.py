"""Which examples make up update `n`: a pure function of (data, seed, n), so that a resumed run sees the same."""

import ctypes
import math
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.codec import Codec
from unmask.tasks.base import Example

ENDLESS = 1 << 32  # a split at least this long is never repeated, so it needs no shuffling
POOL = 4096  # examples that are sorted by length together, as far as that makes 4 to 16 batches
FIELDS = ("tokens", "masked", "valid", "step", "budget", "row")


class Batch(NamedTuple):
    """A clean canvas whose `masked` marks the positions that may be masked, with the clean tokens in place."""

    canvas: Canvas
    examples: list[Example]


class _Made(NamedTuple):
    """A pool from another process. packed: of each batch the canvas as arrays, for a tensor would travel as a file."""

    pool: float
    packed: list[tuple[list[Any], list[Example]]]


_NONE_YET, _NONE_LEFT = _Made(-1, []), _Made(math.inf, [])


class Batches:
    """Batches of similar prompt length, so that little is padding.

    Examples are taken in a seeded order (a fresh permutation each epoch), `pool` batches at a time; within a pool
    they are sorted by prompt length and the batches shuffled. Examples that do not fit are left out, and the first
    of the pool that do are taken once more in their place, with draws of their own.
    pool: None for as many as `POOL` examples make.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        codec: Codec,
        rows: int,
        response_length: int,
        context: int,
        seed: int,
        pool: int | None = None,
        pad_to: int = 8,
    ) -> None:
        if not len(examples):
            raise UserError("there are no training examples; give a file that has some")
        self.examples, self.codec, self.rows, self.seed = examples, codec, rows, seed
        self.pool = pool or max(4, min(16, POOL // rows))
        self.response_length, self.context, self.pad_to = response_length, context, pad_to
        self._coming: Iterator[_Made] = iter(())
        self._head = _NONE_YET
        self._pool = lru_cache(maxsize=2)(self._take_pool)
        self._permutation = lru_cache(maxsize=2)(self._make_permutation)

    def batch(self, update: int) -> Batch:
        """The batch of update 0, 1, 2, ..."""
        return self._pool(update // self.pool)[update % self.pool]

    def prefetch(self, first: int, last: int, workers: int, let_go: Callable[[], None] = lambda: None) -> None:
        """Have `workers` processes make the batches of updates first, ..., last - 1 ahead; the same ones, sooner.

        They are to be asked for in turn; one that is passed over is made when it is asked for. 0 workers: nothing.
        let_go: called in each of them first, for they are forks and hold open what is open here.
        """
        pools = range(first // self.pool, -(-last // self.pool))
        if workers and pools:
            loader = DataLoader(
                _Pools(self), batch_size=None, sampler=pools, num_workers=workers, prefetch_factor=2,
                collate_fn=_as_it_is, multiprocessing_context="fork", worker_init_fn=lambda _: _begin(let_go),
            )  # fmt: skip
            self._coming, self._head = iter(loader), _NONE_YET

    def _take_pool(self, pool: int) -> list[Batch]:
        while self._head.pool < pool:
            self._head = next(self._coming, _NONE_LEFT)
        if self._head.pool == pool:
            return [Batch(Canvas(*map(torch.from_numpy, arrays)), chosen) for arrays, chosen in self._head.packed]
        return self._make_pool(pool)

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
            prompt = self.codec.encode_prompt(example.prompt, self.codec.special)
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


class _Pools(Dataset[_Made]):
    """Whole pools by number."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, pool: int) -> _Made:
        made = self.batches._make_pool(pool)
        return _Made(pool, [([getattr(b.canvas, name).numpy() for name in FIELDS], b.examples) for b in made])


def _begin(let_go: Callable[[], None]) -> None:
    """What a process does first: let go, and see to it that it goes when the one that asks for its batches is killed.

    Left to itself it would wait for ever to hand over what nobody takes (Linux; elsewhere it does).
    """
    let_go()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one answer to Ctrl-C is enough
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))  # told to end, it goes without a word
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _as_it_is(item: Any) -> Any:
    return item


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
