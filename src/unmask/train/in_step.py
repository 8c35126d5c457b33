"""A denoiser whose weights lie in parts on all processes, so that all have to make every pass together.

Paths differ in length, and so does the number of passes a process needs for its rows. Before each pass the processes
ask whether any of them still has one to make; those that have none make it for the others' sake.
"""

from typing import Any

import torch

from unmask.core.canvas import Canvas
from unmask.denoisers.base import Denoised
from unmask.denoisers.network import Network
from unmask.train.processes import Prepared, Processes


class InStep:
    """`score(canvas)` without gradient; after the last call of an update every process has to `wait`."""

    def __init__(self, network: Network, prepared: Prepared, processes: Processes) -> None:
        self.network, self.prepared, self.processes = network, prepared, processes

    @torch.no_grad()
    def __call__(self, canvas: Canvas) -> Denoised:
        self._anyone(1)
        return self._run(canvas)

    @torch.no_grad()
    def wait(self, canvas: Canvas) -> None:
        """Make passes, of any `canvas`, until no process needs one any more."""
        while self._anyone(0):
            self._run(canvas)

    def _run(self, canvas: Canvas) -> Denoised:
        found: Any = self.prepared(lambda: self.network(canvas))
        return found  # type: ignore[no-any-return]

    def _anyone(self, mine: int) -> bool:
        return bool(self.processes.total(torch.tensor([mine], device=self.processes.device)) > 0)
