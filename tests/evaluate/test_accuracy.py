import pytest

from unmask.core.errors import UserError
from unmask.evaluate.accuracy import deployed_accuracy
from unmask.samplers.generate import decode


def test_it_is_what_decoding_and_judging_by_hand_gives(denoiser, task):
    examples = task.examples("validation")[:9]
    found = deployed_accuracy(denoiser, task, "validation", 9, "iid", 5, seed=2, batch=4)
    generations = decode(denoiser, [e.prompt for e in examples], sampler="iid", budget=5, seed=2)
    right = [task.correct(g.text, e) for g, e in zip(generations, examples, strict=True)]
    steps = [g.steps for g in generations]
    assert 0 < sum(right) < 9
    assert found.accuracy == sum(right) / 9
    assert (found.steps_mean, found.steps_min, found.steps_max) == (sum(steps) / 9, min(steps), max(steps))
    assert found.nfe == sum(g.nfe for g in generations) / 9
    assert found.n == 9


def test_examples_that_do_not_fit_are_left_out_and_keep_their_numbers(denoiser, task, text_denoiser):
    """A response so long that only the shorter half of the prompts fits beside it."""
    lengths = [len(denoiser.codec.encode_prompt(e.prompt)) for e in task.examples("test")[:10]]
    middle = sorted(lengths)[4]

    class Tight(type(denoiser)):
        context = middle + 12

    found = deployed_accuracy(Tight(text_denoiser), task, "test", 10, "iid", 12)
    kept = [row for row, length in enumerate(lengths) if length <= middle]
    prompts = [task.examples("test")[row].prompt for row in kept]
    generations = decode(denoiser, prompts, sampler="iid", budget=12, rows=kept)
    right = [task.correct(g.text, task.examples("test")[row]) for g, row in zip(generations, kept, strict=True)]
    assert (found.n, found.accuracy) == (len(kept), sum(right) / len(kept))
    assert found.steps_mean == sum(g.steps for g in generations) / len(kept)
    renumbered = decode(denoiser, prompts, sampler="iid", budget=12)
    assert sum(g.steps for g in renumbered) != sum(g.steps for g in generations), "or the test shows nothing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("validaton", 3, "random", 3), "Did you mean `validation`"),
        (("validation", 0, "random", 3), "count must be at least 1"),
        (("validation", 3, "random", 0), "budget must be"),
    ],
)
def test_bad_input_is_refused(denoiser, task, arguments, message):
    with pytest.raises(UserError, match=message):
        deployed_accuracy(denoiser, task, *arguments)
    assert denoiser.calls == 0


def test_a_context_too_small_for_every_example_is_said(denoiser, task, text_denoiser):
    class Tiny(type(denoiser)):
        context = 14

    with pytest.raises(UserError, match=r"none of the first 4 examples of wordprob/test fits.*2 tokens"):
        deployed_accuracy(Tiny(text_denoiser), task, "test", 4, "random", 3)
