"""Any masked language model of transformers as a denoiser: it gives logits at every position, and that is enough.

    denoiser = unmask.denoiser_from_transformers(model, mask_token=tokenizer.mask_token_id)

For LLaDA, Dream, SMDM and MDLM the native networks of this package are the better choice: they run the output head at
masked positions only. Nothing here imports transformers; any callable that takes `input_ids` and returns an object with
`logits` will do.
"""

from collections.abc import Callable
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

    accepts: the names of the arguments its forward pass takes.
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
        tokens = torch.where(canvas.masked, self.mask_token, canvas.tokens)
        answer = self.model(input_ids=tokens, **self._arguments(canvas))
        row, position = canvas.masked.nonzero(as_tuple=True)
        if self.shift:  # what is said of a token stands one position before it, but for the first of a row
            first = canvas.valid.long().argmax(dim=-1)
            position = (position - 1).maximum(first[row])
        logits = answer.logits[row, position]  # [M, V]
        for columns in impossible_columns(frozenset({self.mask_token, *self.impossible}), self.codec, logits.shape[-1]):
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
def impossible_columns(named: frozenset[int], codec: Codec | None, vocabulary: int) -> tuple[slice, ...]:
    """Columns of logits [M, vocabulary] that are `named`, or no token of the codec."""
    return spans(named | (frozenset() if codec is None else codec.beyond(vocabulary)))


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
) -> BorrowedDenoiser:
    """A denoiser from a masked model of transformers, in whatever mode (`eval`) and on whatever device it is.

    mask_token: id of the mask token; what its configuration says unless given.
    shift:      True where the logits at i are about the token at i + 1, as in Dream and other models adapted from
                autoregressive ones.
    attention:  "padding" passes the 0/1 mask [B, L] of what is no padding, and only where there is padding; "full" a
                boolean one [B, 1, L, L] that lets every position see every other, for architectures that would
                otherwise be causal.
    hidden:     also give the last hidden states, which some learned orders read.
    impossible: other tokens that must never be written. Those that are none of the codec's never are.
    codec, response_length: to decode texts instead of canvases.

    Raises UserError if there is no saying which token is the mask.
    """
    if mask_token is None:
        mask_token = getattr(getattr(model, "config", None), "mask_token_id", None)
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
        impossible=impossible,
        codec=codec,
        response_length=response_length,
    )
