"""What `decode` may be given, and what it says of anything else before it writes."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.denoisers.chat import ChatTemplate
from unmask.denoisers.codec import Codec
from unmask.samplers.generate import decode
from unmask.samplers.trace import make_trace, written
from unmask.tasks import make_task

TURN = {"role": "user", "content": "Why?"}
CHAT = "{% for turn in messages %}<|pad|>{{ turn.role }}: {{ turn.content }}{% endfor %}"


@pytest.fixture(scope="module")
def codec():
    examples = make_task("wordprob").examples("train")[:60]
    codec = Codec.train([text for e in examples for text in (e.prompt, e.response)], 330)
    return Codec(codec.tokenizer, chat=ChatTemplate(CHAT))


class Echo:
    """Writes `7` everywhere, and remembers the canvases it saw."""

    def __init__(self, codec: Codec, context: int | None = 60) -> None:
        self.codec, self.response_length, self.seen = codec, 4, []
        if context is not None:
            self.context = context

    def __call__(self, canvas):
        self.seen.append(canvas)
        logits = torch.zeros(int(canvas.masked.sum()), self.codec.vocabulary)
        logits[:, self.codec.encode("7")[0]] = 9
        return Denoised.from_logits(canvas, logits)


def prompt_ids(denoiser, prompts, **options):
    """The prompts as the denoiser saw them."""
    decode(denoiser, prompts, budget=1, batch=1, **options)
    return [c.tokens[0, c.valid[0] & ~c.masked[0]].tolist() for c in denoiser.seen]


@pytest.mark.parametrize(
    "prompts",
    [
        [[5, 6, 7]],
        [(5, 6, 7)],
        ([5, 6, 7],),
        [[np.int64(5), 6, 7]],
        [torch.tensor([5, 6, 7])],
        torch.tensor([[5, 6, 7]]),
        np.array([[5, 6, 7]]),
        iter([[5, 6, 7]]),
    ],
)
def test_token_ids_are_read_as_they_are(codec, prompts):
    assert prompt_ids(Echo(codec), prompts) == [[5, 6, 7]]


@pytest.mark.parametrize("prompts", [[TURN], (TURN,), [[TURN]], [(TURN,)]])
def test_a_conversation_is_written_by_the_chat_template(codec, prompts):
    assert prompt_ids(Echo(codec), prompts) == [[codec.pad_token, *codec.encode("user: Why?")]]


def test_texts_conversations_and_ids_go_together_and_come_back_as_given(codec):
    prompts = ["Why?", [TURN], [5, 6]]
    found = decode(Echo(codec), prompts, budget=1)
    assert [each.prompt for each in found] == prompts
    assert [each.text for each in found] == ["7777"] * 3
    texts = [make_trace(each, codec, sampler="iid", budget=1).prompt for each in found]
    assert texts == ["Why?", "user: Why?", codec.tokenizer.decode([5, 6])]


def test_a_template_for_one_call_leaves_the_denoiser_as_it_was(codec):
    denoiser = Echo(codec)
    assert prompt_ids(denoiser, ["Why? "], template="bare") == [codec.encode("Why? ")]
    assert prompt_ids(denoiser, ["Why? "])[-1] == codec.encode("Why? ->")
    with pytest.raises(UserError, match="a template is bare, chat"):
        decode(denoiser, ["Why?"], budget=1, template="Q:")
    with pytest.raises(UserError, match="a canvas has its prompts written already"):
        decode(denoiser, codec.canvas(["Why?"], 4, 1), budget=1, template="bare")


def test_a_name_of_a_special_token_is_that_token_or_letters_as_asked(codec):
    denoiser = Echo(codec)
    assert codec.end_token in prompt_ids(denoiser, ["a <|end|> b"])[0]
    letters = prompt_ids(denoiser, ["a <|end|> b <|mask|>"], split_special_tokens=True)[-1]
    assert codec.end_token not in letters
    assert codec.mask_token not in letters
    assert codec.decode(letters) == "a <|end|> b <|mask|> ->"


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ("Why?", "got a single one: put it in brackets"),
        (b"Why?", r"must be a list of texts, conversations .* got b'Why\?' \(of type bytes\)"),
        (None, r"got None \(of type NoneType\)"),
        (5, r"got 5 \(of type int\)"),
        (TURN, r"got \{'role'"),
        ({"Why?"}, r"got \{'Why\?'\} \(of type set\)"),
        ({"input_ids": [[1]]}, "give its `input_ids`"),
        ([], "there is no prompt"),
        ((), "there is no prompt"),
        ([1], r"prompt 1 is 1 \(of type int\)"),
        (["a", None], r"prompt 2 is None"),
        ([b"a"], r"prompt 1 is b'a'"),
        ([1.5], r"prompt 1 is 1\.5"),
        ([["a"]], r"prompt 1 is \['a'\]"),
        ([[[5]]], r"prompt 1 is \[\[5\]\]"),
        ([[True]], r"prompt 1 is \[True\]"),
        ([[5.0]], r"prompt 1 is \[5\.0\]"),
        ([[]], "prompt 1 is an empty list"),
        (torch.tensor([5, 6]), r"must be \[rows, positions\], got \[2\]: put a single row in brackets"),
        (torch.tensor(5), r"must be \[rows, positions\], got \[\]"),
        (torch.tensor([[0.5]]), "must be a row of whole numbers"),
        ([torch.ones(2, 2).long()], "must be a row of whole numbers"),
        ([[-1]], "has the token id -1, and the tokenizer has none of that number"),
        ([[5], [10**6]], "prompt 2 has the token id 1000000"),
        ([[{"role": "user"}]], "turn 1 of the prompt must be an object"),
        (["a", [{"content": "b"}]], "turn 1 of prompt 2 must be an object"),
        (["a", "b\ud800"], r"prompt 2 holds half a character \(\\ud800 at place 2\)"),
        (["a", " "], "prompt 2 is empty"),
        (["7 <|mask|>"], "has a mark, which stands for what is to be written: add --infill"),
        (["7", "7 <|mask:3|>"], "prompt 2 has a mark"),
        (["7 <|mask:x|>"], "has a mark"),
        ([[{"role": "user", "content": "7 <|mask|>"}]], "has a mark, which stands .* give a text instead of turns"),
        ([[TURN, {"role": "user", "content": [{"type": "text", "text": "<|mask:3|>"}]}]], "the prompt has a mark"),
    ],
)
def test_what_is_no_prompt_is_refused_in_a_sentence(codec, prompts, said):
    denoiser = Echo(codec)
    with pytest.raises(UserError, match=said) as caught:
        decode(denoiser, prompts, budget=1)
    assert "\n" not in str(caught.value)
    assert not denoiser.seen


def test_between_ids_there_may_be_holes_and_the_last_is_a_token(codec):
    words = {"a": 0, "b": 7, "<|end|>": 8, "<|pad|>": 9, "<|mask|>": 12}
    holed = Codec(Tokenizer(models.WordLevel(words, unk_token="a")), template="{prompt}")

    def writes_b(canvas):
        logits = torch.zeros(int(canvas.masked.sum()), 13)
        logits[:, 7] = 9
        return Denoised.from_logits(canvas, logits)

    (found,) = decode(writes_b, [[0, 9]], budget=1, response_length=2, codec=holed)
    assert found.tokens == [7, 7]
    with pytest.raises(UserError, match=r"has the token id 3, and the tokenizer has none of that number; .* from 0 to"):
        decode(writes_b, [[0, 3]], budget=1, response_length=2, codec=holed)


def test_a_mask_token_among_ids_is_a_mark_when_infilling_and_refused_otherwise(codec):
    ids = [5, codec.mask_token, 6]
    (found,) = decode(Echo(codec), [ids], budget=1, infill=True)
    assert found.text == codec.tokenizer.decode([5, codec.encode("7")[0], 6])
    with pytest.raises(UserError, match="has the mask token"):
        decode(Echo(codec), [ids], budget=1)
    with pytest.raises(UserError, match="is a conversation; to infill, give a text"):
        decode(Echo(codec), [[TURN]], budget=1, infill=True)


# ---- what does not fit


def test_every_prompt_that_is_too_long_is_named_with_its_beginning(codec):
    denoiser, long = Echo(codec), "Ana has 3 pens and buys 4 more. " * 9
    count = len(codec.encode_prompt(long))
    with pytest.raises(UserError) as caught:
        decode(denoiser, ["Why?", long, "And?", long], budget=1)
    beginning = "`Ana has 3 pens and buys 4 more. Ana h...`"
    assert str(caught.value) == (
        "2 of 4 prompts are too long, with a response of 4 each passes the context of 60: "
        f"prompt 2 ({beginning}, {count} tokens), prompt 4 ({beginning}, {count} tokens); shorten them to 56 tokens"
    )
    assert not denoiser.seen
    with pytest.raises(UserError, match=rf"^prompt 2 of 2 \({beginning[:9]}.*\) has {count} tokens, and with a "):
        decode(denoiser, ["Why?", long], budget=1)
    with pytest.raises(UserError, match=rf"^the prompt has {count} tokens"):
        decode(denoiser, [long], budget=1)
    with pytest.raises(UserError, match=r"^prompt 2 of 2 \(\[5, 5, 5, 5, \.\.\.\]\) has 70 tokens"):
        decode(denoiser, ["Why?", torch.tensor([5] * 70)], budget=1)
    with pytest.raises(UserError, match=r"prompt 1 \(`Why\? Why"):
        decode(denoiser, [[{"role": "user", "content": "Why? " * 60}], long], budget=1)


@pytest.mark.parametrize("length", [60, 61, 10**9])
def test_a_response_longer_than_the_context_is_answered_with_one_that_fits(codec, length):
    denoiser = Echo(codec)
    with pytest.raises(UserError, match=r"choose a response length \(--response-length\) of at most (\d+)") as caught:
        decode(denoiser, ["Why?"], budget=1, response_length=length)
    most = int(str(caught.value).split()[-1])
    assert decode(denoiser, ["Why?"], budget=1, response_length=most)[0].written == most
    with pytest.raises(UserError, match="it passes the context"):
        decode(denoiser, ["Why?"], budget=1, response_length=most + 1)


@pytest.mark.parametrize("context", [60, None])
def test_marks_beyond_the_context_are_refused_before_anything_is_built(codec, context):
    for mark in ("<|mask:20000000|>", f"<|mask:{'9' * 5000}|>", "<|mask:9999999|>" * 9):
        with pytest.raises(UserError, match=r"positions to write.* passes the context of") as caught:
            decode(Echo(codec, context), [f"Why {mark}"], budget=1, infill=True)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("number", ["0", "00", "-1", "x", "", " 3", "1_0", "3.0", "٣"])
def test_a_mark_that_marks_nothing_is_refused(codec, number):
    with pytest.raises(UserError, match="marks nothing; mark what to write with") as caught:
        decode(Echo(codec), [f"<|mask|> Why <|mask:{number}|>"], budget=1, infill=True)
    assert f"`<|mask:{number}|>`" in str(caught.value)
    assert len(decode(Echo(codec), ["Why <|mask:03|>"], budget=1, infill=True)[0].tokens) == 3


# ---- infilling


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Ana  has <|mask|> pens.", "Ana  has 7 pens."),
        ("Ana\thas <|mask:2|>\nPENS \U0001f600", "Ana\thas 7 7\nPENS \U0001f600"),
        ("<|mask|>caf\u00e9 cafe\u0301<|mask|><|mask|>", "7caf\u00e9 cafe\u03017 7"),
        ("[MASK] [SEP] a", "7 [SEP] a"),
    ],
)
def test_around_word_pieces_too_the_given_text_comes_back_to_the_character(text, wanted):
    """Their tokenizer makes letters small, drops accents and line breaks, and has no sign for most."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ana", "has", "pen", "##s", "7", ".", "a"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(words[:5])
    frame = "[CLS]{prompt}{response}[SEP]"
    codec = Codec(tokenizer, "[MASK]", "[SEP]", "[PAD]", frame, bare=frame)
    (found,) = decode(Echo(codec), [text], budget=1, infill=True)
    assert found.text == wanted
    trace = make_trace(found, codec, sampler="iid", budget=1, infill=True)
    assert written(trace, 1) == wanted


