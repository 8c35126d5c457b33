"""The learner of the suite: repeatable, honest, and good at what it is for."""

from dataclasses import replace

import pytest
import torch

from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.exact import RECIPE, instance, learn, optimum, sampler_nll
from unmask.exact.choices import Choices
from unmask.exact.families import FAMILIES, TablePolicy
from unmask.exact.learn import RULES, draw_texts
from unmask.exact.losses import Learning, importance_loss
from unmask.samplers.learned import Learned

from .problems import random_joint


@pytest.mark.slow
def test_the_same_seed_and_updates_give_the_same_order() -> None:
    joint = random_joint(0, 4, 2)
    first, second = (learn(joint, 2, seed=3, updates=30) for _ in range(2))
    assert first.nll == second.nll
    assert first.updates == second.updates == 30
    other = learn(joint, 2, seed=4, updates=30)
    assert other.nll != first.nll


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tilt", [False, True])
def test_every_family_learns_and_its_nll_is_that_of_its_unmasker(family: str, tilt: bool) -> None:
    if tilt and not FAMILIES[family].tilts:
        pytest.skip("a family that cannot be tilted is refused, which another test asks for")
    joint = instance("pairs", 900)
    spread = 0.5 if family == "mixture" else 0.0
    recipe = replace(RECIPE, family=family, tilt=tilt, spread=spread, components=3, samples=4)
    found = learn(joint, 2, updates=120, recipe=recipe, look_every=40)
    assert found.nll == pytest.approx(sampler_nll(joint, found.unmasker, 2), abs=1e-12)
    assert found.nll <= min(nll for _, nll in found.history)
    assert found.nll >= optimum(joint, 2, randomised=True) - 1e-4
    assert found.nll < sampler_nll(joint, "random", 2) - 0.1


@pytest.mark.slow
def test_the_recipe_closes_nearly_all_of_the_gap() -> None:
    for family, steps in (("pairs", 2), ("gate", 3), ("chain", 2)):
        joint = instance(family, 901)
        best = min(sampler_nll(joint, name, steps) for name in ("random", "top-prob", "least-certain"))
        goal = optimum(joint, steps, randomised=True)
        found = learn(joint, steps, updates=400)
        assert (best - found.nll) / (best - goal) > 0.9, family


@pytest.mark.slow
def test_it_learns_from_texts_and_denoiser_calls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exact NLL scrambled every parameter still moves as before: it selects, and does nothing else."""
    joint = random_joint(2, 3, 2)
    moved = []
    real = Choices.nll
    for scrambled in (False, True):
        looks: list[torch.Tensor] = []
        monkeypatch.setattr(Choices, "nll", (lambda self, law: -1.0) if scrambled else real)
        forward = TablePolicy.forward

        def spy(self, canvas, denoised, looks=looks, forward=forward):
            if torch.is_grad_enabled():  # an update, not a look
                looks.append(self.numbers.detach().clone())
            return forward(self, canvas, denoised)

        monkeypatch.setattr(TablePolicy, "forward", spy)
        learn(joint, 2, updates=10)
        monkeypatch.setattr(TablePolicy, "forward", forward)
        moved.append(looks[-1])
    assert torch.equal(*moved)


def test_texts_are_as_frequent_as_the_joint_says() -> None:
    choices = Choices.of(random_joint(5, 3, 2))
    count = 40_000
    clean = draw_texts(choices, count, 2, 0, torch.Generator().manual_seed(0))
    seen = torch.bincount((clean.tokens * torch.tensor([4, 2, 1])).sum(-1), minlength=8) / count
    error = (choices.text * (1 - choices.text) / count).sqrt()
    assert bool(((seen - choices.text).abs() <= 5 * error).all())
    later = draw_texts(choices, 4, 2, 7, torch.Generator().manual_seed(0))
    assert later.row.tolist() == [28, 29, 30, 31]


def test_one_step_leaves_nothing_to_learn() -> None:
    joint = random_joint(0, 3, 2)
    found = learn(joint, 1, updates=5)
    assert (found.updates, found.nll) == (0, pytest.approx(optimum(joint, 1)))


def test_bad_settings_are_refused() -> None:
    joint = random_joint(0, 3, 2)
    for arguments, message in (
        ({"steps": 4}, "from 1 to 3"),
        ({"steps": 2, "updates": 0}, "updates must be at least 1"),
        ({"steps": 2, "seconds": 0}, "seconds must be above 0"),
        ({"steps": 2, "updates": 1, "recipe": replace(RECIPE, family="bernouli")}, "Did you mean `bernoulli`"),
    ):
        with pytest.raises(UserError, match=message):
            learn(joint, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "first", "posterior"),
    [
        ("bernoulli", "bound", "score-ratio"),
        ("bernoulli-or-none", "bound", "reveal-times"),
        ("bernoulli", "importance", "score-ratio"),
        ("bernoulli-or-none", "importance", "reveal-times"),
        ("categorical", "importance", "score-ratio"),
    ],
)
def test_a_posterior_comes_first_where_it_is_asked_for(family: str, first: str, posterior: str) -> None:
    joint = instance("pairs", 902)
    recipe = replace(RECIPE, family=family, first=first, posterior=posterior, first_share=1.0, samples=8)
    found = learn(joint, 2, updates=150, recipe=recipe)
    assert found.nll < sampler_nll(joint, "top-prob", 2)
    later = learn(joint, 2, updates=150, recipe=replace(recipe, first_share=0.5))
    assert later.history != found.history


def test_the_gradient_of_an_importance_weighted_first_stage_reaches_policy_and_posterior() -> None:
    choices = Choices.of(random_joint(0, 3, 2))
    generator = torch.Generator().manual_seed(0)
    policy = TablePolicy(3, 2, 2, FAMILIES["categorical"], 1, 0.5, generator)
    scores = torch.randn(8, 3, generator=generator).requires_grad_()
    learning = Learning(policy, scores, choices.denoiser, replace(RECIPE, samples=4), Draws(0))
    importance_loss(learning, draw_texts(choices, 8, 2, 0, generator)).backward()
    for numbers in (policy.numbers.grad, scores.grad):
        assert numbers is not None
        assert bool(numbers.isfinite().all())
        assert float(numbers.abs().sum()) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "categorical", "first_share": 0.5}, "first must be `importance` for the family `categorical`"),
        ({"posterior": "reveal-times", "first_share": 0.5, "first": "importance"}, "cannot teach the family"),
        ({"family": "plackett-luce", "tilt": True}, "tilt must be False for the family `plackett-luce`"),
        ({"posterior": "score-ration"}, "Did you mean `score-ratio`"),
        ({"first": "bond"}, "Did you mean `bound`"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        learn(random_joint(0, 3, 2), 2, updates=1, recipe=replace(RECIPE, **changes))


@pytest.mark.slow
def test_the_decode_rule_is_the_best_there_is_and_never_worse_than_drawing() -> None:
    joint = instance("pairs", 903)
    found = learn(joint, 2, updates=60, recipe=replace(RECIPE, family="bernoulli", samples=4))
    policy = found.unmasker.policy
    each = [sampler_nll(joint, Learned(policy, rule), 2) for rule in RULES]
    assert found.nll == min(each)
    assert RULES[each.index(min(each))] == found.rule == found.unmasker.rule


@pytest.mark.slow
def test_one_sample_at_a_time_is_another_objective() -> None:
    joint = instance("pairs", 904)
    recipe = replace(RECIPE, samples=4)
    assert (
        learn(joint, 2, updates=20, recipe=recipe).nll
        != learn(joint, 2, updates=20, recipe=replace(recipe, multi_sample=False)).nll
    )
