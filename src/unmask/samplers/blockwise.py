"""Any sampler, inside blocks that are opened from left to right: semi-autoregressive decoding."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.errors import UserError
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Edit, Editor, Selection, State, Unmasker, Wrapper, idle
from unmask.samplers.options import check_whole
from unmask.samplers.state import where_rows


class BlockState(NamedTuple):
    """Where each row stands in its blocks.

    stage:  long [B, L], which stage opens a position; a stage is one block, or several opened together.
    stages: long [B], how many stages the row has.
    budget: long [B], steps to split over them.
    open:   long [B], the stage that is open, -1 before the first.
    since:  long [B], the canvas step at which it was opened.
    inner:  the inner sampler's state, started afresh with each stage.
    """

    stage: Tensor
    stages: Tensor
    budget: Tensor
    open: Tensor
    since: Tensor
    inner: State


def split_evenly(item: Tensor, items: Tensor, groups: Tensor) -> Tensor:
    """long [B, L]: the group of each `item` 0..items-1, split evenly over `groups`, the remainder first."""
    size = torch.div(items, groups, rounding_mode="floor")[:, None]
    larger = (items % groups)[:, None]  # so many groups have one more
    edge = larger * (size + 1)
    late = larger + torch.div(item - edge, size.clamp(min=1), rounding_mode="floor")
    return torch.where(item < edge, torch.div(item, size + 1, rounding_mode="floor"), late)


@dataclass(frozen=True)
class Blockwise(Wrapper):
    """Run `inner` on one block after the other, each as if it were the whole response.

    Blocks are `size` positions long, counted from the row's first masked position at the start; those with
    nothing to write are skipped. The budget is split evenly over the blocks, the remainder first (LLaDA,
    arXiv 2502.09992, which asks for it to divide); with fewer steps than blocks, neighbouring blocks are
    opened together, one step each, so that the row still ends within its budget. At a block's last step what
    is left of it is revealed; a block that ends early leaves its steps unused.

    `inner` sees the canvas restricted to the open block, with the step and budget of that block: n_t counts
    the block's positions and the block's steps. Its random numbers are those of the canvas's own step. Looks
    at drawn tokens, and may be empty, exactly if `inner` does.
    """

    inner: Unmasker
    size: int = 32

    def __post_init__(self) -> None:
        check_whole("block", self.size, 1)
        if isinstance(self.inner, Editor):
            raise UserError(f"{type(self.inner).__name__} re-masks what it wrote; put it into a BlockwiseEditor")

    def init(self, canvas: Canvas) -> BlockState:
        """Blocks are counted on what is masked now."""
        return plan_blocks(canvas, self.size, self.inner.init(canvas))

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: BlockState, draws: StepDraws
    ) -> tuple[Selection, BlockState]:
        """The inner sampler's choice in the leftmost stage with something left."""
        inside, state = open_block(canvas, state, self.inner.init)
        said = denoised.only(inside.masked)  # of closed blocks no logits are made
        chosen, inner = self.inner.select(inside, said, written, state.inner, draws)
        selection = Selection(
            positions=torch.where(inside.last_step[:, None], inside.masked, chosen.positions & inside.masked),
            priority=chosen.priority.where(inside.masked, NEG_INF),
        )
        return selection, state._replace(inner=inner)

    def idle(self, canvas: Canvas, denoised: Denoised, state: BlockState, draws: StepDraws) -> Tensor:
        """As long as `inner` is within the open block."""
        inside, state = open_block(canvas, state, self.inner.init)
        return idle(self.inner, inside, denoised.only(inside.masked), state.inner, draws)


@dataclass(frozen=True)
class BlockwiseEditor(Wrapper):
    """`Blockwise` for samplers that re-mask: only within the open block, and not at its last step.

    What is written in a block stays once the block is done, as in WINO (arXiv 2507.18578). A block ends when nothing
    of it is masked after a step.
    """

    inner: Editor
    size: int = 32

    def __post_init__(self) -> None:
        check_whole("block", self.size, 1)

    @property
    def rereads(self) -> bool:
        """As `inner`."""
        return self.inner.rereads

    def init(self, canvas: Canvas) -> BlockState:
        """Blocks are counted on what is masked now."""
        return plan_blocks(canvas, self.size, self.inner.init(canvas))

    def edit(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: BlockState, draws: StepDraws
    ) -> tuple[Edit, BlockState]:
        """The inner sampler's choice in the leftmost stage with something left."""
        inside, state = open_block(canvas, state, self.inner.init)
        last, mine = inside.last_step[:, None], state.stage == state.open[:, None]
        answer = denoised.only(mine)  # of other blocks no logits are made
        edit, inner = self.inner.edit(inside, answer, written, state.inner, draws)
        return Edit(
            reveal=inside.masked & (edit.reveal | last),
            remask=edit.remask & mine & ~canvas.masked & ~last,
        ), state._replace(inner=inner)

    def idle(self, canvas: Canvas, denoised: Denoised, state: BlockState, draws: StepDraws) -> Tensor:
        """As long as `inner` is within the open block."""
        inside, state = open_block(canvas, state, self.inner.init)
        return idle(self.inner, inside, denoised, state.inner, draws)


def plan_blocks(canvas: Canvas, size: int, inner: State) -> BlockState:
    """Blocks of `size`, counted on what is masked now, put together to stages that fit the budget."""
    masked, budget = canvas.masked, canvas.steps_left.clamp(min=1)
    index = torch.arange(masked.shape[-1], device=masked.device)
    first = masked.long().argmax(dim=-1, keepdim=True)
    block = torch.div((index - first).clamp(min=0), size, rounding_mode="floor")  # [B, L]
    occupied = torch.zeros_like(block).scatter_add(-1, block, masked.long()) > 0  # [B, L] by block number
    blocks = occupied.sum(dim=-1)
    block = (occupied.long().cumsum(dim=-1) - 1).gather(-1, block)  # skips the empty ones
    stages = torch.minimum(budget, blocks.clamp(min=1))
    return BlockState(
        stage=split_evenly(block, blocks, stages),
        stages=stages,
        budget=budget,
        open=torch.full_like(budget, -1),
        since=canvas.step,
        inner=inner,
    )


def open_block(canvas: Canvas, state: BlockState, init: Callable[[Canvas], State]) -> tuple[Canvas, BlockState]:
    """The canvas as the inner sampler is to see it, and the state with what `init` says where a stage was opened."""
    nothing_left = canvas.masked.shape[-1]
    now = state.stage.where(canvas.masked, nothing_left).amin(dim=-1)  # [B]
    opened = now != state.open
    since = torch.where(opened, canvas.step, state.since)
    share = torch.div(state.budget, state.stages, rounding_mode="floor")
    inside = replace(
        canvas.restrict(state.stage == now[:, None]),
        step=canvas.step - since,
        budget=share + (now < state.budget % state.stages).long(),
    )
    return inside, state._replace(open=now, since=since, inner=where_rows(opened, init(inside), state.inner))
