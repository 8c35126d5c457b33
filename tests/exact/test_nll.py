"""The exact NLL of samplers as deployed: by hand, by simulation, and what is refused."""

import math

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.exact import sampler_nll
from unmask.exact.choices import Choices
from unmask.exact.laws import DRAWN
from unmask.exact.nll import sampler_law
from unmask.reveals import Bernoulli
from unmask.samplers import SAMPLERS, make_sampler
from unmask.samplers.decode import decode_canvas
from unmask.samplers.learned import DecodeRule, Learned

from .problems import random_joint

# What such a sampler does depends on how it came to where it is, or on what was masked at the start.
WITH_STATE = ("klass", "slowfast", "dilated", "halton")
WITH_A_LAW = [name for name, kind in SAMPLERS.items() if name not in WITH_STATE and not hasattr(kind, "edit")]


def coin_policy(canvas, denoised) -> Bernoulli:
    """Surer positions sooner."""
    return Bernoulli(denoised.to_rows(4 * denoised.top2[:, 0] - 3, 0.0), canvas.masked)


def test_equal_coins_by_hand() -> None:
    joint = torch.tensor([[0.5, 0.0], [0.0, 0.5]], dtype=torch.float64)
    assert sampler_nll(joint, "top-prob", 1) == pytest.approx(2 * math.log(2))
    for name in ("top-prob", "random", "left-to-right", "least-certain"):
        assert sampler_nll(joint, name, 2) == pytest.approx(math.log(2))
    # both coins, one, the other or none at step 1: half of the time both are written at once (at step 1 or 2)
    assert sampler_nll(joint, "iid", 2) == pytest.approx(-math.log(0.5 * 0.25 + 0.5 * 0.5))


@pytest.mark.parametrize("name", [*WITH_A_LAW, "learned", "learned by threshold"])
def test_decoding_writes_each_text_as_often_as_the_law_says(name: str) -> None:
    joint = random_joint(1, 3, 2)
    choices = Choices.of(joint)
    rule = DecodeRule("threshold", 0.5) if name.endswith("threshold") else DecodeRule()
    unmasker = Learned(coin_policy, rule) if name.startswith("learned") else make_sampler(name)
    law = sampler_law(choices, unmasker, 2)
    assert float(law.sum()) == pytest.approx(1)
    count = 20_000
    blank = torch.ones(count, 3, dtype=torch.bool)
    decoded = decode_canvas(
        choices.denoiser, Canvas.make(torch.zeros(count, 3, dtype=torch.long), blank, 2), unmasker, temperature=1.0
    )
    number = (decoded.canvas.tokens * torch.tensor([4, 2, 1])).sum(-1)
    seen = torch.bincount(number, minlength=8).double() / count
    error = (law * (1 - law) / count).sqrt().clamp(min=1e-9)
    assert bool(((seen - law).abs() <= 5 * error).all()), (seen, law)


def test_sharper_coins_are_another_law() -> None:
    joint = random_joint(2, 3, 2)
    plain, sharp = (sampler_nll(joint, Learned(coin_policy, DecodeRule(sharpness=s)), 2) for s in (1.0, 4.0))
    assert plain != pytest.approx(sharp, abs=1e-3)


@pytest.mark.parametrize("spec", ["random:pace=true", "iid:pace=exact"])
def test_a_wrapper_around_draws_is_refused(spec: str) -> None:
    with pytest.raises(UserError, match=r"draws at random.*IID, Random, Learned"):
        sampler_nll(random_joint(0, 3, 2), spec, 2)
    assert len(DRAWN) == 3


@pytest.mark.parametrize("spec", ["top-prob:block=2", *WITH_STATE])
def test_a_sampler_with_a_state_is_refused(spec: str) -> None:
    with pytest.raises(UserError, match="keeps a state"):
        sampler_nll(random_joint(0, 3, 2), spec, 2)


def test_a_sampler_that_looks_at_drawn_tokens_is_refused() -> None:
    class Peeks:
        reads_tokens = True
        may_be_empty = False

        def init(self, canvas):
            return None

        def select(self, canvas, denoised, written, state, draws):
            raise AssertionError

    with pytest.raises(UserError, match="looks at drawn tokens"):
        sampler_nll(random_joint(0, 3, 2), Peeks(), 2)


def test_wrong_names_and_steps_are_refused() -> None:
    with pytest.raises(UserError, match="Did you mean `margin`"):
        sampler_nll(random_joint(0, 3, 2), "margn", 2)
    with pytest.raises(UserError, match="from 1 to 3"):
        sampler_nll(random_joint(0, 3, 2), "margin", 4)
