"""ModernBERT: a masked language model that reads thousands of tokens, most layers looking only at what is near.

Pre-norm blocks with rotary positions and a gated feed-forward (Warner et al. 2024, arXiv 2412.13663), in the layout of
`ModernBertForMaskedLM`. Every third layer sees the whole canvas, the others a window around each position; the two
kinds turn with rotary bases of their own. It was trained with 30 % of the tokens hidden.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.denoisers.bert import ACTIVATIONS, PredictionHead
from unmask.denoisers.network import Network, begin_anew, check_shape, table
from unmask.denoisers.transformer import rotary_angles, rotate


@dataclass(frozen=True)
class ModernBertConfig:
    """Shape of a `ModernBert`.

    global_layers: numbers of the layers that see the whole canvas; the others see `window` positions on either side.
    norm_bias, attention_bias, feed_forward_bias, head_bias, decoder_bias: whether there are any.
    """

    vocabulary: int
    mask_token: int
    context: int = 8192
    layers: int = 22
    width: int = 768
    heads: int = 12
    hidden: int = 1152
    global_layers: tuple[int, ...] = (0, 3, 6, 9, 12, 15, 18, 21)
    window: int = 64
    global_rope_base: float = 160_000.0
    local_rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    activation: str = "gelu"
    head_activation: str = "gelu"
    norm_bias: bool = False
    attention_bias: bool = False
    feed_forward_bias: bool = False
    head_bias: bool = False
    decoder_bias: bool = True
    tied: bool = True

    def __post_init__(self) -> None:
        check_shape(self)
        if (self.width // self.heads) % 2:
            raise UserError(f"rotary heads need an even size, got width/heads = {self.width // self.heads}")
        for name in (self.activation, self.head_activation):
            if name not in ACTIVATIONS:
                raise UserError(f"there is no activation {name!r}; choose one of {', '.join(ACTIVATIONS)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to config.json."""
        return asdict(self)


class Sight(NamedTuple):
    """How the layers of one kind see: rotary cos and sin, each [B, 1, L, D / H], and which keys each query sees.

    mask: bool [B or 1, 1, L or 1, L], None where it sees all.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None


class Attention(nn.Module):
    """Rotary attention; one projection gives queries, keys and values."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.attention_bias)
        self.out = nn.Linear(config.width, config.width, bias=config.attention_bias)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        # [B, L, 3D] -> three of [B, H, L, D / H]
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        cos, sin = sight.cos.to(query.dtype), sight.sin.to(query.dtype)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=sight.mask)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """A gated layer (Shazeer 2020): one projection gives what is activated, and its gate."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, 2 * config.hidden, bias=config.feed_forward_bias)
        self.down = nn.Linear(config.hidden, config.width, bias=config.feed_forward_bias)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(self.activation(value) * gate)  # type: ignore[no-any-return]


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); the first reads an embedding that is normed already."""

    def __init__(self, config: ModernBertConfig, first: bool) -> None:
        super().__init__()
        self.attention_norm = nn.Identity() if first else norm(config)
        self.attention = Attention(config)
        self.feed_forward_norm = norm(config)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        x = x + self.attention(self.attention_norm(x), sight)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


def norm(config: ModernBertConfig) -> nn.LayerNorm:
    """The norm used everywhere."""
    return nn.LayerNorm(config.width, eps=config.norm_eps, bias=config.norm_bias)


class ModernBert(Network):
    """The denoiser: `ModernBert(config)(canvas)` gives a `Denoised` whose `hidden` is the last norm's output.

    Rotary positions count from each row's first valid position, so padding on either side changes nothing.
    """

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.config: ModernBertConfig = config
        self.embed = table(config.vocabulary, config.width)
        self.embed_norm = norm(config)
        self.blocks = nn.ModuleList(Block(config, first=i == 0) for i in range(config.layers))
        self.norm = norm(config)
        self.head: PredictionHead = PredictionHead(
            config.width, config.vocabulary, config.head_activation, config.norm_eps,
            bias=config.head_bias, norm_bias=config.norm_bias, decoder_bias=config.decoder_bias,
        )  # fmt: skip
        self.tie()

    def tie(self) -> None:
        """Let the decoder share the embedding's tensor, if it does."""
        if self.config.tied:
            self.head.decoder.weight = self.embed.weight

    def initialise(self, generator: torch.Generator) -> "ModernBert":
        """Normal weights of deviation 0.02; norms one, biases nought."""
        begin_anew(self, generator)
        return self

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, L, D]: hidden states at every position; `tokens` long [B, L], `valid` bool [B, L]."""
        x = self.embed_norm(self.embed(tokens))
        place, size = positions_from_first_valid(valid), self.config.width // self.config.heads
        far, near = (
            rotary_angles(place, size, base, x.dtype)
            for base in (self.config.global_rope_base, self.config.local_rope_base)
        )
        whole = None if bool(valid.all()) else valid[:, None, None, :]
        return self.trunk(x, Sight(*far, whole), Sight(*near, nearby(valid, whole, self.config.window)))

    def trunk(self, x: Tensor, far: Sight, near: Sight) -> Tensor:
        """The blocks and the last norm: the part worth compiling (no shapes that depend on data)."""
        for i, block in enumerate(self.blocks):
            x = block(x, far if i in self.config.global_layers else near)
        return self.norm(x)  # type: ignore[no-any-return]


def nearby(valid: Tensor, whole: Tensor | None, window: int) -> Tensor | None:
    """The mask of a layer that sees `window` positions on either side, of the valid ones [B, L].

    Padding may have no valid neighbour; it sees itself, since a softmax over nothing is not a number.
    """
    length = valid.shape[-1]
    if length <= window + 1:
        return whole
    column = torch.arange(length, device=valid.device)
    apart = (column[:, None] - column).abs()  # [L, L]
    close = (apart <= window)[None, None]
    return close if whole is None else close & whole | (apart == 0)
