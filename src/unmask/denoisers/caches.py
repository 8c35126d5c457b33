"""Approximate caches: keys and values of an earlier pass in place of new ones.

In a causal network cached keys and values are those a new pass would compute. Here every position sees every other, so
each reveal changes all of them a little: a cache is an approximation, its size is to be measured, and it is called so.
Two kinds, after Fast-dLLM (Wu et al. 2025, arXiv 2505.22618, section 3.2):

    prefix-approximate   what was visible at the last full pass (the prompt and all written by then) is kept
    dual-approximate     of the masked positions, too, only the first block's are computed anew; the others keep keys,
                         values and hidden states. Their answers are old: for samplers in blocks (`block=window`)

Fast-dLLM computes everything anew where a block begins. `window` does that: a row has a full pass once nothing is left
to write in its window. `refresh` says how many passes a full one serves, itself included; at 1 all of this is exact.
"""

from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.core.registry import check_name, parse_spec
from unmask.denoisers.base import Denoised, Denoiser
from unmask.denoisers.network import Network
from unmask.denoisers.transformer import Transformer, rotary_angles


@dataclass(frozen=True)
class Cache:
    """What is kept, and for how long.

    window:  only the leftmost block with something masked is computed anew, blocks of so many positions being counted
             from the row's first masked one at the start as `Blockwise` counts them; None: all that is masked is.
    refresh: a full pass serves so many passes, itself included; None: as many as it takes to fill what is computed.
    """

    window: int | None = None
    refresh: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "refresh"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UserError(f"{name} of a cache must be a whole number of at least 1, got {value}")


def prefix_approximate(refresh: int | None = None) -> Cache:
    """Keep what was visible."""
    return Cache(refresh=refresh)


def dual_approximate(window: int = 32, refresh: int | None = None) -> Cache:
    """Keep all but the first masked positions."""
    return Cache(window, refresh)


CACHES = {
    "prefix-approximate": prefix_approximate,
    "dual-approximate": dual_approximate,
}


def make_cache(text: str) -> Cache:
    """The cache that `NAME:key=value,...` names, e.g. `dual-approximate:window=16,refresh=4`."""
    name, options = parse_spec(text)
    made: Any = CACHES[check_name(name, CACHES, "cache")]
    for key in options:
        check_name(key, signature(made).parameters, f"option of `{name}`")
    found: Cache = made(**options)
    return found


class Kept(NamedTuple):
    """What a full pass left for each row. Nothing in it changes until the next one, but for `age`.

    start:  long [B], the first masked position when decoding began.
    age:    long [B], passes since, itself included; 0 before the first.
    live:   bool [B, L], positions that each pass computes anew.
    keys, values: [B, layers, kv_heads, L, size].
    hidden: [B, L, D], read at masked positions that are not live.
    """

    start: Tensor
    age: Tensor
    live: Tensor
    keys: Tensor
    values: Tensor
    hidden: Tensor

    def take(self, rows: Tensor) -> "Kept":
        """The given rows (long or bool index)."""
        return Kept(*(value[rows] for value in self))

    def put(self, rows: Tensor, kept: "Kept") -> "Kept":
        """A copy in which `rows` (long) are those of `kept`."""
        return Kept(*(old.index_copy(0, rows, new) for old, new in zip(self, kept, strict=True)))


