"""Muon for the matrices inside the blocks, AdamW for everything else; or AdamW alone."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from unmask.core.errors import UserError
from unmask.train.checkpoint import optimizer_tensors, restore_optimizer
from unmask.train.sharded_muon import ShardedMuon
from unmask.train.sharding import full, is_sharded


class Optimizers:
    """A few optimizers stepped as one.

    `muon_rate` 0 leaves every parameter to AdamW. Muon (Jordan et al. 2024) orthogonalises the update of a matrix;
    embeddings, heads, norms and biases are not its business.
    """

    def __init__(self, network: nn.Module, rate: float, muon_rate: float, weight_decay: float) -> None:
        def is_matrix(name: str, value: Tensor) -> bool:
            return muon_rate > 0 and value.dim() == 2 and "blocks." in name

        named = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
        matrices = [value for name, value in named if is_matrix(name, value)]
        rest = [value for name, value in named if not is_matrix(name, value)]
        groups = [
            {"params": [value for value in rest if value.dim() > 1], "weight_decay": weight_decay},
            {"params": [value for value in rest if value.dim() <= 1], "weight_decay": 0.0},
        ]
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=(0.9, 0.98)), rate)
        ]
        if matrices:
            if not hasattr(torch.optim, "Muon"):
                raise UserError(f"Muon comes with torch 2.9 and this is {torch.__version__}; pass --muon-rate 0")
            muon = ShardedMuon if any(map(is_sharded, matrices)) else torch.optim.Muon
            self.parts.append((muon(matrices, lr=muon_rate, weight_decay=weight_decay), muon_rate))

    def step(self, factor: float) -> None:
        """One update of everything at `factor` times the peak rates; gradients are cleared."""
        for optimizer, rate in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """The whole state as named tensors."""
        found: dict[str, Tensor] = {}
        for index, (optimizer, _) in enumerate(self.parts):
            found |= optimizer_tensors(optimizer, f"optimizer{index}")
        return found

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for index, (optimizer, _) in enumerate(self.parts):
            restore_optimizer(optimizer, tensors, f"optimizer{index}")


def clip_gradient(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale the gradient down to norm `largest`; returns the norm it had (NaN if it had one)."""
    return full(torch.nn.utils.clip_grad_norm_(parameters, largest))


def not_finite(update: int, loss: Tensor, norm: Tensor, checkpoint: Path, rate: float) -> UserError:
    """What to say when training blew up at `update` (counted from 1, as in the log); nothing has been changed by it."""
    kept = f"the checkpoint before it is kept in {checkpoint}" if checkpoint.exists() else "there is no checkpoint yet"
    return UserError(
        f"at update {update} the loss became {loss.item():g} and its gradient's norm {norm.item():g}; {kept}; "
        f"try a lower --rate than {rate:g}"
    )
