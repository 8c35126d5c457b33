"""A trace survives its file, and a spoiled one is named with what is wrong."""

import json
from dataclasses import replace

import pytest

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers.codec import Codec
from unmask.denoisers.wordpiece import wordpiece_tokenizer
from unmask.samplers.generate import Generation, decode
from unmask.samplers.trace import Trace, make_trace, pieces, read_traces, surroundings, write_traces, written

from ..denoisers.families.entries import TINY

TRACE = Trace("margin", 3, "a <b>", "3+4", 2, 2, ["3", "+", "4", "<|end|>"], [1, 2, 1, 2], [0.5, None, 1.0, 0.25])


@pytest.fixture(scope="module")
def codec():
    return Codec.train(["Ana has 3 pens and buys 4. <<3+4=7>> #### 7"], 300)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "new" / "trace.json"
    infilled = TRACE._replace(around=["a ", "", "", " b", ""], learned=True, ends=["<|end|>"], correct=False)
    write_traces(path, [TRACE, infilled], {"seed": 3, "commit": None})
    assert read_traces(path) == ({"seed": 3, "commit": None}, [TRACE, infilled])
    assert [entry.name for entry in path.parent.iterdir()] == ["trace.json"]


def test_a_trace_is_made_of_a_generation(codec):
    tokens = [*codec.encode("3+4"), codec.end_token]
    found = Generation("a", "3+4", tokens, 2, 2, 4, 3, -1.0, [1, 2, 1, 2], [0.123456, None, 1.0, 0.5], False)
    trace = make_trace(found, codec, sampler="margin", budget=3)
    assert trace.tokens == ["3", "+", "4", "<|end|>"]
    assert trace.probability == [0.1235, None, 1.0, 0.5]
    assert written(trace, 1) == "3_4_"
    assert written(trace, 2) == "3+4"


def test_a_character_of_several_tokens_stands_at_the_last_of_them(codec):
    tokens = codec.encode("1€é")
    assert pieces(tokens, codec) == ["1", "", "", "€", "", "é"]
    assert pieces(tokens[:2], codec)[0] == "1"
    assert len(pieces(tokens[:2], codec)) == 2
    assert len(pieces([tokens[2]] * 9, codec)) == 9


def test_every_token_that_ends_a_text_is_left_out_of_it(codec):
    chat = replace(codec, stops=("<|pad|>",))
    tokens = [*codec.encode("7"), codec.pad_token, codec.end_token]
    found = Generation("a", "7", tokens, 1, 1, 3, 1, -1.0, [1, 1, 1], [1.0, 1.0, 1.0], False)
    trace = make_trace(found, chat, sampler="margin", budget=1)
    assert trace.ends == ["<|end|>", "<|pad|>"]
    assert written(trace, 1) == "7"


def test_the_first_version_which_knew_one_end_is_read(tmp_path):
    path = tmp_path / "trace.json"
    write_traces(path, [TRACE])
    value = json.loads(path.read_text()) | {"version": 1}
    value["traces"][0]["end"] = "<|end|>"
    path.write_text(json.dumps(value))
    (trace,) = read_traces(path).traces
    assert trace == TRACE._replace(ends=["<|end|>"])
    assert written(trace, 2) == "3+4"


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("text", ["Why pens and 3 more? <<3-2=1>> #### 1,234.5", "a b", "caf\u00e9 \u20ac"])
def test_the_pieces_of_a_text_are_that_text_in_every_family(tmp_path, name, text):
    """Blanks among them: SMDM's tokenizer and BERT's have them between tokens, or in the token after."""
    denoiser = load_denoiser(TINY[name].write(tmp_path), template="bare")
    codec = denoiser.codec
    tokens = codec.encode(text)
    assert "".join(pieces(tokens, codec)) == codec.decode(tokens)
    ended = pieces([*tokens, *sorted(codec.end_tokens)], codec)
    assert set(ended[len(tokens) :]) == {codec.end, *codec.stops}
    mark = "<|mask|>"
    (found,) = decode(denoiser, [f"Why pens{mark}{mark} and"], budget=1, infill=True)
    trace = make_trace(found, codec, sampler="top-prob", budget=1, infill=True)
    shown = written(trace, 1)
    for special in codec.special:  # a trace shows those that end nothing
        shown = shown.replace(special, "")
    assert shown == found.text


def test_word_pieces_are_joined_as_the_text_joins_them(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ab#5.", "##b"]))
    codec = Codec(wordpiece_tokenizer(tmp_path), "[MASK]", "[SEP]", "[PAD]", "{prompt}")
    tokens = [*codec.encode("ab b #### 5.5"), codec.end_token]
    assert pieces(tokens, codec) == ["a", "b", " b", " #", "#", "#", "#", "5", ".", "5", "[SEP]"]
    assert "".join(pieces(tokens, codec)[:-1]) == codec.decode(tokens)


def test_infilled_positions_stand_in_the_text_that_was_given():
    assert surroundings("a <|mask:2|> b<|mask|>", "<|mask|>") == ["a ", "", " b", ""]
    trace = TRACE._replace(tokens=["x", "y", "z"], revealed_at=[1, 2, 0], probability=[None] * 3)
    assert written(trace._replace(around=["a ", "", " b", "."]), 1) == "a x_ b_."


SPOILED = [
    ("", "is damaged"),
    ("[1]", "holds a list, not an object"),
    ('{"format": "other"}', "is not a trace of unmask"),
    ('{"format": "unmask-trace", "version": 9}', "of version 9, this unmask reads versions 1 and 2"),
    ('{"format": "unmask-trace", "version": 2, "traces": []}', "holds no trace"),
]


@pytest.mark.parametrize(("text", "said"), SPOILED)
def test_a_foreign_or_damaged_file_is_refused(tmp_path, text, said):
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_traces(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_is_refused(tmp_path, share):
    path = tmp_path / "trace.json"
    write_traces(path, [TRACE] * 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="is damaged"):
        read_traces(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": ["a", 1, "b", "c"]}, "tokens cannot be"),
        ({"revealed_at": [1, 2, -1, 2]}, "revealed_at cannot be"),
        ({"revealed_at": [1, 2, 1]}, "not equally long"),
        ({"revealed_at": [1, 2, 1, 7]}, "reveals at step 7 of 2"),
        ({"probability": [0.5, 2.0, 1.0, 0.25]}, "probability cannot be"),
        ({"probability": [0.5, float("nan"), 1.0, 0.25]}, "probability cannot be"),
        ({"steps": True}, "steps cannot be True"),
        ({"around": ["a"]}, "around must have 5 texts, has 1"),
        ({"colour": "red"}, "unknown field 'colour'"),
    ],
)
def test_a_field_that_is_wrong_is_named(tmp_path, change, said):
    path = tmp_path / "trace.json"
    write_traces(path, [TRACE])
    value = json.loads(path.read_text())
    value["traces"].append(value["traces"][0] | change)
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=said) as caught:
        read_traces(path)
    assert "trace 2 of" in str(caught.value)


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("unmask.samplers.trace.HUGE", 10)
    write_traces(tmp_path / "trace.json", [TRACE])
    with pytest.raises(UserError, match="MiB"):
        read_traces(tmp_path / "trace.json")
