"""What every native network shares: from a canvas to hidden states to a `Denoised`, whatever lies in between.

A family says how it encodes and what its output head is; alignment, the mask token and memory are dealt with once.
"""

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.typed import check_fields, hints
from unmask.denoisers.base import Denoised, HeldRows, Rows, chunk_rows

LARGEST_BASE = 1e15  # of rotary positions; no network comes near it
MOST_LAYERS = 10_000  # a stack of blocks is built before anything is read into it


class NetworkConfig(Protocol):
    """What is known of any network. vocabulary: columns of the output head, the mask token's among them.

    context: the most positions it reads. width: of its hidden states.
    """

    @property
    def vocabulary(self) -> int: ...

    @property
    def mask_token(self) -> int: ...

    @property
    def context(self) -> int: ...

    @property
    def width(self) -> int: ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to config.json."""
        ...


class Network(nn.Module):
    """A denoiser: `network(canvas)` gives a `Denoised` whose `hidden` is what the output head reads.

    Subclasses set `config`, and define `encode` and `head`. What `encode` gives at position i must speak of the token
    at i: a family whose logits are shifted (Dream) undoes that there.
    """

    config: NetworkConfig
    head: nn.Module
    beyond: tuple[slice, ...] = ()  # columns of the output head that are no token of the tokenizer
    trunk: Callable[..., Tensor]  # the part of `encode` worth compiling: no shapes that depend on data

    def tie(self) -> None:
        """Let weights that are one and the same share a tensor again, as after their parts were loaded."""

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, L, D]: hidden states at every position; `tokens` long [B, L], `valid` bool [B, L]."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, V] from hidden states [M, D]; the mask token is impossible, and so is what is `beyond` the tokenizer."""
        logits: Tensor = self.head(hidden)
        logits[..., self.config.mask_token] = float("-inf")  # in place: a copy costs as much as the head itself
        for columns in self.beyond:
            logits[..., columns] = float("-inf")
        return logits

    def visible(self, canvas: Canvas) -> Tensor:
        """long [B, L]: the tokens to read; the mask token where something is still to be written, and on padding.

        Raises UserError if the canvas is longer than the network reads, or a token is none of its vocabulary.
        """
        columns = canvas.tokens.shape[1]  # padding among them, which does not count
        longest = columns if columns <= self.config.context else int(canvas.valid.sum(dim=-1).max())
        if longest > self.config.context:
            raise UserError(
                f"the canvas has {longest} positions but this denoiser reads at most "
                f"{self.config.context}; shorten the prompt or the response"
            )
        tokens = torch.where(canvas.valid & ~canvas.masked, canvas.tokens, self.config.mask_token)
        wrong = (tokens < 0) | (tokens >= self.config.vocabulary)
        if bool(wrong.any()):
            token, count = int(tokens[wrong][0]), self.config.vocabulary
            raise UserError(f"a canvas has the token {token}, and this denoiser has {count}, from 0")
        return tokens

    def forward(self, canvas: Canvas) -> Denoised:
        return self.answer(canvas, self.encode(self.visible(canvas), canvas.valid)[canvas.masked])

    def answer(self, canvas: Canvas, hidden: Tensor) -> Denoised:
        """From hidden states [M, D] at the masked positions.

        The output head runs when somebody reads its logits, on what is read (`Denoised.only`) and on as many positions
        at once as memory allows. Where gradients are kept and memory allows all of them, it runs here.
        """
        vocabulary, learning = self.config.vocabulary, torch.is_grad_enabled()
        held = hidden.shape[0] <= chunk_rows(vocabulary, hidden.element_size())
        if held and learning:
            return Denoised.from_logits(canvas, self.logits(hidden), hidden)
        shape = (canvas.masked.shape[0], canvas.masked.shape[1])
        rows = MadeRows(self.logits, hidden, learning, held)
        return Denoised(canvas.masked.nonzero(), shape, vocabulary, rows, hidden, held, canvas)

    @property
    def hidden_width(self) -> int:
        """D, the width of `Denoised.hidden`."""
        return self.config.width


