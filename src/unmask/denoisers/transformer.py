"""One native bidirectional transformer: tiny by default, SMDM, LLaDA and Dream by configuration.

Pre-norm blocks of RMSNorm, rotary attention and SwiGLU without bias (Touvron et al. 2023), with a full attention
mask: every position sees every valid position. Options cover the families: grouped key/value heads and biases on
query, key and value (Qwen2 layout). Vocabulary logits are computed at masked positions only.
"""

from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.denoisers.network import Network, check_shape

NEW = {"since": 2}  # a field added later: at its default it is left out of digests, so that old records still agree


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of a `Transformer`. `vocabulary` counts every row of the embedding, the mask token's included.

    shifted: the state at a position speaks of the token after it, as in the causal network it was made from (Dream).
    rope_bfloat16: cosines and sines are rounded to bfloat16 in every precision, as in the code it was fitted by (SMDM).
    """

    vocabulary: int
    mask_token: int
    context: int = 256
    layers: int = 6
    width: int = 128
    heads: int = 4
    kv_heads: int | None = None
    hidden: int = 352
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    qkv_bias: bool = False
    tied: bool = True
    shifted: bool = field(default=False, metadata=NEW)
    rope_bfloat16: bool = field(default=False, metadata=NEW)

    def __post_init__(self) -> None:
        check_shape(self, layers=0)
        if (self.width // self.heads) % 2:
            raise UserError(f"rotary heads need an even size, got width/heads = {self.width // self.heads}")
        if self.heads % (self.kv_heads or self.heads):
            raise UserError(f"{self.heads} heads do not share {self.kv_heads} key/value heads evenly")

    def to_dict(self) -> dict[str, object]:
        """Plain values, as written to config.json."""
        return asdict(self)


def rotary_angles(
    positions: Tensor, size: int, base: float, dtype: torch.dtype = torch.float32, bfloat16: bool = False
) -> tuple[Tensor, Tensor]:
    """cos and sin [B, 1, L, size] of the rotary embedding at `positions` [B, L] (Su et al. 2021, Eq. 34).

    At least float32, whatever `dtype` the network has. bfloat16: made in float32 and rounded, as some networks were
    fitted with them.
    """
    dtype = torch.float32 if bfloat16 else torch.promote_types(dtype, torch.float32)
    powers = torch.arange(0, size, 2, device=positions.device, dtype=dtype) / size
    rates = 1.0 / base**powers if bfloat16 else base**-powers  # to the last bit as there, since what follows is rounded
    angles = positions[:, None, :, None].to(dtype) * rates
    angles = torch.cat([angles, angles], dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return (cos.bfloat16().to(dtype), sin.bfloat16().to(dtype)) if bfloat16 else (cos, sin)


def rotate(value: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotation to [B, H, L, size]; the two halves of a head are the two coordinates of each plane."""
    first, second = value.chunk(2, dim=-1)
    return value * cos + torch.cat([-second, first], dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention over all valid positions."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads or config.heads
        self.size = config.width // config.heads
        self.query = nn.Linear(config.width, self.heads * self.size, bias=config.qkv_bias)
        self.key = nn.Linear(config.width, self.kv_heads * self.size, bias=config.qkv_bias)
        self.value = nn.Linear(config.width, self.kv_heads * self.size, bias=config.qkv_bias)
        self.out = nn.Linear(self.heads * self.size, config.width, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, and the keys and values [B, kv_heads, L, size] that a cache may keep; x [B, L, D]."""
        rows, length, _ = x.shape
        query = self.query(x).view(rows, length, self.heads, self.size).transpose(1, 2)
        key = self.key(x).view(rows, length, self.kv_heads, self.size).transpose(1, 2)
        value = self.value(x).view(rows, length, self.kv_heads, self.size).transpose(1, 2)
        cos, sin = cos.to(query.dtype), sin.to(query.dtype)
        return rotate(query, cos, sin), rotate(key, cos, sin), value

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """[B, L, D]: what each query finds."""
        if self.kv_heads != self.heads:
            key = key.repeat_interleave(self.heads // self.kv_heads, dim=1)
            value = value.repeat_interleave(self.heads // self.kv_heads, dim=1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        return self.mix(*self.project(x, cos, sin), mask)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config.width, config.hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, mask)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class Transformer(Network):
    """The denoiser: `Transformer(config)(canvas)` gives a `Denoised` whose `hidden` is the last norm's output.

    Rotary positions count from each row's first valid position, so padding on either side changes nothing.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config: TransformerConfig = config
        # not drawn here: `initialise` does, or a file is loaded; drawing without storage imports torch's compiler
        blank = torch.zeros(config.vocabulary, config.width)
        self.embed: nn.Embedding = nn.Embedding.from_pretrained(blank, freeze=False)  # type: ignore[no-untyped-call]
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.head: nn.Linear = nn.Linear(config.width, config.vocabulary, bias=False)
        self.tie()

    def tie(self) -> None:
        """Let the head share the embedding's tensor, if it does."""
        if self.config.tied:
            self.head.weight = self.embed.weight

    def initialise(self, generator: torch.Generator) -> "Transformer":
        """Normal weights of deviation 1/sqrt(fan in), residual outputs 1/sqrt(2 layers) of that, embeddings 0.02."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                deviation = 0.02 if name.startswith(("embed", "head")) else parameter.shape[1] ** -0.5
                if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
                    deviation /= (2 * self.config.layers) ** 0.5
                with torch.no_grad():
                    parameter.normal_(0.0, deviation, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        return self

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, L, D]: hidden states at every position; `tokens` long [B, L], `valid` bool [B, L]."""
        x = self.embed(tokens)
        size = self.config.width // self.config.heads
        positions, rope = positions_from_first_valid(valid), (self.config.rope_base, x.dtype, self.config.rope_bfloat16)
        cos, sin = rotary_angles(positions, size, *rope)
        mask = None if bool(valid.all()) else valid[:, None, None, :]
        return self.align(self.trunk(x, cos, sin, mask), valid)

    def align(self, states: Tensor, valid: Tensor) -> Tensor:
        """Of states [B, L, D] as the trunk gives them, at each position the one that speaks of its token.

        Where they are shifted that is the state to the left; at the first valid position, which has none, its own.
        """
        if not self.config.shifted:
            return states
        first = positions_from_first_valid(valid) == 0
        return torch.where(first[..., None], states, states.roll(1, dims=1))

    def trunk(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """The blocks and the last norm: the part worth compiling (no shapes that depend on data)."""
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def reread(self, canvas: Canvas, again: Tensor) -> Denoised:
        """What it would write at the written positions `again` (bool [B, L]) too, in one pass over 2L columns.

        A network trained on masked positions says nothing where a token stands. So every position gets a shadow, a
        mask token with the same rotary position, which sees itself and all valid positions but its own, and which
        nothing else sees (WINO, Hong et al. 2025, arXiv 2507.18578). The token itself still reaches the shadow by what
        the others made of it, so this is near the conditional given the rest, and not it.
        Raises UserError if the network is shifted: what speaks of a position is then a state that sees its token.
        """
        if self.config.shifted:
            raise UserError(
                "the logits of this denoiser are shifted by one position, so it cannot say what it would write where "
                "something stands; name a sampler that does not look again at what it wrote"
            )
        tokens = self.visible(canvas)
        length = tokens.shape[1]
        x = self.embed(torch.cat([tokens, torch.full_like(tokens, self.config.mask_token)], dim=1))  # [B, 2L, D]
        positions = positions_from_first_valid(canvas.valid).repeat(1, 2)
        size = self.config.width // self.config.heads
        cos, sin = rotary_angles(positions, size, self.config.rope_base, x.dtype, self.config.rope_bfloat16)
        own = torch.eye(length, dtype=torch.bool, device=x.device)
        seen = canvas.valid[:, None, :].expand(-1, length, -1)  # [B, L, L], by query and key
        text = torch.cat([seen, torch.zeros_like(seen)], dim=-1)
        shadows = torch.cat([seen & ~own, own.expand(seen.shape)], dim=-1)
        mask = torch.cat([text, shadows], dim=1)[:, None]  # [B, 1, 2L, 2L]
        plain, shadow = self.trunk(x, cos, sin, mask).chunk(2, dim=1)
        states = torch.where((again & ~canvas.masked)[..., None], shadow, plain)
        asked = canvas.remask(again)
        return self.answer(asked, states[asked.masked])