def encode(
    network: Transformer, tokens: Tensor, valid: Tensor, place: Tensor, kept: Kept | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states [B, W, D], keys and values [B, layers, kv_heads, W, size] at `place` (long [B, W]) of each row.

    tokens: long [B, W]. valid: bool [B, L]. They attend to themselves and, with `kept`, to what it has of the other
    positions. Of a row's places those that are not live repeat some other position and change nothing.
    """
    x = network.embed(tokens)
    size = network.config.width // network.config.heads
    position = positions_from_first_valid(valid).gather(1, place)
    cos, sin = rotary_angles(position, size, network.config.rope_base, x.dtype, network.config.rope_bfloat16)
    mask = None if bool(valid.all()) else valid[:, None, None, :]
    keys, values = [], []
    for layer, block in enumerate(network.blocks):
        attention: Any = block.attention
        query, key, value = attention.project(block.attention_norm(x), cos, sin)  # type: ignore[operator]
        keys.append(key)
        values.append(value)
        if kept is not None:
            key = merge(kept.keys[:, layer], key, place, kept.live)
            value = merge(kept.values[:, layer], value, place, kept.live)
        x = x + attention.mix(query, key, value, mask)
        x = x + block.feed_forward(block.feed_forward_norm(x))  # type: ignore[operator]
    return network.norm(x), torch.stack(keys, dim=1), torch.stack(values, dim=1)


def merge(old: Tensor, new: Tensor, place: Tensor, live: Tensor) -> Tensor:
    """`old` [B, H, L, size] with `new` [B, H, W, size] at those of its places (long [B, W], all different) that are
    live (bool [B, L])."""
    index = place[:, None, :, None].expand(new.shape)
    fresh = live.gather(1, place)[:, None, :, None]
    return old.scatter(2, index, torch.where(fresh, new, old.gather(2, index)))


@dataclass(frozen=True)
class CachedTransformer:
    """A `Remembering` denoiser. Called plainly it is the exact network; `decode_canvas` hands it what it remembers.

    Every row has its full passes when it needs them itself, so a row does not depend on its neighbours.
    """

    network: Transformer
    cache: Cache

    @torch.no_grad()
    def __call__(self, canvas: Canvas) -> Denoised:
        """One exact pass."""
        return self.network(canvas)  # type: ignore[no-any-return]

    def begin(self, canvas: Canvas) -> Kept:
        """Nothing kept: every row is due for a full pass."""
        config, (rows, length) = self.network.config, canvas.masked.shape
        weight = self.network.embed.weight
        kv_heads = config.kv_heads or config.heads
        empty = weight.new_zeros(rows, config.layers, kv_heads, length, 0)
        start, nothing = canvas.masked.long().argmax(dim=-1), torch.zeros_like(canvas.masked)
        return Kept(start, torch.zeros_like(canvas.row), nothing, empty, empty, weight.new_zeros(rows, length, 0))

    @torch.no_grad()
    def denoise(self, canvas: Canvas, memory: Kept) -> tuple[Denoised, Kept]:
        """A full pass for the rows that are due, one over the live positions for the others."""
        due = (memory.age == 0) | ~(memory.live & canvas.masked).any(dim=-1)
        if self.cache.refresh is not None:
            due = due | (memory.age >= self.cache.refresh)
        if bool(due.all()):
            memory = self._full(canvas, memory.start)
            return self._answer(canvas, memory.hidden), memory
        rows, others = due.nonzero().squeeze(-1), (~due).nonzero().squeeze(-1)
        memory = memory._replace(age=memory.age + 1)
        if len(rows):
            memory = memory.put(rows, self._full(canvas.take(rows), memory.start[rows]))
            hidden = memory.hidden.index_copy(0, others, self._partial(canvas.take(others), memory.take(others)))
        else:
            hidden = self._partial(canvas, memory)
        return self._answer(canvas, hidden), memory

    def _answer(self, canvas: Canvas, hidden: Tensor) -> Denoised:
        return self.network.answer(canvas, self.network.align(hidden, canvas.valid)[canvas.masked])

    def _full(self, canvas: Canvas, start: Tensor) -> Kept:
        place = torch.arange(canvas.tokens.shape[1], device=canvas.tokens.device).expand(canvas.tokens.shape)
        hidden, keys, values = encode(self.network, self.network.visible(canvas), canvas.valid, place)
        live = canvas.masked
        if self.cache.window is not None:
            block = torch.div(place - start[:, None], self.cache.window, rounding_mode="floor")
            leftmost = block.gather(1, live.long().argmax(dim=-1, keepdim=True))
            live = live & (block == leftmost)
        return Kept(start, torch.ones_like(canvas.row), live, keys, values, hidden)

    def _partial(self, canvas: Canvas, kept: Kept) -> Tensor:
        """[B, L, D]: the live positions computed anew, the others as they were."""
        width = int(kept.live.sum(dim=-1).max())
        place = kept.live.long().argsort(dim=-1, descending=True, stable=True)[:, :width]  # live ones first
        tokens = self.network.visible(canvas).gather(1, place)
        hidden, _, _ = encode(self.network, tokens, canvas.valid, place, kept)
        return merge(kept.hidden[:, None], hidden[:, None], place, kept.live)[:, 0]


def with_cache(denoiser: Denoiser, cache: str | Cache) -> CachedTransformer:
    """The network of `denoiser` with an approximate cache. Raises UserError if it is not the native transformer."""
    network = getattr(denoiser, "network", denoiser)
    if not isinstance(network, Transformer):
        which = type(network if isinstance(network, Network) else denoiser).__name__
        raise UserError(
            f"a cache needs the native transformer, and {which} is another denoiser: LLaDA, Dream, SMDM and those that "
            "`unmask fit` begins can be cached; decode this one without a cache"
        )
    return CachedTransformer(network, make_cache(cache) if isinstance(cache, str) else cache)
