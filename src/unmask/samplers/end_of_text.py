"""When positions where the denoiser predicts the end of the text may be revealed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.errors import UserError
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Unmasker, Wrapper, idle
from unmask.samplers.editors import refuse_editor
from unmask.samplers.options import check_choice

EndRule = Literal["free", "defer", "tail", "zero"]
END_RULES = ("free", "defer", "tail", "zero")
Ends = int | Collection[int]  # an id, or several: a chat also ends with the token that ends a turn


def end_ids(ends: Ends | None) -> tuple[int, ...]:
    """The ids of all end tokens, in order; none for None. Raises UserError on what is no id."""
    if ends is None:
        return ()
    several = list(ends) if isinstance(ends, Collection) else [ends]
    for end in several:
        if not hasattr(end, "__index__") or isinstance(end, bool) or int(end) < 0:
            raise UserError(f"an end token is a whole number of at least 0, or several of them in a list, got {ends!r}")
    return tuple(sorted({int(end) for end in several}))


@dataclass(frozen=True)
class EndOfText(Wrapper):
    """Hold back the positions whose most probable token ends a text, so that they do not fill the canvas.

    Denoisers trained on padded answers are surest of the end token. Ranked by confidence it is written
    first, and what is written then says the answer is short; LLaDA (arXiv 2502.09992) reports scores with
    and without a rule against it. Hence an explicit option, named wherever results are:

    free   no rule: `inner` as it is.
    defer  hidden from `inner` while the row has any other candidate; once only they are left, all of them are
           revealed at once, or at an even pace with `Budgeted` around this wrapper (`eot=defer,pace=true`).
    tail   hidden from `inner`, but revealed as soon as everything to their left is written or is revealed in
           this same step. An answer whose text is complete ends at once, however much canvas is left; an
           answer that begins with a predicted end does so too, which `defer` prevents.
    zero   seen by `inner` with confidence 0 (of entropies, the largest there is), so ranked last, and part of its
           quota; everywhere else it sees the probabilities without the end tokens, which raises the confidence where
           an end is the rival. `top-prob:block=32,eot=zero` is LLaDA's code with `confidence_eos_eot_inf`.

    With defer and tail `inner` sees the canvas without the hidden positions, so n_t splits only the candidates of the
    moment over the steps left. Any of the ends will do: where a family names several (LLaDA's `<|eot_id|>` and
    `<|endoftext|>`) one is held back like the other. Never empty unless `inner` may be. Looks at drawn tokens only if
    `inner` does: "predicted" means the argmax, not the token drawn.
    """

    inner: Unmasker
    rule: EndRule
    end_token: Ends

    def __post_init__(self) -> None:
        check_choice("eot", self.rule, END_RULES)
        object.__setattr__(self, "end_token", end_ids(self.end_token))
        refuse_editor("an end-of-text rule", self.inner)

    def init(self, canvas: Canvas) -> State:
        """The inner sampler's state."""
        return self.inner.init(canvas)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """The inner sampler's choice among the other positions, and the ends that the rule lets go."""
        if self.rule == "free":
            return self.inner.select(canvas, denoised, written, state, draws)
        if self.rule == "zero":
            return self.inner.select(canvas, denoised.without(end_ids(self.end_token)), written, state, draws)
        ends = self._ends(canvas, denoised)
        others = canvas.masked & ~ends
        chosen, state = self.inner.select(canvas.restrict(others), denoised, written, state, draws)
        positions = chosen.positions & others
        if self.rule == "defer":
            released = ends & ~others.any(dim=-1, keepdim=True)
        else:
            waiting_up_to_here = (others & ~positions).long().cumsum(dim=-1)
            released = ends & (waiting_up_to_here == 0)
        return Selection(positions | released, chosen.priority.where(~ends, NEG_INF)), state

    def idle(self, canvas: Canvas, denoised: Denoised, state: State, draws: StepDraws) -> Tensor:
        """As long as `inner` is: until it reveals something no end is let go that was not before."""
        hides = self.rule not in ("free", "zero")
        hidden = self._ends(canvas, denoised) if hides else torch.zeros_like(canvas.masked)
        return idle(self.inner, canvas.restrict(~hidden), denoised, state, draws)

    def _ends(self, canvas: Canvas, denoised: Denoised) -> Tensor:
        """bool [B, L]: where an end is predicted."""
        likely = denoised.top2_tokens[:, 0]
        predicted = torch.isin(likely, torch.tensor(end_ids(self.end_token), device=likely.device))
        return canvas.masked & denoised.to_rows(predicted, False)
