import math
from dataclasses import dataclass, replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.denoisers.table import TableDenoiser
from unmask.samplers import SAMPLERS, Selection, decode_canvas, make_sampler, wrap
from unmask.samplers.base import Stateless
from unmask.samplers.generate import decode
from unmask.samplers.top_prob import TopProb

ROWS = 6000


def a_joint(length: int = 3, vocabulary: int = 3) -> torch.Tensor:
    weights = torch.rand(
        [vocabulary] * length, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    return weights**3 / (weights**3).sum()


def empty(rows: int, length: int, budget: int | torch.Tensor) -> Canvas:
    shape = (rows, length)
    return Canvas.make(torch.zeros(shape, dtype=torch.long), torch.ones(shape, dtype=torch.bool), budget)


def test_with_true_conditionals_one_at_a_time_the_log_prob_is_that_of_the_joint():
    joint = a_joint()
    for name in ("left-to-right", "random", "margin"):
        decoded = decode_canvas(
            TableDenoiser.of(joint), empty(50, 3, 3), make_sampler(name), temperature=1.0, log_probs=True
        )
        expected = joint[tuple(decoded.canvas.tokens.T)].log()
        torch.testing.assert_close(decoded.log_prob, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(decoded.probability.log().sum(-1), expected, rtol=0, atol=1e-6)


def test_one_position_at_a_time_samples_the_joint_in_any_order():
    """Every outcome within 4 standard errors of its probability, for an order drawn at random."""
    joint = a_joint(length=2)
    decoded = decode_canvas(
        TableDenoiser.of(joint), empty(ROWS, 2, 2), make_sampler("random"), temperature=1.0
    )
    found = torch.bincount(decoded.canvas.tokens @ torch.tensor([3, 1]), minlength=9).double() / ROWS
    expected = joint.flatten()
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / ROWS).sqrt()).all()


def test_all_at_once_samples_the_product_of_the_marginals():
    joint = a_joint(length=2)
    decoded = decode_canvas(
        TableDenoiser.of(joint), empty(ROWS, 2, 1), make_sampler("random"), temperature=1.0
    )
    found = torch.bincount(decoded.canvas.tokens @ torch.tensor([3, 1]), minlength=9).double() / ROWS
    expected = torch.outer(joint.sum(1), joint.sum(0)).flatten()
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / ROWS).sqrt()).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_follow_the_tempered_softmax(fixed, temperature):
    """p^(1/T), renormalised; a token of probability 0 is never drawn."""
    probabilities = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    decoded = fixed([probabilities.tolist()], rows=ROWS).decode(
        make_sampler("random"), 1, temperature=temperature
    )
    found = torch.bincount(decoded.canvas.tokens[:, 0], minlength=4).double() / ROWS
    expected = probabilities ** (1 / temperature) / (probabilities ** (1 / temperature)).sum()
    assert ((found - expected).abs() <= 4 * (expected * (1 - expected) / ROWS).sqrt()).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_written_does_not_depend_on_when(confident, name):
    """Tokens with even odds stay even among the positions revealed at each step: draws of place and of token
    are not the same numbers."""
    decoded = confident([0.5] * 4, rows=1000).decode(make_sampler(name), 2, temperature=1.0)
    for step in (1, 2):
        tokens = decoded.canvas.tokens[decoded.revealed_at == step].double()
        assert abs(tokens.mean() - 0.5) < 4 * (0.25 / len(tokens)) ** 0.5


def test_temperature_zero_writes_the_argmax_and_scores_it_for_nothing(confident):
    decoded = confident([0.6, 0.1]).decode(make_sampler("left-to-right"), 2)
    assert decoded.canvas.tokens.tolist() == [[0, 1]]
    torch.testing.assert_close(
        decoded.probability, torch.tensor([[0.6, 0.9]], dtype=torch.float64), rtol=1e-6, atol=0
    )
    assert math.isclose(float(decoded.log_prob), math.log(0.54), rel_tol=1e-6)


def test_drawn_tokens_are_scored_only_when_asked_for(confident):
    decoded = confident([0.6, 0.1]).decode(make_sampler("left-to-right"), 2, temperature=1.0)
    assert decoded.log_prob.isnan().all()
    assert decoded.probability.isnan().all()


def test_rows_keep_their_place_and_their_own_budget(confident):
    """Four positions with budgets 1, 4, 2, 3: 4 | 1 1 1 1 | 2 2 | 2 1 1, left to right."""
    case = confident([0.6] * 4)
    canvas = empty(4, 4, torch.tensor([1, 4, 2, 3]))
    decoded = decode_canvas(case, canvas, make_sampler("left-to-right"))
    assert decoded.revealed_at.tolist() == [[1, 1, 1, 1], [1, 2, 3, 4], [1, 1, 2, 2], [1, 1, 2, 3]]
    assert decoded.steps.tolist() == decoded.nfe.tolist() == [1, 4, 2, 3]
    assert decoded.canvas.step.tolist() == [1, 4, 2, 3]


