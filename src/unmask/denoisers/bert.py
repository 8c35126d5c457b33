"""BERT: a masked language model is a denoiser whose canvas has only ever had a few holes.

Post-norm blocks with learned positions (Devlin et al. 2019, arXiv 1810.04805), in the layout of `BertForMaskedLM`.
It was trained with 15 % of the tokens hidden, so as it comes it is at its best near the end of a canvas;
`unmask fit --init` teaches it the beginning.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.denoisers.network import Network, begin_anew, check_shape, table

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_fast": partial(F.gelu, approximate="tanh"),
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}


@dataclass(frozen=True)
class BertConfig:
    """Shape of a `Bert`. context: rows of the table of positions, so it cannot grow."""

    vocabulary: int
    mask_token: int
    context: int = 512
    layers: int = 12
    width: int = 768
    heads: int = 12
    hidden: int = 3072
    token_types: int = 2
    norm_eps: float = 1e-12
    activation: str = "gelu"
    tied: bool = True

    def __post_init__(self) -> None:
        check_shape(self)
        if self.activation not in ACTIVATIONS:
            raise UserError(f"there is no activation {self.activation!r}; choose one of {', '.join(ACTIVATIONS)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to config.json."""
        return asdict(self)


class Attention(nn.Module):
    """Every position looks at every valid one; biases everywhere."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, H, L, D / H]
            for project in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers with an activation between."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """norm(x + attention(x)), then norm(x + feed_forward(x)): the norm comes after the sum."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention_norm(x + self.attention(x, mask))
        return self.feed_forward_norm(x + self.feed_forward(x))  # type: ignore[no-any-return]


class PredictionHead(nn.Module):
    """From hidden states [M, D] to logits [M, V]: a layer, a norm, and the decoder with a bias for every token."""

    def __init__(
        self, width: int, vocabulary: int, activation: str, eps: float, *, bias: bool = True,
        norm_bias: bool = True, decoder_bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dense = nn.Linear(width, width, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(width, eps=eps, bias=norm_bias)
        self.decoder = nn.Linear(width, vocabulary, bias=decoder_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.norm(self.activation(self.dense(hidden))))  # type: ignore[no-any-return]


class Bert(Network):
    """The denoiser: `Bert(config)(canvas)` gives a `Denoised` whose `hidden` is the output of the last block.

    Positions count from each row's first valid one, so padding on either side changes nothing.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config: BertConfig = config
        self.embed = table(config.vocabulary, config.width)
        self.places = table(config.context, config.width)
        self.types = table(config.token_types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head: PredictionHead = PredictionHead(
            config.width, config.vocabulary, config.activation, config.norm_eps
        )
        self.tie()

    def tie(self) -> None:
        """Let the decoder share the embedding's tensor, if it does."""
        if self.config.tied:
            self.head.decoder.weight = self.embed.weight

    def initialise(self, generator: torch.Generator) -> "Bert":
        """Normal weights of deviation 0.02, as BERT began; norms one, biases nought."""
        begin_anew(self, generator)
        return self

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, L, D]: hidden states at every position; `tokens` long [B, L], `valid` bool [B, L]."""
        place = positions_from_first_valid(valid).clamp(0, self.config.context - 1)  # padding may lie beyond
        x = self.norm(self.embed(tokens) + self.places(place) + self.types.weight[0])
        return self.trunk(x, None if bool(valid.all()) else valid[:, None, None, :])

    def trunk(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The blocks: the part worth compiling (no shapes that depend on data)."""
        for block in self.blocks:
            x = block(x, mask)
        return x