def test_special_tokens_that_were_given_stay_and_those_that_were_written_do_not(codec):
    special = codec.special["<|pad|>"]

    class Special(Echo):
        def __call__(self, canvas):
            logits = torch.zeros(int(canvas.masked.sum()), codec.vocabulary)
            logits[:, special] = 9
            return Denoised.from_logits(canvas, logits)

    (found,) = decode(Special(codec), ["a<|end|><|mask|>b"], budget=1, infill=True)
    assert (found.text, found.tokens) == ("a<|end|>b", [special])
    (found,) = decode(Special(codec), ["a"], budget=1)
    assert (found.text, found.tokens) == ("", [special] * 4)


def test_letters_of_a_response_are_not_taken_for_what_opens_a_text(codec):
    framed = Codec(codec.tokenizer, template="<<{prompt} ->{response}>>")
    assert framed.decode(framed.encode("<<3+4=7>> #### 7")) == "<<3+4=7>> #### 7"


def test_as_letters_special_tokens_are_given_back_too_and_marks_stay_marks(codec):
    denoiser = Echo(codec)
    text = "a<|end|> <|mask|> b<|pad|>"
    (found,) = decode(denoiser, [text], budget=1, infill=True, split_special_tokens=True)
    assert found.text == "a<|end|> 7 b<|pad|>"
    tokens = denoiser.seen[0].tokens[~denoiser.seen[0].masked].tolist()
    assert {codec.end_token, codec.pad_token}.isdisjoint(tokens)