def test_a_row_with_nothing_to_write_costs_nothing(confident):
    canvas = empty(2, 3, 2)
    canvas = replace(canvas, masked=canvas.masked & torch.tensor([[True], [False]]))
    decoded = decode_canvas(confident([0.6] * 3), canvas, make_sampler("top-prob"))
    assert decoded.nfe.tolist() == [2, 0]
    assert decoded.log_prob[1] == 0
    assert decoded.probability[1].isnan().all()


def test_an_empty_batch_is_decoded(confident):
    decoded = decode_canvas(confident([0.6] * 3), empty(0, 3, 2), make_sampler("iid"))
    assert decoded.canvas.tokens.shape == (0, 3)


def test_rows_that_are_stopped_keep_what_is_still_masked(confident):
    """Stop once position 1 is written: after step 2 of 4 in one row, the only one in the other."""
    canvas = empty(2, 4, torch.tensor([4, 1]))
    decoded = decode_canvas(
        confident([0.6] * 4), canvas, make_sampler("left-to-right"), stop=lambda now: ~now.masked[:, 1]
    )
    assert decoded.canvas.masked.tolist() == [[False, False, True, True], [False] * 4]
    assert decoded.revealed_at.tolist() == [[1, 2, 0, 0], [1, 1, 1, 1]]
    assert decoded.nfe.tolist() == [2, 1]
    assert decoded.probability[0].isnan().tolist() == [False, False, True, True]


def test_every_pass_is_shown(confident):
    seen = []
    canvas = empty(2, 3, torch.tensor([3, 1]))
    decode_canvas(confident([0.6] * 3), canvas, make_sampler("left-to-right"), on_step=seen.append)
    assert [step.number for step in seen] == [1, 2, 3]
    assert [step.rows.tolist() for step in seen] == [[0, 1], [0], [0]]
    for step in seen:
        assert torch.equal(step.before.masked & ~step.after.masked, step.selection.positions)
        assert step.denoised.shape == tuple(step.before.masked.shape)
    assert not seen[-1].after.masked.any()


def test_a_decode_can_be_stopped_and_taken_up_again(confident):
    """What is written depends on the canvas's step, not on when decoding began."""
    case, unmasker = confident([0.6, 0.7, 0.55, 0.9]), make_sampler("random")
    canvas = empty(5, 4, 4)
    whole = decode_canvas(case, canvas, unmasker, temperature=1.0)
    half = decode_canvas(case, canvas, unmasker, temperature=1.0, stop=lambda now: now.step == 2)
    rest = decode_canvas(case, half.canvas, unmasker, temperature=1.0)
    assert torch.equal(rest.canvas.tokens, whole.canvas.tokens)
    assert torch.equal(half.revealed_at + rest.revealed_at, whole.revealed_at)
    assert torch.equal(half.steps + rest.steps, whole.steps)


@pytest.mark.parametrize("budget", [0, -2])
def test_a_budget_below_one_is_refused(confident, budget):
    with pytest.raises(UserError, match=f"budget must be at least 1, got {budget}"):
        confident([0.6]).decode(make_sampler("top-prob"), budget)


@pytest.mark.parametrize("temperature", [float("inf"), 1e-320, 5e-324, 1e-101])
def test_a_temperature_that_logits_cannot_be_divided_by_is_refused(confident, temperature):
    with pytest.raises(UserError, match=r"temperature must be 0.* or a finite number of at least 1e-100, got"):
        confident([0.6]).decode(TopProb(), 1, temperature=temperature)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("temperature", [1e-100, 1e-30, 1e300])
def test_at_the_ends_of_the_temperatures_what_is_drawn_is_possible(dtype, temperature):
    """Logits as large as float32 holds; the coldest write the most probable, the hottest anything possible."""
    logits = torch.tensor([[-torch.inf, 3.0e38, -3.0e38, 1.0]], dtype=dtype).repeat(500, 1)
    canvas = Canvas.make(torch.zeros(500, 1, dtype=torch.long), torch.ones(500, 1, dtype=torch.bool), 1)
    denoiser = lambda canvas: Denoised.from_logits(canvas, logits)  # noqa: E731
    decoded = decode_canvas(denoiser, canvas, TopProb(), temperature=temperature)
    drawn = set(decoded.canvas.tokens.flatten().tolist())
    assert drawn == ({1} if temperature < 1 else {1, 2, 3})


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_a_temperature_below_zero_is_refused(confident, temperature):
    with pytest.raises(UserError, match="temperature must be a number of at least 0"):
        confident([0.6]).decode(make_sampler("top-prob"), 1, temperature=temperature)


@dataclass(frozen=True)
class Idle(Stateless):
    """Breaks its promise: never reveals, and does not say so."""

    def select(self, canvas, denoised, written, state, draws):
        return Selection(torch.zeros_like(canvas.masked), torch.zeros(canvas.masked.shape)), state


def test_a_sampler_that_stands_still_without_saying_so_is_named(confident):
    with pytest.raises(ValueError, match=r"Idle\(\) revealed nothing in row 0"):
        confident([0.6, 0.7]).decode(Idle(), 2)


