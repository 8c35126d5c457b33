"""What a sampler as deployed costs, exactly: -E log of what it writes (equation 7)."""

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.table import Joint
from unmask.exact.choices import Choices, check_steps
from unmask.exact.enumerate import every_canvas, set_log_probs
from unmask.exact.laws import reveal_law
from unmask.reveals.certain import Certain
from unmask.samplers import make_sampler
from unmask.samplers.base import AnyUnmasker, State


def sampler_nll(joint: Joint, sampler: str | AnyUnmasker, steps: int) -> float:
    """Exact -E log p(x) of a sampler that writes texts of `joint` in at most `steps` steps, in nats.

    Tokens are drawn at temperature 1 from the true conditionals, independently within a step; randomised samplers are
    summed over their draws.

    joint: [V] * L that sums to 1, a tensor, a numpy array or nested lists. sampler: `NAME:key=value,...` or an
    Unmasker; steps: 1..L.
    UserError on anything else, and for samplers that re-mask, look at drawn tokens, keep a state that depends on the
    path, or draw by a law that is not known. Infinite if some text can never be written.
    Time: steps * ((2V+1)^L + (V+1)^L calls of the sampler, as rows of one canvas).
    """
    choices = Choices.of(joint)
    return choices.nll(sampler_law(choices, make_sampler(sampler), steps))


def sampler_law(choices: Choices, unmasker: AnyUnmasker, steps: int) -> Tensor:
    """float64 [V^L]: the probability with which the sampler writes each text."""
    check_steps(steps, choices.length)
    return choices.law(sampler_policies(choices, unmasker, steps))


def sampler_policies(choices: Choices, unmasker: AnyUnmasker, steps: int) -> list[Tensor]:
    """[A] for each step but the last: the chance of each choice in its context.

    A state is started from the empty canvas and must stay equal to what a row elsewhere would have: samplers whose
    state holds what happened before are refused.
    """
    length, vocabulary = choices.length, choices.denoiser.vocabulary
    policies = []
    with torch.no_grad():
        for step in range(steps - 1):
            canvas = every_canvas(length, vocabulary, step, steps)
            law, state = reveal_law(unmasker, canvas, choices.denoiser(canvas), unmasker.init(canvas))
            check_stateless(unmasker, canvas, state)
            if isinstance(law, Certain):
                policies.append(_certain(choices, law.positions & canvas.masked))
            else:
                log_prob = set_log_probs(law, length).double()  # [C, 2^L]
                policies.append(log_prob[choices.context, choices.revealed].exp())
    return policies


def check_stateless(unmasker: AnyUnmasker, canvas: Canvas, state: State) -> None:
    """Raise UserError if the sampler keeps something between steps."""
    if state is not None:
        raise UserError(
            f"{type(unmasker).__name__} keeps a state between steps, so what it does is no function of the canvas and "
            "the step, and its NLL is not summed here; name one that keeps none, without blocks"
        )


def _certain(choices: Choices, positions: Tensor) -> Tensor:
    """[A]: the policy that reveals `positions` ([C, L]) in each context."""
    powers = 2 ** torch.arange(choices.length - 1, -1, -1)
    number = (positions * powers).sum(-1)
    return (choices.revealed == number[choices.context]).double()


