"""Ours write what the published loops write, token for token, on 128 random rows."""

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import mix, to_unit
from unmask.denoisers.base import Denoised
from unmask.samplers import decode_canvas, make_sampler
from unmask.samplers.margin import Margin
from unmask.samplers.schedule import grid

from . import published_loops as published

ROWS, PROMPT, LENGTH, VOCABULARY = 128, 3, 32, 23
MASK, ENDS = VOCABULARY - 1, (0, 7)
MORE = ((8, 8), (16, 12), (32, 32))  # blocks and steps


def logits_of(tokens: torch.Tensor) -> torch.Tensor:
    """float32 [B, L, V]: a fixed function of what stands on each row; every fifth position is sharper, and two tokens
    that end a text are probable everywhere. Nothing is so sure that probabilities would be equal in float32."""
    place = torch.arange(tokens.shape[1])
    context = mix(tokens * 64 + place).sum(-1, keepdim=True)
    words = mix((context ^ mix(place))[..., None] ^ mix(torch.arange(VOCABULARY) + 977))
    logits = to_unit(words).float() * (6 + 6 * (place % 5 == 0))[:, None]
    logits[..., list(ENDS)] += 2.0
    logits[..., MASK] = -torch.inf
    return logits


def denoiser(canvas: Canvas) -> Denoised:
    tokens = torch.where(canvas.masked, MASK, canvas.tokens)
    return Denoised.from_logits(canvas, logits_of(tokens)[canvas.masked])


class NeverIdle(Margin):
    """The same, one step after the other."""

    def __init__(self):
        super().__init__(schedule="linear")

    def idle(self, canvas, denoised, state, draws):
        return torch.zeros_like(canvas.step)


def flat(canvas: Canvas) -> Denoised:
    return Denoised.from_logits(canvas, torch.zeros(int(canvas.masked.sum()), 2))


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    """long [ROWS, PROMPT + LENGTH]: a prompt of its own and a response to write."""
    prompts = mix(torch.arange(ROWS * PROMPT)).remainder(MASK).view(ROWS, PROMPT)
    return torch.cat([prompts, torch.full((ROWS, LENGTH), MASK)], dim=-1)


def ours(rows: torch.Tensor, spec: str, steps: int):
    canvas = Canvas.make(rows, rows == MASK, steps)
    return decode_canvas(denoiser, canvas, make_sampler(spec, end_token=ENDS))


def check(rows, spec, budget, loop, /, **options):
    """All rows equal; a loop is called with a row, and `predict` for one row."""
    written = ours(rows, spec, budget).canvas.tokens

    def predict(tokens: torch.Tensor) -> torch.Tensor:
        return logits_of(tokens[None])[0]

    theirs = torch.stack([loop(predict, row, MASK, **options) for row in rows])
    assert int((written == theirs).all(-1).sum()) == len(rows)
    assert (written != MASK).all()
    return theirs


@pytest.mark.parametrize(("block", "steps"), [(32, 8), *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE)])
def test_top_prob_is_low_confidence_of_llada(rows, block, steps):
    check(rows, f"top-prob:block={block}", steps, published.llada, steps=steps, block=block)


@pytest.mark.parametrize(("block", "steps"), [(32, 8), *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE)])
def test_an_end_of_confidence_zero_is_confidence_eos_eot_inf_of_llada(rows, block, steps):
    plain = check(rows, f"top-prob:block={block}", steps, published.llada, steps=steps, block=block)
    options = {"steps": steps, "block": block, "ends": ENDS}
    ended = check(rows, f"top-prob:block={block},eot=zero", steps, published.llada, **options)
    assert (plain != ended).any(), "the rule says something"
    deferred = ours(rows, f"top-prob:block={block},eot=defer,pace=true", steps).canvas.tokens
    assert steps == LENGTH or (deferred != ended).any(-1).sum() > 5, "and not what `defer` says"


@pytest.mark.parametrize("steps", [1, 7, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (4, 16, 32, 40))])
@pytest.mark.parametrize(
    ("sampler", "kind"), [("top-prob", "maskgit_plus"), ("margin", "topk_margin"), ("entropy", "entropy")]
)
def test_the_linear_schedule_is_that_of_dream(rows, sampler, kind, steps):
    check(rows, f"{sampler}:schedule=linear", steps, published.dream, steps=steps, kind=kind)


