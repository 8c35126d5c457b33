"""MDLM's diffusion transformer: every norm is shifted and scaled, and every sum gated, by what the noise level says.

Pre-norm blocks with adaptive layer norm (Peebles and Xie 2023, arXiv 2212.09748) and rotary attention, as in MDLM
(Sahoo et al. 2024, arXiv 2406.07524) and its released weights. Those were trained with the noise level left out: it is
always 0, so what it says is the same vector for every row and step. It is still computed from the weights.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.denoisers.network import Network, begin_anew, check_shape, table
from unmask.denoisers.transformer import NEW, rotary_angles, rotate

ROPE_BASE, NORM_EPS, WIDER, FREQUENCIES = 10_000.0, 1e-5, 4, 256  # never told in a config.json: it is always so


@dataclass(frozen=True)
class DiTConfig:
    """Shape of a `DiT`. condition: width of the vector that the noise level becomes.

    rope_bfloat16: cosines and sines are rounded to bfloat16 in every precision, as in the code it was fitted by (MDLM).
    """

    vocabulary: int
    mask_token: int
    context: int = 1024
    layers: int = 12
    width: int = 768
    heads: int = 12
    condition: int = 128
    rope_bfloat16: bool = field(default=False, metadata=NEW)

    def __post_init__(self) -> None:
        check_shape(self)
        if (self.width // self.heads) % 2:
            raise UserError(f"rotary heads need an even size, got width/heads = {self.width // self.heads}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to config.json."""
        return asdict(self)


class NoiseLevel(nn.Module):
    """[C]: what the blocks are told of the noise level, which is 0."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.first = nn.Linear(FREQUENCIES, config.condition)
        self.second = nn.Linear(config.condition, config.condition)

    def forward(self) -> Tensor:
        waves = self.first.weight.new_zeros(FREQUENCIES)
        waves[: FREQUENCIES // 2] = 1  # cos(0) for every frequency, then sin(0)
        return F.silu(self.second(F.silu(self.first(waves))))


class Attention(nn.Module):
    """Rotary attention without biases; one projection gives queries, keys and values."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        # [B, L, 3D] -> three of [B, H, L, D / H]
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(query.dtype), sin.to(query.dtype)
        mixed = F.scaled_dot_product_attention(
            rotate(query, cos, sin), rotate(key, cos, sin), value, attn_mask=mask
        )
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers with a GELU between, the one that is made of a tanh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, WIDER * width)
        self.down = nn.Linear(WIDER * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))  # type: ignore[no-any-return]


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift: adaptive layer norm after the norm."""
    return x * (1 + scale) + shift


class Block(nn.Module):
    """x + gate * attention(norm(x)), then x + gate * feed_forward(norm(x)), the norms modulated."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, eps=NORM_EPS, bias=False)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=NORM_EPS, bias=False)
        self.feed_forward = FeedForward(config.width)
        self.modulation = nn.Linear(config.condition, 6 * config.width)

    def forward(self, x: Tensor, condition: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(condition).chunk(6, dim=-1)  # each [D]
        x = x + gate * self.attention(modulate(self.attention_norm(x), shift, scale), cos, sin, mask)
        return x + gate2 * self.feed_forward(modulate(self.feed_forward_norm(x), shift2, scale2))  # type: ignore[no-any-return]


class DiT(Network):
    """The denoiser: `DiT(config)(canvas)` gives a `Denoised` whose `hidden` is the last norm's output, modulated.

    Rotary positions count from each row's first valid position, so padding on either side changes nothing.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config: DiTConfig = config
        self.embed = table(config.vocabulary, config.width)
        self.noise_level = NoiseLevel(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS, bias=False)
        self.modulation = nn.Linear(config.condition, 2 * config.width)
        self.head: nn.Linear = nn.Linear(config.width, config.vocabulary)

    def initialise(self, generator: torch.Generator) -> "DiT":
        """Normal weights of deviation 0.02, norms one, biases and modulations nought: every block begins as nothing."""
        begin_anew(self, generator)
        for name, parameter in self.named_parameters():
            if "modulation" in name:
                nn.init.zeros_(parameter)
        return self

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, L, D]: hidden states at every position; `tokens` long [B, L], `valid` bool [B, L]."""
        x = self.embed(tokens)
        size = self.config.width // self.config.heads
        cos, sin = rotary_angles(positions_from_first_valid(valid), size, ROPE_BASE, x.dtype, self.config.rope_bfloat16)
        mask = None if bool(valid.all()) else valid[:, None, None, :]
        return self.trunk(x, self.noise_level(), cos, sin, mask)

    def trunk(self, x: Tensor, condition: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """The blocks and the last norm: the part worth compiling (no shapes that depend on data)."""
        for block in self.blocks:
            x = block(x, condition, cos, sin, mask)
        shift, scale = self.modulation(condition).chunk(2, dim=-1)
        return modulate(self.norm(x), shift, scale)
