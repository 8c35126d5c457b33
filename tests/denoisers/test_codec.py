import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from unmask.core.errors import UserError
from unmask.denoisers.codec import Codec
from unmask.tasks.base import extract_final

UNICODE = ["héllo – ½ of ١٢ 日本語", "a\n\tb  c ", " <<1+2=3>>#### -3.5", "<>< >>>> << <<", "🙂‍↔️", ""]


def pieces(codec, text):
    return [codec.decode([token]) for token in codec.encode(text)]


# ---- text and back


def test_every_response_comes_back_to_the_character(codec, examples):
    for example in examples:
        ids = codec.encode_response(example.response, 64)
        assert len(ids) == 64
        assert codec.decode(ids) == example.response


@pytest.mark.parametrize("text", UNICODE)
def test_any_unicode_comes_back_to_the_character(codec, text):
    assert codec.decode(codec.encode_response(text, 128)) == text


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_at_all_comes_back(text):
    assert SMALL.decode(SMALL.encode(text)) == text


SMALL = Codec.train(["<<1+2=3>> <<3*4=12>> #### 12"], 300)


def test_every_digit_is_a_token_of_its_own_wherever_it_stands(codec, examples):
    texts = [text for e in examples for text in (e.prompt, e.response)]
    for text in [*texts, "12345", "a1b22 333.4,5 (67) <<8-9=0>>99", "٣٤"]:
        digits = [piece for piece in pieces(codec, text) if re.search(r"\d", piece)]
        assert digits == re.findall(r"[0-9]", text), text


def test_the_joints_of_the_equation_format_are_single_tokens(codec):
    assert pieces(codec, "<<3*4=12>> <<12-5=7>> #### 7") == (
        ["<<", "3", "*", "4", "=", "1", "2", ">> <<", "1", "2", "-", "5", "=", "7", ">> #### ", "7"]
    )


def test_the_prompt_ends_in_its_template(codec):
    assert codec.decode(codec.encode_prompt("  How many? \n")) == "How many? ->"
    assert codec.encode("How many? ->")[-1:] == codec.encode(" ->")
    assert len(codec.encode(" ->")) == 1


def test_braces_in_prompt_and_template_are_text_like_any_other(codec):
    assert codec.decode(codec.encode_prompt("a {b} {prompt} {0}")) == "a {b} {prompt} {0} ->"
    other = Codec(codec.tokenizer, template='{"q": "{prompt}"}')
    assert other.decode(other.encode_prompt("why?")) == '{"q": "why?"}'


def test_a_response_must_leave_room_for_one_end_token(codec):
    text = "<<1+2=3>> #### 3"
    count = len(codec.encode(text))
    assert codec.encode_response(text, count) is None
    assert codec.encode_response(text, count + 1) == [*codec.encode(text), codec.end_token]
    assert codec.encode_response("", 2) == [codec.end_token] * 2


def test_decoding_stops_at_the_first_end_and_leaves_mask_and_padding_out(codec):
    a, b = codec.encode("7"), codec.encode("8")
    assert codec.decode([codec.pad_token, *a, codec.mask_token, *b, codec.end_token, *a]) == "78"


def test_the_vocabulary_counts_every_token_and_the_special_ones_are_in_it(codec):
    special = {codec.pad_token, codec.end_token, codec.mask_token}
    assert len(special) == 3
    assert max(special) < codec.vocabulary == len(codec.tokenizer.get_vocab())


def test_learning_the_same_texts_again_gives_the_same_tokenizer(examples, codec):
    texts = [text for e in examples for text in (e.prompt + " ->", e.response)]
    assert Codec.train(iter(texts), 400).tokenizer.to_str() == codec.tokenizer.to_str()


# ---- the canvas


