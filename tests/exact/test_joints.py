"""What may be handed to the public functions of this room: any array of numbers that is a distribution."""

import numpy as np
import pytest
import torch

from unmask import exact
from unmask.core.errors import UserError
from unmask.denoisers.table import TableDenoiser

from .problems import random_joint

JOINT = random_joint(2, 3, 5)
FORMS = {
    "numpy": JOINT.numpy(),
    "lists": JOINT.tolist(),
    "a tensor that learns": JOINT.clone().requires_grad_(),
    "another layout": JOINT.permute(2, 1, 0).contiguous().permute(2, 1, 0),
}
FUNCTIONS = {
    "optimum": lambda joint: exact.optimum(joint, 2),
    "optimum, randomised": lambda joint: exact.optimum(joint, 2, randomised=True),
    "static_optimum": lambda joint: exact.static_optimum(joint, 2),
    "sampler_nll": lambda joint: exact.sampler_nll(joint, "margin", 2),
    "learn": lambda joint: exact.learn(joint, 2, updates=2).nll,
    "entropy": exact.entropy,
    "Choices": lambda joint: float(exact.Choices.of(joint).cost.sum()),
    "TableDenoiser": lambda joint: float(TableDenoiser.of(joint).log_conditionals.exp().sum()),
}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
WRONG = {
    "nan": ([[0.5, float("nan")], [0.25, 0.25]], r"joint entry \(0, 1\) is not a number"),
    "negative": ([[0.5, -0.5], [0.5, 0.5]], r"joint entry \(0, 1\) is negative: -0.5"),
    "infinite": ([[np.inf, 0.0], [0.0, 0.0]], r"joint entry \(0, 0\) is infinite"),
    "no sum of 1": ([[0.5, 0.5], [0.5, 0.5]], r"sums to 2.0, not to 1. hint: divide it by its sum, in float64"),
    "not square": ([[0.5, 0.25, 0.25]], r"one axis of size V per position, not shape \(1, 3\)"),
    "ragged": ([[0.5, 0.25], [0.25]], "a joint is an array of real numbers"),
    "a number": (1.0, r"one axis of size V per position, not shape \(\)"),
    "nothing": (None, "one axis of size V per position"),
    "words": ([["a", "b"], ["c", "d"]], "a joint is an array of real numbers"),
    "complex": (np.full((2, 2), 0.25 + 0j), "a joint is an array of"),
    "empty": ([], r"sums to 0.0|one axis"),
}


@every_function
@pytest.mark.parametrize("form", FORMS)
def test_a_joint_comes_in_any_form(function, form):
    assert function(FORMS[form]) == function(JOINT)


@every_function
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("form", [lambda joint: joint, torch.tensor, np.array], ids=["plain", "tensor", "numpy"])
def test_what_is_no_distribution_is_refused_in_a_sentence(function, wrong, form):
    values, message = WRONG[wrong]
    if form is torch.tensor and wrong in ("ragged", "nothing", "words"):
        pytest.skip("is no tensor")
    ragged = form is np.array and wrong == "ragged"
    values = np.array([[0.5], [0.25, 0.25]], dtype=object) if ragged else form(values)
    with pytest.raises(UserError, match=message):
        function(values)


def test_integers_of_numpy_count_steps_and_a_prompt_may_be_a_list():
    assert exact.optimum(JOINT, np.int64(2)) == exact.optimum(JOINT, 2)
    policy = lambda canvas, denoised: exact_policy(canvas)  # noqa: E731
    given = {"length": 3, "vocabulary": 2, "budget": 2}
    start = torch.tensor([1, 2, 2])
    found = exact.decode_marginal(TableDenoiser.of(JOINT), policy, **given, start=start)
    assert torch.equal(exact.decode_marginal(TableDenoiser.of(JOINT), policy, **given, start=[1, 2, 2]), found)
    assert exact.set_number([[False, True, True]]).tolist() == [3]
    for wrong in ([1, 2], [1, 2, 3], [-1, 2, 2]):
        with pytest.raises(UserError, match="start must have 3 entries from 0 to 2"):
            exact.decode_marginal(TableDenoiser.of(JOINT), policy, **given, start=wrong)


def exact_policy(canvas):
    """A coin for every position."""
    from unmask.reveals.bernoulli import Bernoulli

    return Bernoulli(torch.zeros(canvas.masked.shape, dtype=torch.float64), canvas.masked)
