"""The algorithm class for SGLang. Subclasses theirs, so it is imported only by `register`. See `sglang_plugin`."""

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from sglang.srt.dllm.algorithm.base import DllmAlgorithm
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import State
from unmask.samplers.decode import choose
from unmask.samplers.state import take_rows
from unmask.serve.sglang_plugin import Settings


@dataclass
class BlockState:
    """What a request's block carries from step to step; SGLang keeps it between its rounds.

    row: identity for draws. step: taken so far. ours: bool [L], masked at the block's start. memory: the unmasker's.
    """

    row: int
    step: int
    ours: Tensor
    memory: State


class Unmask(DllmAlgorithm):  # type: ignore[misc]
    """Any unmasker of this package as `--dllm-algorithm Unmask`.

    A block is a canvas with a budget of its own; what `decode_canvas` would do on it is done here, a step a call. It is
    reported done one step after its last position was written: SGLang wants the final tokens in its cache first.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.settings = Settings.read(config.algorithm_config)
        self.budget = self.settings.budget or self.block_size
        self.unmasker = self.settings.unmasker(self.budget)

    def max_steps(self, block_size: int) -> int:
        """The budget, and the step that finds nothing left to do."""
        return self.budget + 1

    def init_step_state(self, forward_batch: Any) -> list[BlockState]:
        """A fresh state for every request of the batch."""
        tokens, masked = self._blocks(forward_batch)
        if isinstance(policy := getattr(self.unmasker, "policy", None), torch.nn.Module):
            policy.to(tokens.device)
        rows = self._rows(forward_batch)
        canvas = Canvas.make(tokens, masked, self.budget, row=torch.tensor(rows, device=tokens.device))
        memory = self.unmasker.init(canvas)
        return [
            BlockState(row, 0, masked[place], take_rows(memory, torch.tensor([place], device=tokens.device)))
            for place, row in enumerate(rows)
        ]

    @torch.no_grad()
    def step(self, forward_batch: Any, full_logits: Tensor, states: list[BlockState]) -> list[bool]:
        """One reveal in every block that has something masked, in place. True where nothing was masked before it.

        full_logits: [B * L, V], L the block size.
        """
        tokens, masked = self._blocks(forward_batch)
        logits = full_logits.view(*tokens.shape, -1)  # [B, L, V]
        done: list[bool] = (~masked.any(dim=-1)).tolist()
        going = [place for place, finished in enumerate(done) if not finished]
        # memories come from different rounds and cannot be put together; most samplers have none
        alone = any(states[place].memory is not None for place in going)
        for group in [[place] for place in going] if alone else [going] if going else []:
            places = torch.tensor(group, device=tokens.device)
            tokens[places] = self._reveal(
                tokens[places], masked[places], logits[places], [states[place] for place in group]
            )
        forward_batch.input_ids.copy_(tokens.view(-1))  # in place: a CUDA graph holds on to this tensor
        return done

    def _reveal(self, tokens: Tensor, masked: Tensor, logits: Tensor, states: list[BlockState]) -> Tensor:
        """long [b, L]: the blocks after one step; the states are moved on."""

        def whole(values: list[int]) -> Tensor:
            return torch.tensor(values, device=tokens.device)

        canvas = Canvas(
            tokens=tokens,
            masked=masked,
            valid=torch.ones_like(masked),
            step=whole([state.step for state in states]),
            budget=torch.full((len(states),), self.budget, device=tokens.device),
            row=whole([state.row for state in states]),
        )
        packed = logits[masked].float()  # [M, V]
        packed[:, self.mask_id] = float("-inf")
        choice = choose(
            canvas,
            Denoised.from_logits(canvas, packed),
            self.unmasker,
            states[0].memory,
            Draws(self.settings.seed),
            ours=torch.stack([state.ours for state in states]),
            temperature=self.settings.temperature,
        )
        after = choice.canvas.reveal(choice.selection.positions, choice.tokens)
        for state, step in zip(states, after.step.tolist(), strict=True):
            state.step, state.memory = step, choice.state
        return torch.where(choice.remask, self.mask_id, after.tokens)

    def _blocks(self, forward_batch: Any) -> tuple[Tensor, Tensor]:
        """The blocks, long [B, L] (a copy), and what is still to be written in them, bool [B, L]."""
        tokens = forward_batch.input_ids.view(forward_batch.batch_size, self.block_size).clone()
        masked = tokens == self.mask_id
        given = forward_batch.dllm_prompt_mask  # only where a prompt has the mask token in it
        return tokens, masked if given is None else masked & ~given

    def _rows(self, forward_batch: Any) -> list[int]:
        """An identity for each request's block: a checksum of the request's id, and the number of the block."""
        size, batch = self.block_size, forward_batch.batch_size
        positions = getattr(forward_batch, "positions", None)
        starts = [0] * batch if positions is None else positions.view(batch, size)[:, 0].tolist()
        ids = getattr(forward_batch, "rids", None) or [""] * batch
        return [(zlib.crc32(str(name).encode()) << 20) + int(at) // size for name, at in zip(ids, starts, strict=True)]
