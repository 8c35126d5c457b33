"""What the stages of learning have in common: one update's gradient, and what it was the gradient of."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class StageLoss(NamedTuple):
    """loss: scalar, to minimise. report: numbers for the log, in nats unless the name says otherwise."""

    loss: Tensor
    report: dict[str, float]


Step = Callable[[int], StageLoss]  # the gradient of update 0, 1, ... added up, and what it was the gradient of