def test_the_end_of_the_linear_schedule_is_an_option(rows):
    check(rows, "margin:schedule=linear,eps=0.2", 8, published.dream, steps=8, kind="topk_margin", eps=0.2)


def test_the_linear_schedule_is_another_than_the_even_one(rows):
    even, linear = (ours(rows, f"margin:schedule={name}", 7).canvas.tokens for name in ("even", "linear"))
    assert (even != linear).any(-1).sum() > ROWS / 2


@pytest.mark.parametrize("eps", [1e-3, 1e-5, 0.2, 0.0])
def test_the_grid_is_that_of_linspace_to_the_last_bit(eps):
    for steps in (1, 2, 3, 7, 32, 100, 255, 512):
        index = torch.arange(steps + 1)
        assert torch.equal(grid(index, torch.full_like(index, steps), eps), torch.linspace(1, eps, steps + 1))


def test_steps_that_reveal_nothing_are_passed_over_however_many(rows):
    """Ten thousand of them; what comes after is what one step after the other gives."""
    few = rows[:4]
    found = ours(few, "margin:schedule=linear", 10_000)
    assert (found.steps == 10_000).all()
    sampler, canvas = make_sampler("margin:schedule=linear"), Canvas.make(few, few == MASK, 300)
    fast = decode_canvas(denoiser, canvas, sampler)
    slow = decode_canvas(denoiser, canvas, NeverIdle())
    assert torch.equal(fast.revealed_at, slow.revealed_at)
    assert int((fast.revealed_at > 0).sum()) == 4 * LENGTH


def test_a_step_that_reveals_nothing_costs_no_pass_where_dream_makes_one(rows):
    found = ours(rows, "entropy:schedule=linear", 64)
    assert (found.steps == 64).all()
    assert (found.nfe < 40).all()


@pytest.mark.parametrize("name", ["random", "left-to-right", "halton", "pc", "least-certain"])
def test_every_sampler_of_a_fixed_quota_knows_the_linear_schedule(rows, name):
    found = ours(rows, f"{name}:schedule=linear", 7)
    counts = [(found.revealed_at == step).sum(-1) for step in range(1, 8)]
    left, times = LENGTH, torch.linspace(1, 1e-3, 8)
    for step, count in enumerate(counts):
        expected = int(left * (1 - times[step + 1] / times[step])) if step < 6 else left
        assert (count == expected).all()
        left -= expected


@pytest.mark.parametrize("block", [32, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("level", [0.3, 0.6])
def test_threshold_is_that_of_fast_dllm(rows, block, level):
    check(rows, f"threshold:level={level},block={block}", 200, published.fast_dllm, block=block, threshold=level)


@pytest.mark.slow
@pytest.mark.parametrize("block", [32, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_factor_as_published_is_that_of_fast_dllm(rows, block, factor):
    spec = f"factor:factor={factor},block={block}"
    theirs = check(rows, f"{spec},published=true", 200, published.fast_dllm, block=block, factor=factor)
    assert (ours(rows, spec, 200).canvas.tokens != theirs).any(), "the paper's rule leaves the last one alone"


@pytest.mark.parametrize("eps", [0.0, 1e-3, 0.2])
def test_the_coins_of_iid_are_those_of_the_published_grid(eps):
    """Of 4,000 coins at each of 4 steps, 1 - s/t come up heads: within four standard errors."""
    canvas = Canvas.make(torch.zeros(400, 40, dtype=torch.long), torch.ones(400, 40, dtype=torch.bool), 4)
    found = decode_canvas(flat, canvas, make_sampler(f"iid:eps={eps}"))
    left, times = 400 * 40, torch.linspace(1, eps, 5).tolist()
    for step in range(3):
        chance = 1 - times[step + 1] / times[step]
        revealed = int((found.revealed_at == step + 1).sum())
        assert abs(revealed - left * chance) < 4 * (left * chance * (1 - chance)) ** 0.5
        left -= revealed
