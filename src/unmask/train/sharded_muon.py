"""Muon where each process holds a part of every matrix: the update is orthogonalised whole, then cut again.

Orthogonalising the parts would be another optimizer. A matrix is gathered while its update is made, one at a time; its
momentum stays in parts. The update itself is made by torch's own Muon, so one process and several take the same step
(Jordan et al. 2024).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from unmask.train.sharding import full, placed_like


class ShardedMuon(torch.optim.Optimizer):
    """As `torch.optim.Muon(matrices, lr=..., weight_decay=...)`; the state has the same names."""

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        like = torch.optim.Muon([nn.Parameter(torch.zeros(1, 1))], lr=lr, weight_decay=weight_decay)
        self.momentum, self.nesterov = like.defaults["momentum"], like.defaults["nesterov"]
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; closures are not used here."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                momentum = state["momentum_buffer"]
                momentum.lerp_(matrix.grad, 1 - self.momentum)
                update = matrix.grad.lerp(momentum, self.momentum) if self.nesterov else momentum
                change = orthogonal_change(full(update), group["lr"])
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(placed_like(change, matrix))


def orthogonal_change(update: Tensor, rate: float) -> Tensor:
    """What torch's Muon adds to a matrix whose gradient, momentum counted in, is `update`."""
    blank = nn.Parameter(torch.zeros_like(update))
    blank.grad = update
    torch.optim.Muon([blank], lr=rate, weight_decay=0.0, momentum=0.0, nesterov=False).step()  # type: ignore[no-untyped-call]
    return blank.detach()