def test_a_text_to_infill_is_no_turn(codec):
    frame = "<|pad|>{prompt}{response}<|end|>"
    framed = Codec(codec.tokenizer, template="chat", chat=ChatTemplate(CHAT), bare=frame)
    denoiser = Echo(framed)
    (found,) = decode(denoiser, ["Why <|mask|>?"], budget=1, infill=True)
    assert found.text == "Why 7?"
    tokens = denoiser.seen[0].tokens[0].tolist()
    assert (tokens[0], tokens[-1]) == (codec.pad_token, codec.end_token)
    assert framed.infill(["Why <|mask|>?"], 1).tokens[0].tolist()[:2] == tokens[:2]


def test_the_name_of_a_special_token_stops_a_text_at_that_token(codec):
    """It is left out of a text, and a stop string that is its name would never be found."""
    special, seven = codec.special["<|pad|>"], codec.encode("7")[0]

    class Ends(Echo):
        def __call__(self, canvas):
            logits = torch.zeros(int(canvas.masked.sum()), codec.vocabulary)
            place = canvas.masked.nonzero()[:, 1] - (canvas.tokens.shape[1] - 4)
            logits[torch.arange(len(place)), torch.tensor([seven, seven, special, seven])[place]] = 9
            return Denoised.from_logits(canvas, logits)

    whole, cut = (decode(Ends(codec), ["a"], budget=1, stop=stop)[0] for stop in ([], ["never", "<|pad|>"]))
    assert (whole.text, whole.stopped) == ("777", False)
    assert (cut.text, cut.stopped) == ("77", True)