def test_one_that_says_so_waits_for_the_last_step_at_the_cost_of_one_call(confident):
    class Patient(Idle):
        may_be_empty = True

    decoded = confident([0.6, 0.7]).decode(Patient(), 5)
    assert decoded.steps.tolist() == [5]
    assert decoded.nfe.tolist() == [1]
    assert decoded.revealed_at.tolist() == [[5, 5]]


# ---- what is no denoiser, no canvas, no sampler


def narrow(canvas: Canvas) -> Denoised:
    """Speaks of one position fewer than there are."""
    fewer = canvas.masked.clone()
    fewer[0, 0] = False
    return TableDenoiser.of(a_joint())(canvas.restrict(fewer))


ANSWERS = {
    "nothing": (lambda canvas: None, "returns a Denoised, got NoneType: end it with `return unmask"),
    "logits": (lambda canvas: torch.zeros(6, 3), "a denoiser returns a Denoised, got Tensor"),
    "every position": (
        lambda canvas: Denoised.from_logits(canvas, torch.zeros(2, 3, 4)),
        r"logits must be a tensor \[6, vocabulary\].*got \[2, 3, 4\]",
    ),
    "too few rows": (lambda canvas: Denoised.from_logits(canvas, torch.zeros(5, 3)), r"\[6, voc.*got \[5, 3\]"),
    "a list": (lambda canvas: Denoised.from_logits(canvas, [[0.0]] * 6), "got list"),
    "fewer positions": (narrow, r"speaks of 5 positions of a canvas \[2, 3\], and was asked about 6"),
    "another canvas": (lambda canvas: TableDenoiser.of(a_joint())(empty(3, 2, 1)), r"6 positions of a canvas \[3, 2\]"),
    "no callable": (3, "a denoiser is called with a canvas, and int cannot be called"),
}


@pytest.mark.parametrize(("denoiser", "message"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_that_is_none_is_refused(denoiser, message):
    for write in (decode, decode_canvas):
        options = {"sampler": "top-prob"} if write is decode else {"unmasker": TopProb()}
        with pytest.raises(UserError, match=message):
            write(denoiser, empty(2, 3, 2), **options)


SAMPLERS_NOT = {
    "a class": (TopProb, r"TopProb is a class and no sampler yet: give an object of it, TopProb\(\)"),
    "nothing": (None, "NoneType is no sampler.*unmask list samplers"),
    "a number": (3, "int is no sampler"),
    "a function": (lambda canvas: canvas, "function is no sampler, it has no reads_tokens, may_be_empty, init, select"),
}


@pytest.mark.parametrize(("sampler", "message"), SAMPLERS_NOT.values(), ids=SAMPLERS_NOT.keys())
def test_a_sampler_that_is_none_is_refused(sampler, message):
    denoiser = TableDenoiser.of(a_joint())
    with pytest.raises(UserError, match=message):
        decode(denoiser, empty(2, 3, 2), sampler=sampler)
    with pytest.raises(UserError, match=message):
        decode_canvas(denoiser, empty(2, 3, 2), sampler)
    with pytest.raises(UserError, match=message):
        wrap(sampler, block=2)


def test_a_learned_order_and_what_is_no_canvas_are_sent_to_where_they_belong():
    order = type("Order", (), {"unmasker": lambda self, budget: TopProb()})()
    with pytest.raises(UserError, match=r"give order.unmasker\(budget\), or use decode\(\)"):
        decode_canvas(TableDenoiser.of(a_joint()), empty(2, 3, 2), order)
    with pytest.raises(UserError, match="there is no canvas to write, got list"):
        decode_canvas(TableDenoiser.of(a_joint()), ["hello"], TopProb())


@pytest.mark.parametrize("stop", [lambda c: c.step, lambda c: [True, False], lambda c: c.masked, lambda c: None])
def test_a_stop_that_does_not_say_true_or_false_of_each_row_is_refused(stop):
    """Numbers would be taken for rows."""
    with pytest.raises(UserError, match=r"`stop` must say true or false of each row, a bool tensor \[2\]"):
        decode_canvas(TableDenoiser.of(a_joint()), empty(2, 3, 2), TopProb(), stop=stop)


@pytest.mark.parametrize(
    "spec",
    ["entropy:eot=defer", "entropy:exit=prophet", "entropy-bounded:eot=tail,block=2", "entropy:eot=defer,pace=true"],
)
def test_an_output_head_runs_once_a_position_and_step_whatever_wrappers_read_beside_entropies(spec):
    made, asked = [], []

    @dataclass(frozen=True)
    class Rows:
        logits: torch.Tensor

        def __call__(self, part):
            made.append(len(self.logits[part]))
            return self.logits[part]

        def take(self, index):
            return Rows(self.logits[index])

    def denoiser(canvas):
        denoised = TableDenoiser.of(a_joint())(canvas)
        asked.append(len(denoised.where))
        return replace(denoised, logits=Rows(denoised.logits(slice(None))))

    decode_canvas(denoiser, empty(2, 3, 3), make_sampler(spec, end_token=1))
    assert sum(made) <= sum(asked)
