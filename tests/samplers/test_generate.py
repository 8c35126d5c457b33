from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.denoisers.codec import Codec
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.samplers import make_sampler
from unmask.samplers.generate import crop, decode, find_stop
from unmask.tasks import make_task

PROMPTS = ["Ana has 3 pens and buys 4 more. How many pens does she have?", "1+2?", "Tom sells 12 limes to Ann.", "7?"]
RESPONSE = "<<3+4=7>> #### 7"


@pytest.fixture(scope="module")
def codec():
    examples = make_task("wordprob").examples("train")[:60]
    return Codec.train([text for e in examples for text in (e.prompt, e.response)], 330)


@dataclass
class Scripted:
    """Writes one response whatever the prompt, surest on the left, and counts its calls.

    after: text it writes behind the end token, where nobody should look.
    """

    codec: Codec
    response: str
    after: str = ""
    response_length: int = 24
    context: int = 200
    calls: int = 0

    def __call__(self, canvas: Canvas) -> Denoised:
        self.calls += 1
        ids = [*self.codec.encode(self.response), self.codec.end_token, *self.codec.encode(self.after)]
        ids = torch.tensor(ids + [self.codec.end_token] * (self.response_length - len(ids)))
        behind = self.response_length + len(self.codec.closing)
        place = canvas.masked.nonzero()[:, 1] - (canvas.tokens.shape[1] - behind)
        logits = torch.zeros(len(place), self.codec.vocabulary, dtype=torch.float64)
        logits[torch.arange(len(place)), ids[place]] = 12 - place.double() / 10
        return Denoised.from_logits(canvas, logits)


@pytest.fixture
def scripted(codec):
    return lambda response=RESPONSE, **options: Scripted(options.pop("codec", codec), response, **options)


@pytest.fixture(scope="module")
def network(codec):
    """A random transformer with weights large enough to have opinions."""
    config = TransformerConfig(codec.vocabulary, codec.mask_token, 120, layers=2, width=32, heads=2, hidden=64)
    transformer = Transformer(config).initialise(torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.mul_(8 if parameter.dim() > 1 else 1)
    return TextDenoiser(transformer, codec, response_length=12)


def test_the_response_is_read_up_to_its_end_token(scripted, codec):
    denoiser = scripted()
    (found,) = decode(denoiser, ["1+2?"], sampler="left-to-right", budget=24)
    assert found.prompt == "1+2?"
    assert found.text == RESPONSE
    assert found.content == len(codec.encode(RESPONSE))
    assert found.written == len(found.tokens) == 24
    assert found.tokens[found.content :] == [codec.end_token] * (24 - found.content)
    assert found.steps == found.nfe == denoiser.calls == 24
    assert found.revealed_at == list(range(1, 25))
    assert not found.stopped


def test_a_row_ends_once_all_left_of_a_stop_string_is_written(scripted, codec):
    """One position a step, from the left: the row ends with the token that completes the stop string."""
    (whole,) = decode(scripted(), ["1+2?"], sampler="left-to-right", budget=24)
    (found,) = decode(scripted(), ["1+2?"], sampler="left-to-right", budget=24, stop=["####", "never"])
    until = next(n for n in range(25) if "####" in codec.decode(whole.tokens[:n]))
    assert found.text == RESPONSE.partition("####")[0]
    assert found.stopped
    assert found.steps == found.nfe == found.written == until < 24
    assert found.revealed_at == [*range(1, until + 1), *[0] * (24 - until)]
    assert found.tokens[until:] == [codec.mask_token] * (24 - until)
    assert found.probability[until:] == [None] * (24 - until)


@pytest.mark.parametrize("template", ["{prompt} ->", "{prompt} ->{response}>>"])
def test_a_stop_string_does_not_end_a_row_with_a_gap_on_its_left(scripted, codec, template):
    """Right to left, the first position is written last: nothing may end before that, whatever closes the canvas."""

    class RightToLeft(type(make_sampler("left-to-right"))):
        def select(self, canvas, denoised, written, state, draws):
            chosen, state = super().select(canvas, denoised, written, state, draws)
            last = canvas.masked & (canvas.masked.flip(-1).cumsum(-1).flip(-1) == 1)
            return chosen._replace(positions=last), state

    framed = scripted(codec=replace(codec, template=template))
    (found,) = decode(framed, ["1+2?"], sampler=RightToLeft(), budget=24, stop=["####"])
    assert found.steps == 24
    assert found.text == RESPONSE.partition("####")[0]
    assert found.stopped


@pytest.mark.parametrize("length", [8, 24, 40])
def test_content_does_not_grow_with_the_canvas(scripted, length):
    """`1 2` is three tokens; the end token and what fills the canvas behind it are written but not counted."""
    (found,) = decode(scripted("1 2", response_length=length), ["7?"], sampler="left-to-right", budget=2)
    assert (found.content, found.written, found.nfe) == (3, length, 2)


def test_what_stands_behind_the_end_token_is_not_read(scripted):
    (found,) = decode(scripted("1 2", after="3"), ["7?"], sampler="left-to-right", budget=24, stop=["3"])
    assert (found.text, found.stopped, found.steps, found.content) == ("1 2", False, 24, 3)


def test_the_earliest_of_several_stop_strings_cuts():
    assert find_stop("a#b;c", [";", "#"]) == 1
    assert find_stop("abc", [";"]) is None
    assert find_stop("abc", []) is None


def test_results_come_in_the_order_of_the_prompts_whatever_the_batch(network):
    """Batches are made by length; rows keep their identity, so draws and tokens are the same."""
    options = {"sampler": "iid", "budget": 5, "temperature": 1.0, "seed": 3, "log_probs": True}
    whole = decode(network, PROMPTS, **options)
    assert [found.prompt for found in whole] == PROMPTS
    assert len({tuple(found.tokens) for found in whole}) == len(PROMPTS)
    for batch in (1, 2, 3):
        for found, expected in zip(decode(network, PROMPTS, batch=batch, **options), whole, strict=True):
            assert found.tokens == expected.tokens
            assert found.revealed_at == expected.revealed_at
            assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-4)


