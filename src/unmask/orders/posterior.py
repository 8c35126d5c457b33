"""The posterior q: the order in hindsight, from the clean text. Used only in training."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.draws import positions_from_first_valid
from unmask.denoisers.transformer import Block, TransformerConfig, rotary_angles
from unmask.reveals.score_ratio import ScoreRatio

SMALLEST_TAU, LARGEST_TAU = 1e-3, 1e3
BISECTIONS = 40


@dataclass(frozen=True)
class PosteriorConfig:
    """Shape of a `PosteriorNetwork` over a vocabulary of `vocabulary` tokens."""

    vocabulary: int
    width: int = 64
    layers: int = 2
    heads: int = 2
    hidden: int = 160

    def to_dict(self) -> dict[str, object]:
        """Plain values, as written to config.json."""
        return asdict(self)


class PosteriorNetwork(nn.Module):
    """`posterior(clean)` gives one score per position, [B, L]: larger means earlier (equation 3).

    One forward pass on the clean text, the budget added to every position; a whole order is then drawn for free.
    Scores are standardised over the positions to write, so that they are never all nearly equal: equal scores reveal
    everything at once, a fixed point without gradient. For the same reason each position is told how far into
    those to write it lies: attention by relative position alone gives a text of equal tokens equal scores.
    """

    def __init__(self, config: PosteriorConfig) -> None:
        super().__init__()
        self.config = config
        shape = TransformerConfig(
            vocabulary=1, mask_token=0, layers=config.layers, width=config.width, heads=config.heads,
            hidden=config.hidden,
        )  # fmt: skip
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.kind = nn.Embedding(2, config.width)  # prompt, or to be written
        self.read_budget = nn.Linear(2, config.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.head = nn.Linear(config.width, 1, bias=False)
        self.read_place = nn.Linear(config.width // config.heads, config.width, bias=False)

    def initialise(self, generator: torch.Generator) -> "PosteriorNetwork":
        """Normal weights scaled by fan-in, embeddings of deviation 1."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                deviation = 1.0 if name.startswith(("embed", "kind")) else parameter.shape[1] ** -0.5
                with torch.no_grad():
                    parameter.normal_(0.0, deviation, generator=generator)
        nn.init.zeros_(self.read_budget.bias)
        return self

    def forward(self, clean: Canvas) -> Tensor:
        dtype = self.embed.weight.dtype
        budget = clean.budget.to(dtype)
        x = self.embed(clean.tokens) + self.kind(clean.masked.long())
        x = x + self.read_budget(torch.stack([budget.log(), 1 / budget], dim=-1))[:, None]
        size = self.config.width // self.config.heads
        place = torch.where(clean.masked, clean.masked.cumsum(dim=-1), 0)  # [B, L]
        cos, sin = (part[:, 0, :, : size // 2] for part in rotary_angles(place, size, 10_000.0, dtype))
        x = x + self.read_place(torch.cat([cos, sin], dim=-1))
        cos, sin = rotary_angles(positions_from_first_valid(clean.valid), size, 10_000.0, dtype)
        for block in self.blocks:
            x = block(x, cos, sin, clean.valid[:, None, None, :])
        return standardise(self.head(self.norm(x)).squeeze(-1), clean.masked)


def standardise(scores: Tensor, masked: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the masked positions of each row, 0 elsewhere. [B, L]."""
    count = masked.sum(dim=-1, keepdim=True).clamp(min=1)
    mean = torch.where(masked, scores, 0.0).sum(dim=-1, keepdim=True) / count
    centred = torch.where(masked, scores - mean, 0.0)
    deviation = (centred.square().sum(dim=-1, keepdim=True) / count + 1e-6).sqrt()
    return centred / deviation


def paced(scores: Tensor, canvas: Canvas) -> ScoreRatio:
    """The law of equation 3 at the temperature where about |M| / (steps left) positions are revealed (**ours**).

    tau solves sum_{i in M} exp((s_i - max s) / tau) = |M| / (steps left), by bisection; one Newton step from the
    detached root makes it differentiable (the implicit function theorem), so log-probabilities keep their exact
    gradient. The expected count cannot collapse to everything at once. At the last step, and with one position
    left, the root lies at the end of the range and everything is revealed anyway.
    """
    masked = canvas.masked
    count = masked.sum(dim=-1)
    target = (count / canvas.steps_left.clamp(min=1)).clamp(min=1.05).double()  # [B]
    best = torch.where(masked, scores, -torch.inf).amax(dim=-1, keepdim=True)
    best = torch.where(masked.any(dim=-1, keepdim=True), best, 0.0)
    below = torch.where(masked, scores - best, -torch.inf).double()  # [B, L]

    def expected(tau: Tensor) -> Tensor:
        return (below / tau[:, None]).exp().sum(dim=-1)

    with torch.no_grad():
        low = torch.full_like(target, SMALLEST_TAU).log()
        high = torch.full_like(target, LARGEST_TAU).log()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            over = expected(middle.exp()) > target
            low, high = torch.where(over, low, middle), torch.where(over, middle, high)
        root = ((low + high) / 2).exp()
        inside = (root > 2 * SMALLEST_TAU) & (root < LARGEST_TAU / 2)
        weight = (below / root[:, None]).exp()
        slope = (weight * torch.where(masked, -below, 0.0)).sum(dim=-1) / root.square()
    moved = (torch.where(masked, below, -torch.inf) / root[:, None]).exp().sum(dim=-1) - target
    tau = root - torch.where(inside & (slope > 1e-9), moved / slope.clamp(min=1e-9), torch.zeros_like(moved))
    return ScoreRatio(scores, masked, tau[:, None].to(scores.dtype).clamp(min=SMALLEST_TAU))
