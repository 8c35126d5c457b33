"""The scheduler class for diffusers. Subclasses one of theirs, so it is imported only by `as_diffusers_scheduler`."""

from dataclasses import replace
from typing import Any

import torch
from diffusers import BlockRefinementScheduler
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_block_refinement import BlockRefinementSchedulerOutput
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.samplers import make_sampler
from unmask.samplers.base import AnyUnmasker, State
from unmask.samplers.decode import choose
from unmask.samplers.generate import ForBudget, Sampler
from unmask.samplers.options import check_temperature


class UnmaskScheduler(BlockRefinementScheduler):  # type: ignore[misc]
    """What `BlockRefinementScheduler` is for `LLaDA2Pipeline`, with any unmasker to say where to write.

    Within a block it does what `decode_canvas` does on the block's canvas: a budget of `num_inference_steps`, all that
    is left at the last of them, draws from (seed, row, block, step). The pipeline's threshold, minimal_topk, editing
    and generator have no meaning here; temperature has, top_k and top_p are refused.

    sampler: `NAME:key=value,...`; what is saved with the scheduler. `chosen` is put in its place for an object.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sampler: str = "top-prob",
        block_length: int = 32,
        num_inference_steps: int = 32,
        seed: int = 0,
        end_token: int | list[int] | None = None,
        threshold: float = 0.95,  # this and the next two: read by the pipeline, of no effect here
        editing_threshold: float | None = None,
        minimal_topk: int = 1,
    ) -> None:
        super().__init__(
            block_length=block_length,
            num_inference_steps=num_inference_steps,
            threshold=threshold,
            editing_threshold=editing_threshold,
            minimal_topk=minimal_topk,
        )
        self.chosen: Sampler | None = None
        self._begin_text()

    def _begin_text(self) -> None:
        self._unmasker: AnyUnmasker | None = None
        self._canvas: Canvas | None = None  # of the block being written, as it stands after the last step
        self._state: State = None
        self._ours: Tensor | None = None
        self._block = -1

    def set_timesteps(
        self, num_inference_steps: int, device: Any = None, block_length: int | None = None
    ) -> None:
        """Before a text: its blocks may take `num_inference_steps` each."""
        super().set_timesteps(num_inference_steps, device=device, block_length=block_length)
        self._begin_text()
        chosen = self.chosen if self.chosen is not None else self.config.sampler
        if isinstance(chosen, ForBudget):
            self._unmasker = chosen.unmasker(num_inference_steps)
        else:
            self._unmasker = make_sampler(chosen, self.config.end_token)

    def _begin_block(self, masked: Tensor, sample: Tensor) -> Canvas:
        """The canvas of a fresh block. Rows are told apart by block too, or each block would repeat the draws."""
        self._block += 1
        rows = torch.arange(len(sample), device=sample.device) + (self._block << 32)
        canvas = Canvas.make(sample, masked, self.num_inference_steps, row=rows)
        assert self._unmasker is not None
        self._state, self._ours = self._unmasker.init(canvas), canvas.masked
        return canvas

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        *,
        mask_token_id: int | None = None,
        temperature: float = 0.0,
        top_p: float | None = None,
        top_k: int | None = None,
        sampling_method: str = "auto",
        threshold: float | None = None,
        editing_threshold: float | None = None,
        minimal_topk: int | None = None,
        prompt_mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        """One reveal. model_output: [B, L, V] logits of the block. sample: long [B, L]. prompt_mask: bool [L].

        timestep counts from 0 in each block. `sample` is taken as it is: the pipeline may have changed it.
        """
        if mask_token_id is None:
            raise UserError("there is no mask token: pass mask_token_id (models without one are not masked diffusion)")
        if top_k not in (None, 0) or top_p not in (None, 1.0):
            raise UserError(f"tokens are drawn from the whole law: leave out top_k={top_k}, top_p={top_p}")
        check_temperature("temperature", temperature)
        if self._unmasker is None:
            raise UserError("call set_timesteps before the first step")
        masked = sample == mask_token_id
        if prompt_mask is not None:
            masked = masked & ~prompt_mask
        if int(timestep) == 0 or self._canvas is None:
            canvas = self._begin_block(masked, sample)
        else:
            canvas = replace(self._canvas, tokens=sample, masked=masked)
        logits = model_output[masked].float()  # [M, V]
        logits[:, mask_token_id] = float("-inf")
        assert self._ours is not None
        choice = choose(
            canvas,
            Denoised.from_logits(canvas, logits),
            self._unmasker,
            self._state,
            Draws(self.config.seed),
            ours=self._ours,
            temperature=0.0 if sampling_method == "greedy" else float(temperature),
        )
        self._state = choice.state
        self._canvas = choice.canvas.reveal(choice.selection.positions, choice.tokens).remask(choice.remask)
        written = torch.where(choice.selection.positions, choice.tokens, sample)
        law = model_output.float().softmax(dim=-1)
        output = BlockRefinementSchedulerOutput(
            prev_sample=torch.where(choice.remask, mask_token_id, written),
            transfer_index=choice.selection.positions,
            editing_transfer_index=choice.remask,
            sampled_tokens=written,
            sampled_probs=law.gather(-1, written[..., None]).squeeze(-1),
            pred_logits=model_output,
        )
        return output if return_dict else output.to_tuple()

    def check_block_should_continue(self, step_idx: int, masks_remaining: Any, **asked: Any) -> bool:
        """Whether a row still has something to write and steps to do it in; the pipeline would pass once more."""
        if self._canvas is None or asked["finished"].all():
            return False
        return bool(self._canvas.unfinished.any()) and step_idx < self.num_inference_steps
