"""The policy p: which positions to reveal, from what the denoiser says about the canvas. One network, every budget."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.typed import check_fields
from unmask.denoisers.base import Denoised
from unmask.denoisers.transformer import Block, TransformerConfig, rotary_angles
from unmask.orders.features import POSITION_FEATURES, ROW_FEATURES, WIDEST_CODE, Packed, pack, token_codes
from unmask.reveals.bernoulli import Bernoulli
from unmask.reveals.mixture import BernoulliMixture

COMPONENT_SPREAD = 0.5  # deviation of the heads of a mixture at the start, in nats of a coin's log-odds


@dataclass(frozen=True)
class PolicyConfig:
    """Shape of a `PolicyNetwork`. `denoiser_width` is D of `Denoised.hidden`; 0 reads no hidden states. `components`:
    sets of coins; with one the law is a `Bernoulli`, with more a `BernoulliMixture`. `codes`: bits that the two most
    probable tokens of a position are told by; 0 reads no tokens."""

    denoiser_width: int = 128
    width: int = 64
    layers: int = 2
    heads: int = 2
    hidden: int = 160
    components: int = 1
    codes: int = 0

    def __post_init__(self) -> None:
        check_fields(self, {"denoiser_width": 0, "width": 1, "layers": 0, "heads": 1, "hidden": 1})

    def to_dict(self) -> dict[str, object]:
        """Plain values, as written to config.json."""
        return asdict(self)


class PolicyNetwork(nn.Module):
    """`policy(canvas, denoised)` gives the Bernoulli law of equation 4, or a mixture of them.

    Two small transformer blocks over the masked positions of a row, on top of a skip connection that makes the
    untrained network a sensible soft threshold:

        g_i = log-odds(1 / steps left) + a (log-odds(max probability_i) - b) + head(network)_i

    with a, b learned and the head starting at 0. On average about 1 / (steps left) of the moderately certain
    positions is revealed, more of the certain, fewer of the doubtful. Starting from equal coins instead, the bound
    falls to revealing everything at once and stays there (**ours**; see docs/log.md). A mixture has a head for each set
    of coins, a little apart from the start, for those that start alike stay alike; which set is tossed depends on the
    mean of the row's masked positions. Codes of tokens let it see that two positions would say the same, or what the
    other would say next: best guesses of one step that do not go together (**ours**, decision 010).
    """

    reads_entropy = True

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        if config.components < 1:
            raise UserError(f"components must be at least 1, got {config.components}")
        if not 0 <= config.codes <= WIDEST_CODE:
            raise UserError(f"codes must be from 0 to {WIDEST_CODE} bits, got {config.codes}")
        self.config = config
        shape = TransformerConfig(
            vocabulary=1, mask_token=0, layers=config.layers, width=config.width, heads=config.heads,
            hidden=config.hidden,
        )  # fmt: skip
        self.read_hidden = nn.Sequential(
            nn.LayerNorm(config.denoiser_width, elementwise_affine=False),
            nn.Linear(config.denoiser_width, config.width, bias=False),
        ) if config.denoiser_width else None  # fmt: skip
        self.read_guesses = nn.Linear(2 * config.codes, config.width, bias=False) if config.codes else None
        self.read_position = nn.Linear(POSITION_FEATURES, config.width)
        self.read_row = nn.Linear(ROW_FEATURES, config.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.head = nn.Linear(config.width, config.components)
        self.shares = nn.Linear(config.width, config.components) if config.components > 1 else None
        self.slope = nn.Parameter(torch.tensor(0.8))
        self.centre = nn.Parameter(torch.tensor(2.2))

    def initialise(self, generator: torch.Generator) -> "PolicyNetwork":
        """Normal weights scaled by fan-in; the head starts at 0, so that the skip connection speaks first, and the
        heads of a mixture near 0."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                with torch.no_grad():
                    parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
        for bias in (self.read_position.bias, self.read_row.bias, self.head.bias):
            nn.init.zeros_(bias)
        with torch.no_grad():
            self.head.weight.mul_(0.0 if self.shares is None else COMPONENT_SPREAD)
        if self.shares is not None:
            nn.init.zeros_(self.shares.weight)
            nn.init.zeros_(self.shares.bias)
        return self

    def logits(self, packed: Packed) -> tuple[Tensor, Tensor | None]:
        """g_i of the packed positions, [B, W, m], and the logits of which set of coins is tossed, [B, m]; None if there
        is but one."""
        dtype = self.slope.dtype
        scalars, rows = packed.scalars.to(dtype), packed.rows.to(dtype)
        x = self.read_position(scalars) + self.read_row(rows)[:, None]
        if self.read_hidden is not None:
            found = 0 if packed.hidden is None else packed.hidden.shape[-1]
            if packed.hidden is None or found != self.config.denoiser_width:
                raise UserError(
                    f"this order reads hidden states of width {self.config.denoiser_width} and the denoiser gives "
                    f"{found}; use the denoiser it was learned for"
                )
            x = x + self.read_hidden(packed.hidden.to(dtype))
        if self.read_guesses is not None:
            x = x + self.read_guesses(token_codes(packed.guesses, self.config.codes).flatten(2).to(dtype))
        cos, sin = rotary_angles(packed.rotary, self.config.width // self.config.heads, 10_000.0, dtype)
        first = torch.arange(packed.present.shape[1], device=x.device) == 0  # finished rows still need one key
        mask = (packed.present | first)[:, None, None, :]
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        x = self.norm(x)
        pace = -torch.log((1 / rows[:, 1] - 1).clamp(min=1e-3))  # log-odds of 1 / steps left
        certainty = scalars[..., 0] * 3
        soft = pace[:, None] + self.slope * (certainty - self.centre)
        return soft[..., None] + self.head(x), self._which(x, packed.present)

    def _which(self, x: Tensor, present: Tensor) -> Tensor | None:
        if self.shares is None:
            return None
        weight = present.to(x.dtype)
        mean = (x * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)
        return self.shares(mean)  # type: ignore[no-any-return]

    def forward(self, canvas: Canvas, denoised: Denoised) -> Bernoulli | BernoulliMixture:
        dtype = torch.promote_types(self.slope.dtype, torch.float32)
        rows, length = canvas.masked.shape
        logits = torch.zeros(rows, length, self.config.components, dtype=dtype, device=canvas.masked.device)
        which = logits[:, 0]
        if bool(canvas.masked.any()):
            packed = pack(canvas, denoised)
            coins, shares = self.logits(packed)
            logits = logits.index_put((packed.row, packed.position), coins[packed.row, packed.place].to(dtype))
            which = which if shares is None else shares.to(dtype)
        if self.shares is None:
            return Bernoulli(logits.squeeze(-1), canvas.masked)
        return BernoulliMixture(which, logits.transpose(1, 2), canvas.masked)
