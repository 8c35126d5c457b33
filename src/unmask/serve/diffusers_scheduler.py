"""Any unmasker as a scheduler of diffusers, for its pipeline of masked tokens (`LLaDA2Pipeline`)."""

from typing import Any

from unmask.core.errors import UserError
from unmask.samplers import make_sampler
from unmask.samplers.base import AnyUnmasker, Editor
from unmask.samplers.end_of_text import Ends, end_ids
from unmask.samplers.generate import ForBudget, Sampler


def as_diffusers_scheduler(
    sampler: Sampler = "top-prob",
    *,
    block_length: int = 32,
    num_inference_steps: int = 32,
    seed: int = 0,
    end_token: Ends | None = None,
) -> Any:
    """A scheduler for `diffusers.LLaDA2Pipeline(model=..., scheduler=..., tokenizer=...)`.

    sampler: `NAME:key=value,...`, which is saved with the scheduler; or an Unmasker or learned order, which is not.
    block_length, num_inference_steps: what the pipeline takes unless told otherwise; the steps are a block's budget.
    seed: of all draws; the pipeline's generator is not used. end_token: one id or several,
    for the end-of-text rules.

    A scheduler sees logits only, so it refuses what needs more: learned orders that read hidden states, and samplers
    that look again at what is written (wino).
    """
    if isinstance(sampler, ForBudget):
        width = getattr(getattr(getattr(sampler, "policy", None), "config", None), "denoiser_width", 0)
        if width:
            raise UserError(
                f"this order reads hidden states (width {width}), and a scheduler of diffusers sees logits only; "
                "decode with unmask.generate_with instead"
            )
        unmasker: AnyUnmasker = sampler.unmasker(num_inference_steps)
    else:
        unmasker = make_sampler(sampler, end_token)  # what is wrong with it shows now
    if isinstance(unmasker, Editor) and unmasker.rereads:
        raise UserError(
            f"{type(unmasker).__name__} looks again at what it wrote, and a scheduler of diffusers sees the logits of "
            "masked positions only; name another sampler"
        )
    try:
        from unmask.serve.block_scheduler import UnmaskScheduler
    except ImportError as error:
        raise UserError(
            f"this needs diffusers with BlockRefinementScheduler: pip install 'diffusers>=0.42' ({error})"
        ) from error
    scheduler = UnmaskScheduler(
        sampler=sampler if isinstance(sampler, str) else type(sampler).__name__,
        block_length=block_length,
        num_inference_steps=num_inference_steps,
        seed=seed,
        end_token=list(end_ids(end_token)) or None,
    )
    if not isinstance(sampler, str):
        scheduler.chosen = sampler
    return scheduler