def test_a_row_alone_with_its_number_is_the_row_of_the_batch(network):
    options = {"sampler": "random", "budget": 4, "temperature": 1.0}
    whole = decode(network, PROMPTS, **options)
    (alone,) = decode(network, PROMPTS[2:3], rows=[2], **options)
    assert alone.tokens == whole[2].tokens
    (other,) = decode(network, PROMPTS[2:3], rows=[9], **options)
    assert other.tokens != alone.tokens


def test_marks_are_filled_wherever_they_stand(network, codec):
    text = "Ana has <|mask|> pens. <<3+4=<|mask:2|>>> #### 7"
    (found,) = decode(network, [text], infill=True, budget=2, sampler="top-prob")
    assert len(found.tokens) == len(found.revealed_at) == found.written == 3
    filled = [codec.decode([token]) if token != codec.end_token else "" for token in found.tokens]
    expected = f"Ana has {filled[0]} pens. <<3+4={filled[1]}{filled[2]}>> #### 7"
    assert found.text == expected
    assert found.content == sum(token != codec.end_token for token in found.tokens)
    assert found.prompt == text


def test_infilled_rows_keep_their_place_and_number(network):
    texts = ["<|mask:6|> and a rather long text on the right of it", "<|mask:6|>", "Ana <|mask:6|>?"]
    options = {"infill": True, "budget": 3, "sampler": "random", "temperature": 1.0}
    whole = decode(network, texts, **options)
    for place, text in enumerate(texts):
        (alone,) = decode(network, [text], rows=[place], **options)
        assert alone.tokens == whole[place].tokens


def test_a_canvas_needs_no_codec():
    """Any callable is a denoiser: token 1 at even positions, 0 at odd ones."""

    def denoiser(canvas):
        place = canvas.masked.nonzero()[:, 1]
        return Denoised.from_logits(canvas, torch.stack([place % 2, 1 - place % 2], dim=-1) * 9.0)

    masked = torch.tensor([[False, True, True, True], [False, False, True, True]])
    canvas = Canvas.make(torch.full((2, 4), 7), masked, torch.tensor([3, 1]))
    first, second = decode(denoiser, canvas, sampler="left-to-right")
    assert (first.text, first.prompt, first.tokens, first.steps) == (None, None, [0, 1, 0], 3)
    assert (second.tokens, second.steps, second.written, second.content) == ([1, 0], 1, 2, 2)
    again = decode(denoiser, canvas, sampler="left-to-right", budget=2)
    assert [found.steps for found in again] == [2, 2]
    assert canvas.masked.tolist() == masked.tolist()


def test_a_canvas_with_a_codec_gives_text(scripted, codec):
    canvas = codec.canvas(["1+2?", "a longer prompt than that?"], 24, 3)
    assert [found.text for found in decode(scripted(), canvas)] == [RESPONSE, RESPONSE]


def test_every_pass_is_told_with_the_rows_as_given(scripted):
    seen = []
    decode(scripted(), PROMPTS, budget=2, batch=3, sampler="top-prob", on_step=seen.append)
    by_length = [3, 1, 2, 0]  # "7?", "1+2?", the limes, the pens
    assert [step.rows.tolist() for step in seen] == [by_length[:3]] * 2 + [by_length[3:]] * 2
    assert [step.number for step in seen] == [1, 2, 1, 2]


def test_log_probs_are_free_at_temperature_zero_and_on_request_above(scripted):
    def log_prob(**options):
        return decode(scripted(), ["7?"], budget=24, sampler="left-to-right", **options)[0]

    scored = log_prob()
    assert scored.log_prob == pytest.approx(sum(torch.tensor(scored.probability).log().tolist()))
    assert log_prob(temperature=1.0).log_prob is None
    assert log_prob(temperature=1.0).probability == [None] * 24
    assert log_prob(temperature=1.0, log_probs=True).log_prob < 0