def test_prompts_stand_left_padded_before_masked_responses(codec):
    short, long = "How many?", "Ana has 12 pens. How many?"
    canvas = codec.canvas([short, long], 5, 3, rows=[7, 9])
    width = len(codec.encode_prompt(long))
    pad = width - len(codec.encode_prompt(short))
    assert pad > 0
    assert canvas.tokens.shape == (2, width + 5)
    assert canvas.valid.tolist() == [[False] * pad + [True] * (width - pad + 5), [True] * (width + 5)]
    assert canvas.masked.tolist() == [[False] * width + [True] * 5] * 2
    assert canvas.tokens[0, :pad].tolist() == [codec.pad_token] * pad
    assert canvas.tokens[0, pad:width].tolist() == codec.encode_prompt(short)
    assert canvas.tokens[1, :width].tolist() == codec.encode_prompt(long)
    assert canvas.budget.tolist() == [3, 3]
    assert canvas.step.tolist() == [0, 0]
    assert canvas.row.tolist() == [7, 9]
    assert codec.canvas([short, long], 5, 3).row.tolist() == [0, 1]


def test_a_clean_canvas_is_the_same_with_the_response_written(codec):
    prompts, response = ["How many?", "And why, Ana?"], codec.encode_response("#### 3", 6)
    clean = codec.clean_canvas(prompts, [response] * 2, rows=[0, 1])
    open_ = codec.canvas(prompts, 6, 1)
    assert clean.tokens[:, -6:].tolist() == [response] * 2
    assert (clean.tokens[:, :-6] == open_.tokens[:, :-6]).all()
    assert (clean.masked == open_.masked).all()
    assert (clean.valid == open_.valid).all()


def test_marks_say_what_to_infill_wherever_they_stand(codec):
    texts = ["<<1+<|mask|>=3>> #### <|mask:2|>", "<|mask:3|> pens"]
    canvas = codec.infill(texts, 2)
    one = [*codec.encode("<<1+"), "m", *codec.encode("=3>> #### "), "m", "m"]
    two = ["m", "m", "m", *codec.encode(" pens")]
    for row, expected in enumerate((one, two)):
        valid = canvas.valid[row]
        masked = canvas.masked[row, valid].tolist()
        assert masked == [token == "m" for token in expected]
        tokens = canvas.tokens[row, valid].tolist()
        assert [t for t, m in zip(tokens, masked, strict=True) if not m] == [t for t in expected if t != "m"]
        assert not canvas.masked[row, ~valid].any()
    assert canvas.budget.tolist() == [2, 2]


# ---- errors


@pytest.mark.parametrize("prompt", ["", "  \n\t"])
def test_an_empty_prompt_is_refused(codec, prompt):
    with pytest.raises(UserError, match="the prompt is empty"):
        codec.canvas(["fine", prompt], 4, 2)


def test_a_prompt_too_long_for_the_context_is_refused_with_the_numbers(codec):
    prompt = "Ana has 12 pens."
    count = len(codec.encode_prompt(prompt))
    codec.canvas([prompt], 4, 1, context=count + 4)
    message = rf"prompt has {count} tokens.* response of 4 .*context of {count + 3}; shorten it to {count - 1}"
    with pytest.raises(UserError, match=message):
        codec.canvas([prompt], 4, 1, context=count + 3)
    with pytest.raises(UserError, match="passes the context of 6"):
        codec.infill(["<|mask:7|>"], 1, context=6)


@pytest.mark.parametrize("budget", [0, -2])
def test_a_budget_below_one_is_refused(codec, budget):
    with pytest.raises(UserError, match=f"budget must be at least 1 step, got {budget}"):
        codec.canvas(["why?"], 4, budget)
    with pytest.raises(UserError, match="budget"):
        codec.infill(["<|mask|>"], budget)


@pytest.mark.parametrize("text", ["nothing here", "", "<|mask:0|> pens"])
def test_a_text_without_a_mark_is_refused(codec, text):
    with pytest.raises(UserError, match=r"mark what to write with <\|mask\|>"):
        codec.infill(["<|mask|>", text], 1)


# ---- on disk


def test_saved_and_loaded_it_is_the_same_codec(codec, examples, tmp_path):
    codec.save(tmp_path)
    loaded = Codec.load(tmp_path)
    assert loaded.tokenizer.to_str() == codec.tokenizer.to_str()
    assert (loaded.mask, loaded.end, loaded.pad, loaded.template) == (
        codec.mask, codec.end, codec.pad, codec.template
    )  # fmt: skip
    for example in examples[:20]:
        assert loaded.encode(example.prompt) == codec.encode(example.prompt)
        assert loaded.encode_response(example.response, 64) == codec.encode_response(example.response, 64)