def spans(numbers: AbstractSet[int]) -> tuple[slice, ...]:
    """The fewest slices that cover `numbers` and nothing else: what an embedding was padded with is one."""
    starts = sorted(number for number in numbers if number - 1 not in numbers)
    stops = sorted(number + 1 for number in numbers if number + 1 not in numbers)
    return tuple(map(slice, starts, stops))


@dataclass(frozen=True)
class MadeRows:
    """Logits that an output head makes of hidden states [M, D] when they are asked for.

    learning: whether the pass they belong to kept gradients; without, none are kept later. keep: make all at once the
    first time, and keep them.
    """

    head: Callable[[Tensor], Tensor]
    hidden: Tensor
    learning: bool
    keep: bool

    @cached_property
    def _all(self) -> Tensor:
        return self._made(self.hidden)

    def __call__(self, part: slice, /) -> Tensor:
        """[m, V]: the logits of a slice of 0..M."""
        return self._all[part] if self.keep else self._made(self.hidden[part])

    def take(self, index: Tensor) -> Rows:
        """Of some positions only; those that are kept already are not made again."""
        if "_all" in self.__dict__:
            return HeldRows(self._all[index])
        return replace(self, hidden=self.hidden[index])

    def _made(self, hidden: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
            return self.head(hidden)


def check_shape(config: Any, **at_least: float) -> None:
    """Raise UserError if an entry of a network's configuration is of another type or size than it can be, or does not
    fit another.

    Sizes and rotary bases are at least 1, other numbers not negative. at_least: where it is otherwise.
    """
    low: dict[str, float] = {}
    for name, kind in hints(type(config)).items():
        if name != "mask_token" and kind in (int, int | None, float):
            low[name] = 0 if kind is float and not name.endswith("rope_base") else 1
    check_fields(config, low | at_least)
    for name in low:
        if name.endswith("rope_base") and getattr(config, name) > LARGEST_BASE:
            raise UserError(f"{name} must be at most {LARGEST_BASE:g}, got {getattr(config, name):g}")
    if config.layers > MOST_LAYERS:
        raise UserError(f"layers must be at most {MOST_LAYERS:,}, got {config.layers}")
    if config.width % config.heads:
        raise UserError(f"width {config.width} does not split into {config.heads} heads; choose a multiple")
    if not 0 <= config.mask_token < config.vocabulary:
        raise UserError(f"mask token {config.mask_token} lies outside the vocabulary of {config.vocabulary}")


def blank(build: Callable[[Any], "Network"], config: Any) -> "Network":
    """A network without storage, to be read into. Raises UserError if its tensors would be too large to count."""
    try:
        with torch.device("meta"):
            return build(config)
    except (RuntimeError, OverflowError) as error:
        what = f"a vocabulary of {config.vocabulary} and a width of {config.width}"
        raise UserError(f"{what} make tensors that are too large to count") from error


def table(rows: int, width: int) -> nn.Embedding:
    """A blank embedding: filled by `initialise` or from a file. Drawing it here would import torch's compiler."""
    blank = torch.zeros(rows, width)
    return nn.Embedding.from_pretrained(blank, freeze=False)  # type: ignore[no-untyped-call,no-any-return]


def begin_anew(network: nn.Module, generator: torch.Generator, names: Collection[str] | None = None) -> None:
    """Draw weights from a normal law of deviation 0.02; norms become one and biases nought.

    names: of the parameters to begin; all of them where it is None. `generator` is one of the CPU.
    """
    for place, part in network.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            if names is not None and f"{place}.{name}".removeprefix(".") not in names:
                continue
            with torch.no_grad():
                if name == "bias":
                    parameter.zero_()
                elif isinstance(part, nn.LayerNorm):
                    parameter.fill_(1.0)
                else:
                    parameter.copy_(torch.empty(parameter.shape).normal_(0.0, 0.02, generator=generator))