def test_an_order_brings_the_sampler_of_its_budget(scripted):
    class Order:
        def unmasker(self, budget):
            self.asked = budget
            return make_sampler("left-to-right")

    order = Order()
    (found,) = decode(scripted(), ["7?"], sampler=order, budget=6)
    assert order.asked == found.steps == 6


def test_an_end_rule_finds_the_end_token(scripted):
    (found,) = decode(scripted(), ["7?"], sampler="left-to-right:eot=tail", budget=24)
    assert found.steps == found.content


@pytest.mark.parametrize("rule", ["defer", "tail"])
def test_an_end_rule_finds_what_ends_a_turn_too(scripted, codec, rule):
    """As for LLaDA and Dream, whose chats end with a token of their own (`stops`)."""
    turns = replace(codec, end="<|pad|>", stops=("<|end|>",))
    (wanted,) = decode(scripted(), ["7?"], sampler=f"top-prob:eot={rule}", budget=24)
    (found,) = decode(scripted(), ["7?"], sampler=f"top-prob:eot={rule}", budget=24, codec=turns)
    assert found.revealed_at == wanted.revealed_at != decode(scripted(), ["7?"], budget=24)[0].revealed_at


def test_padding_shared_by_all_rows_is_cropped():
    valid = torch.tensor([[False, True, True, False], [False, False, True, False]])
    canvas = crop(Canvas.make(torch.arange(8).reshape(2, 4), valid, 1, valid))
    assert canvas.tokens.tolist() == [[1, 2], [5, 6]]
    assert canvas.valid.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([], {}, "there is no prompt to decode"),
        ("1+2?", {}, "prompts must be a list of texts"),
        ([" "], {}, "the prompt is empty"),
        (["7?"], {"budget": 0}, "budget must be a whole number of at least 1, got 0"),
        (["7?"], {"budget": None}, "budget must be a whole number"),
        (["x " * 300], {}, "passes the context of 200"),
        (["7?"], {"response_length": 0}, "response_length must be"),
        (["7?"], {"batch": 0}, "batch must be"),
        (["7?"], {"rows": [1, 2]}, "rows must name each of the 1 prompts, got 2"),
        (["7?"], {"sampler": "top-porb"}, "Did you mean `top-prob`"),
        (["7?"], {"stop": [""]}, "a stop string must not be empty"),
        (["7 <|mask|>"], {"stop": ["#"], "infill": True}, "leave out `stop`"),
        (["7?"], {"infill": True}, "nothing to infill"),
        (["7?"], {"temperature": -1.0}, "temperature must be"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(scripted, prompts, options, message):
    denoiser = scripted()
    with pytest.raises(UserError, match=message) as caught:
        decode(denoiser, prompts, **{"budget": 4, **options})
    assert "\n" not in str(caught.value)
    assert denoiser.calls == 0


def test_texts_need_a_codec_and_a_length(codec):
    with pytest.raises(UserError, match="pass `codec`, or a Canvas"):
        decode(lambda canvas: None, ["7?"], budget=1)
    with pytest.raises(UserError, match="pass `response_length`"):
        decode(lambda canvas: None, ["7?"], budget=1, codec=codec)


def test_an_approximate_cache_is_asked_for_by_name_and_exact_with_a_full_pass_at_every_step(network):
    exact = decode(network, PROMPTS, budget=6)
    assert decode(network, PROMPTS, budget=6, cache="prefix-approximate:refresh=1") == exact
    kept = decode(network, PROMPTS, budget=6, cache="prefix-approximate")
    assert [answer.log_prob for answer in kept] != [answer.log_prob for answer in exact]
    assert [answer.nfe for answer in kept] == [answer.nfe for answer in exact]


def test_a_cache_for_another_denoiser_is_refused(scripted):
    with pytest.raises(UserError, match="a cache needs the native transformer, and Scripted is another denoiser"):
        decode(scripted(), ["1+2?"], budget=2, cache="prefix-approximate")


@pytest.mark.parametrize("number", [np.int64, np.int32, np.uint8])
def test_whole_numbers_of_numpy_are_whole_numbers(network, number):
    canvas = network.codec.canvas(PROMPTS, 12, 3)
    options = {"sampler": "random", "temperature": 1.0, "batch": number(2), "seed": number(7)}
    for prompts in (PROMPTS, canvas):
        found = decode(network, prompts, budget=number(3), **options)
        assert found == decode(network, prompts, budget=3, **options | {"seed": 7, "batch": 2})


@pytest.mark.parametrize("rows", [[1.5, 2], ["a", "b"], [2**70, 1], [True, False]])
def test_keys_that_are_no_whole_numbers_are_refused(scripted, rows):
    denoiser = scripted()
    with pytest.raises(UserError, match="`row` of a canvas must be"):
        decode(denoiser, ["7?", "8?"], budget=2, rows=rows)
    assert denoiser.calls == 0