def test_a_disk_that_refuses_the_tokenizer_is_an_error_of_the_disk(codec, tmp_path):
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        codec.save(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("codec.json", None, "there is no codec.json in "),
        ("codec.json", "{", r"codec\.json is damaged"),
        ("codec.json", '{"mask": 5}', r"codec\.json is damaged: mask cannot be 5"),
        ("codec.json", '{"template": "Q:"}', r"codec\.json is damaged: template cannot be 'Q:'"),
        ("codec.json", '{"begin": "x"}', r"codec\.json has unknown entries \['begin'\]"),
        ("codec.json", '{"mask": "[MASK]"}', r"no token `\[MASK\]`; the codec\.json beside it"),
        ("tokenizer.json", None, "there is no tokenizer.json in "),
        ("tokenizer.json", '{"version": "1.0", ', r"tokenizer\.json is damaged"),
        ("tokenizer.json", '{"model": {"type": "Foreign"}}', r"tokenizer\.json is not a tokenizer"),
    ],
)
def test_what_is_damaged_on_disk_is_refused_by_name(codec, tmp_path, file, content, message):
    codec.save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message):
        Codec.load(tmp_path)


def test_a_tokenizer_without_the_special_tokens_is_refused_by_their_name(codec, tmp_path):
    codec.save(tmp_path)
    stored = json.loads((tmp_path / "tokenizer.json").read_text())
    stored["added_tokens"] = [token for token in stored["added_tokens"] if token["content"] != codec.end]
    del stored["model"]["vocab"][codec.end]
    Tokenizer.from_str(json.dumps(stored)).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"no token `<\|end\|>`"):
        Codec.load(tmp_path)


def test_a_template_that_says_where_the_response_stands_closes_every_canvas(codec):
    framed = replace(codec, template="<<{prompt} ->{response}>>")
    plain = codec.canvas(["Why?", "Ana has 3 pens."], 4, 2)
    canvas = framed.canvas(["Why?", "Ana has 3 pens."], 4, 2)
    assert (framed.opening, framed.closing) == (codec.encode("<<"), codec.encode(">>"))
    assert (codec.opening, codec.closing) == ([], [])
    assert canvas.tokens.shape[1] == plain.tokens.shape[1] + len(framed.opening) + len(framed.closing)
    assert canvas.tokens[:, -1].tolist() == framed.closing[-1:] * 2
    assert not canvas.masked[:, -1].any()
    assert canvas.masked.sum() == plain.masked.sum()


@pytest.mark.parametrize("template", ["none", "{response}{prompt}", "{prompt}{prompt}", "{prompt}{response}{response}"])
def test_a_template_without_one_place_for_each_is_refused(codec, tmp_path, template):
    replace(codec, template=template).save(tmp_path)
    with pytest.raises(UserError, match=r"codec\.json is damaged: template cannot be"):
        Codec.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<<16-3-4=9>> <<9*2=18>> #### 18", "<<16-3-4=9>><<9*2=18>>####18"),
        ("#### $1,061.50", "####$1,061.50"),
        ("#### -3", "####-3"),
        ("so 5% of 20 is 1. Then?", "so 5% of 20 is 1. then?"),
        ("in 1990 20 people - all", "in 1990 20 people - all"),
    ],
)
def test_word_pieces_come_out_so_that_answers_are_found(text, written):
    signs = "#<>=-*$,.%?0123456789"
    words = ["[PAD]", "[UNK]", "[SEP]", "[MASK]", *signs, "so", "of", "is", "then", "in", "people", "all"]
    words += [f"##{digit}" for digit in "0123456789"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    codec = Codec(tokenizer, "[MASK]", "[SEP]", "[PAD]", "{prompt}")
    assert codec.decode(codec.encode(text)) == written
    assert extract_final(written) == extract_final(text)
