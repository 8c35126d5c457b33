"""`decode(..., exact=True)`: a row's answer is the same to the last bit, whatever it is decoded beside."""

from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.codec import Codec
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.orders.folder import LearnedOrder
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import SAMPLERS, DecodeRule, Learned
from unmask.samplers.generate import decode
from unmask.tasks import make_task

PROMPTS = [
    "Ana has 3 pens and buys 4 more. How many pens does she have?",
    "1+2?",
    "Tom sells 12 limes to Ann.",
    "7?",
    "What is 12 plus 30 minus 4, and how many limes is that for Tom, who has 3 and sells them all?",
    "Ann has 9 pens.",
    "How many?",
    "Ana has 3 pens, and Tom has 4 limes. 1+2?",
]
SPECS = [
    *SAMPLERS,
    *("top-prob:block=4", "threshold:level=0.1,block=4", "margin:eot=tail,pace=true", "top-prob:exit=prophet"),
]


OTHER_DTYPES = [pytest.param(dtype, marks=pytest.mark.slow, id=str(dtype)) for dtype in (torch.float16, torch.float32)]


@pytest.fixture(scope="module", params=[torch.bfloat16, *OTHER_DTYPES], ids=str)
def denoiser(request):
    """A random transformer with weights large enough to have opinions, in half precision too."""
    examples = make_task("wordprob").examples("train")[:60]
    codec = Codec.train([text for e in examples for text in (e.prompt, e.response)], 330)
    config = TransformerConfig(codec.vocabulary, codec.mask_token, 200, layers=2, width=32, heads=2, hidden=64)
    network = Transformer(config).initialise(torch.Generator().manual_seed(1)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.mul_(3 if parameter.dim() > 1 else 1)
    return TextDenoiser(network.to(request.param), codec, response_length=12)


def policy(width):
    """A policy network that says something, in float32 as learned ones are."""
    generator = torch.Generator().manual_seed(0)
    made = PolicyNetwork(PolicyConfig(width, width=16, layers=1, hidden=16, codes=4)).initialise(generator)
    with torch.no_grad():
        made.head.weight.normal_(0.0, 1.0, generator=generator)
    return made.eval()


def answers(denoiser, prompts, rows, **options):
    found = decode(denoiser, prompts, rows=rows, seed=5, log_probs=True, **options)
    return {row: each._replace(prompt=None) for row, each in zip(rows, found, strict=True)}


def differing(denoiser, *, exact, **options):
    """How many rows differ anywhere, log-probabilities included, between batches of 1, 7 and 64 and other company."""
    rows = list(range(len(PROMPTS)))
    alone = {row: answers(denoiser, [PROMPTS[row]], [row], exact=exact, **options)[row] for row in rows}
    others = {100 + row: prompt + " And Tom?" * (row % 3) for row, prompt in enumerate(PROMPTS)}
    among = [answers(denoiser, PROMPTS, rows, exact=exact, batch=batch, **options) for batch in (1, 7, 64)]
    crowd = answers(
        denoiser, [*others.values(), *PROMPTS[::-1]], [*others, *rows[::-1]], exact=exact, batch=16, **options
    )
    return sum(any(each[row] != alone[row] for each in (*among, crowd)) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS)
def test_a_row_is_the_same_to_the_last_bit_in_every_batch(denoiser, spec):
    """Neighbours of other lengths, rows that finish at different times, other prompts beside it."""
    assert differing(denoiser, exact=True, sampler=spec, budget=4) == 0


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["top-prob", "iid", "random", "remdm:conf=true,eta=0.5"])
def test_drawn_tokens_are_the_same_too(denoiser, spec):
    assert differing(denoiser, exact=True, sampler=spec, budget=5, temperature=1.0) == 0


@pytest.mark.slow
@pytest.mark.parametrize("rule", [DecodeRule("sample"), DecodeRule("threshold", level=0.4)], ids=["drawn", "threshold"])
def test_a_learned_order_is_the_same_to_the_last_bit_although_its_network_sees_batches_too(denoiser, rule):
    sampler = Learned(policy(denoiser.network.hidden_width), rule)
    assert differing(denoiser, exact=True, sampler=sampler, budget=4) == 0


@pytest.mark.slow
def test_without_it_rounding_does_depend_on_the_batch(denoiser):
    """So that the tests above are not true for want of anything that moves."""
    assert differing(denoiser, exact=False, sampler="top-prob", budget=4) > 0


def test_every_pass_has_one_row_without_padding(denoiser):
    """The mechanism: no shape comes from another row."""
    shapes = []

    def spy(canvas):
        shapes.append((tuple(canvas.tokens.shape), bool(canvas.valid.all())))
        return denoiser(canvas)

    canvas = denoiser.codec.canvas(PROMPTS, 12, 3)
    decode(spy, canvas, exact=True, batch=64)
    lengths = canvas.valid.sum(-1).tolist()
    assert sorted(shapes) == sorted(((1, length), True) for length in lengths for _ in range(3))


def test_rows_of_a_canvas_with_budgets_of_their_own_are_the_same(denoiser):
    canvas = denoiser.codec.canvas(PROMPTS, 12, 3)
    mixed = replace(canvas, budget=torch.arange(len(PROMPTS)) % 5 + 1)
    together = decode(denoiser, mixed, sampler="threshold:level=0.1", exact=True)
    for row in range(len(PROMPTS)):
        (alone,) = decode(denoiser, mixed.take(torch.tensor([row])), sampler="threshold:level=0.1", exact=True)
        assert together[row] == alone


def test_a_compiled_denoiser_is_refused(denoiser):
    with pytest.raises(UserError, match="decode exactly without compiling"):
        decode(replace(denoiser, multiple=16), PROMPTS, budget=2, exact=True)


def test_a_canvas_without_padding_is_decoded_as_it_is(denoiser):
    shape = (3, 9)
    canvas = Canvas.make(torch.full(shape, 5), torch.ones(shape, dtype=torch.bool), 3)
    assert [len(each.tokens) for each in decode(denoiser, canvas, exact=True)] == [9] * 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_of_a_learned_order_each_row_has_the_rule_of_its_own_budget(denoiser, temperature):
    rules = {1: DecodeRule("sample"), 3: DecodeRule("threshold", level=0.2), 8: DecodeRule("threshold", 0.9, pace=True)}
    order = LearnedOrder(policy(denoiser.network.hidden_width), rules)
    canvas = denoiser.codec.canvas(PROMPTS, 12, 3)
    mixed = replace(canvas, budget=torch.tensor([1, 8, 3, 2, 8, 1, 3, 24]))
    options = {"exact": True, "temperature": temperature, "log_probs": True, "seed": 3}
    together = decode(denoiser, mixed, sampler=order, **options)
    for row, budget in enumerate(mixed.budget.tolist()):
        (alone,) = decode(denoiser, mixed.take(torch.tensor([row])), sampler=order.unmasker(budget), **options)
        assert together[row] == alone
    assert len({each.steps for each in together}) > 2
