"""Any masked language model of transformers as a denoiser: it gives logits at every position, and that is enough.

    denoiser = unmask.denoiser_from_transformers(model, mask_token=tokenizer.mask_token_id)

For LLaDA, Dream, SMDM and MDLM the native networks of this package are the better choice: they run the output head at
masked positions only. Nothing here imports transformers; any callable that takes `input_ids` and returns an object with
`logits` will do.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import Any, Literal

import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.denoisers.codec import Codec
from unmask.denoisers.network import spans

Attention = Literal["padding", "full"]


@dataclass(frozen=True)
class BorrowedDenoiser:
    """A model of somebody else's as a denoiser; made by `denoiser_from_transformers`, which says what the fields are.

    accepts: the names of the arguments its forward pass takes. tokens: the ids that are tokens; None for the codec's,
        and without one for all there are.
    """

    model: Callable[..., Any]
    mask_token: int
    accepts: frozenset[str]
    shift: bool = False
    attention: Attention = "padding"
    hidden: bool = False
    impossible: tuple[int, ...] = ()
    codec: Codec | None = None
    response_length: int | None = None
    tokens: frozenset[int] | None = None

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return torch.device(getattr(self.model, "device", "cpu"))

    @property
    def context(self) -> int | None:
        """The most positions it reads, if its configuration says so."""
        config = getattr(self.model, "config", None)
        return getattr(config, "max_position_embeddings", None) or getattr(config, "max_sequence_length", None)

    @torch.no_grad()
    def __call__(self, canvas: Canvas) -> Denoised:
        """One forward pass over all positions; logits [M, V] of the masked ones are kept."""
        tokens = torch.where(canvas.valid & ~canvas.masked, canvas.tokens, self.mask_token)  # padding may be any number
        answer = self.model(input_ids=tokens, **self._arguments(canvas))
        row, position = canvas.masked.nonzero(as_tuple=True)
        if self.shift:  # what is said of a token stands one position before it, but for the first of a row
            first = canvas.valid.long().argmax(dim=-1)
            position = (position - 1).maximum(first[row])
        logits = answer.logits[row, position]  # [M, V]
        known = self.codec.ids if self.tokens is None and self.codec is not None else self.tokens
        never = frozenset({self.mask_token, *self.impossible})
        for columns in impossible_columns(never, known, logits.shape[-1]):
            logits[:, columns] = float("-inf")
        return Denoised.from_logits(canvas, logits, answer.hidden_states[-1][row, position] if self.hidden else None)

    def _arguments(self, canvas: Canvas) -> dict[str, Any]:
        """What else the forward pass is told: who sees whom, and where a row begins."""
        found: dict[str, Any] = {}
        padded = not bool(canvas.valid.all())
        if self.attention == "full":
            itself = torch.eye(canvas.valid.shape[1], dtype=torch.bool, device=canvas.valid.device)
            # padding sees itself: a position that sees nothing is NaN, and 0 times NaN is NaN
            found["attention_mask"] = canvas.valid[:, None, None, :] | itself
        elif padded:
            found["attention_mask"] = canvas.valid.long()
        if padded and "position_ids" in self.accepts:
            found["position_ids"] = positions_from_first_valid(canvas.valid).clamp(min=0)
        if self.hidden:
            found["output_hidden_states"] = True
        if "use_cache" in self.accepts:
            found["use_cache"] = False
        return found


@lru_cache(maxsize=16)
def impossible_columns(named: frozenset[int], tokens: frozenset[int] | None, vocabulary: int) -> tuple[slice, ...]:
    """Columns of logits [M, vocabulary] that are `named`, or none of the `tokens` where these are known."""
    beyond = frozenset() if tokens is None else frozenset(range(vocabulary)) - tokens
    return spans(frozenset(number for number in named | beyond if number < vocabulary))


def denoiser_from_transformers(
    model: Any,
    mask_token: int | None = None,
    *,
    shift: bool = False,
    attention: Attention = "padding",
    hidden: bool = False,
    impossible: tuple[int, ...] = (),
    codec: Codec | None = None,
    response_length: int | None = None,
    tokenizer: Any = None,
) -> BorrowedDenoiser:
    """A denoiser from a masked model of transformers, in whatever mode (`eval`) and on whatever device it is.

    mask_token: id of the mask token; what its configuration says, or else the tokenizer, unless given.
    shift:      True where the logits at i are about the token at i + 1, as in Dream and other models adapted from
                autoregressive ones.
    attention:  "padding" passes the 0/1 mask [B, L] of what is no padding, and only where there is padding; "full" a
                boolean one [B, 1, L, L] that lets every position see every other, for architectures that would
                otherwise be causal.
    hidden:     also give the last hidden states, which some learned orders read.
    impossible: other tokens that must never be written.
    codec, response_length: to decode texts instead of canvases.
    tokenizer:  of transformers. Embeddings are padded to round sizes, and an id that is no token of the tokenizer, or
                of the codec, is never written; where neither is given, nobody knows which those are.

    Raises UserError if there is no saying which token is the mask, or on what is no tokenizer.
    """
    tokens = None if tokenizer is None else ids_of(tokenizer)
    if mask_token is None:
        mask_token = getattr(getattr(model, "config", None), "mask_token_id", None)
    if mask_token is None:
        mask_token = getattr(tokenizer, "mask_token_id", None)
    if mask_token is None:
        raise UserError(
            "the configuration of this model does not say which token is the mask: pass mask_token, "
            "e.g. mask_token=tokenizer.mask_token_id"
        )
    if attention not in ("padding", "full"):
        raise UserError(f"attention must be padding or full, got {attention}")
    accepts = frozenset(signature(getattr(model, "forward", model)).parameters)
    return BorrowedDenoiser(
        model=model,
        mask_token=mask_token,
        accepts=accepts,
        shift=shift,
        attention=attention,
        hidden=hidden,
        impossible=check_impossible(impossible),
        codec=codec,
        response_length=response_length,
        tokens=tokens,
    )


def ids_of(tokenizer: Any) -> frozenset[int]:
    """The ids of all tokens of a tokenizer of transformers. Raises UserError on what is none."""
    try:
        return frozenset(tokenizer.get_vocab().values())
    except AttributeError as error:
        raise UserError(
            f"tokenizer must be one of transformers (AutoTokenizer.from_pretrained), got {type(tokenizer).__name__}"
        ) from error


def check_impossible(tokens: Any) -> tuple[int, ...]:
    """The ids that must never be written. Raises UserError if they are none."""
    several = tuple(tokens) if isinstance(tokens, Collection) and not isinstance(tokens, str | bytes) else (tokens,)
    if any(not isinstance(token, int) or isinstance(token, bool) or token < 0 for token in several):
        raise UserError(f"impossible tokens are whole numbers of at least 0 in a list, got {tokens!r:.80}")
    return several
