"""Dream: the shift, which nobody else may see, and a tokenizer in two files."""

import json
import re

import pytest
import torch

from unmask import decode, load_denoiser
from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.caches import with_cache
from unmask.denoisers.foreign_codec import find_tokenizer

from .tiny_dream import MASK, SPECIAL, WORDS

TEXTS = [
    "How   many pens? 1234 it's IT'S\n\n  x\t\n",
    "Why<|im_end|>\n<|im_start|>assistant\nÉe\u0301 日本 ½ …!!\r\n",
    "a</tool_call> b",
    "",
]


@pytest.fixture
def denoiser(checkpoints):
    return load_denoiser(checkpoints("dream"), dtype=torch.float64)


def test_what_speaks_of_a_position_is_the_state_to_its_left(denoiser):
    network = denoiser.network
    tokens = torch.randint(0, 200, (2, 7), generator=torch.Generator().manual_seed(0))
    valid = torch.ones_like(tokens, dtype=torch.bool)
    valid[1, :3] = False
    aligned = network.encode(tokens, valid)
    network.align = lambda states, valid: states
    raw = network.encode(tokens, valid)
    assert torch.equal(aligned[0, 1:], raw[0, :-1])
    assert torch.equal(aligned[0, 0], raw[0, 0])
    assert torch.equal(aligned[1, 4:], raw[1, 3:-1])
    assert torch.equal(aligned[1, 3], raw[1, 3])  # the first valid position has nothing to its left


@pytest.mark.parametrize("cache", ["prefix-approximate:refresh=1", "dual-approximate:window=2,refresh=1"])
def test_a_cache_that_keeps_nothing_is_exact(denoiser, cache):
    canvas = denoiser.codec.canvas(["Why?", "Ana has 3 pens."], 6, 3)
    exact = denoiser.network(canvas)
    cached = with_cache(denoiser, cache)
    found, memory = cached.denoise(canvas, cached.begin(canvas))
    torch.testing.assert_close(found.logits(slice(None)), exact.logits(slice(None)), rtol=1e-9, atol=1e-9)
    # and after something is written: the position to the left of a masked one may be new
    write = torch.zeros_like(canvas.masked)
    write[:, -5:-3] = True
    later = canvas.reveal(write, torch.full_like(canvas.tokens, 7))
    found, _ = cached.denoise(later, memory)
    exact = denoiser.network(later)
    torch.testing.assert_close(found.logits(slice(None)), exact.logits(slice(None)), rtol=1e-9, atol=1e-9)


def test_samplers_that_read_again_what_they_wrote_are_refused(denoiser):
    with pytest.raises(UserError, match="shifted by one position"):
        decode(denoiser, ["Why?"], sampler="wino", budget=4, response_length=6)


def test_a_mask_at_the_very_first_position_is_answered(denoiser):
    canvas = Canvas.make(torch.full((1, 3), MASK), torch.ones(1, 3, dtype=torch.bool), 2)
    assert denoiser(canvas).entropy.isfinite().all()


# ---- text


def test_a_turn_ends_with_either_end_token(denoiser):
    codec = denoiser.codec
    for token in ("<|im_end|>", "<|endoftext|>"):
        end = codec.tokenizer.token_to_id(token)
        assert codec.decode([*codec.encode("34 pens"), end, *codec.encode("more")]) == "34 pens"
    ends = [codec.tokenizer.token_to_id(token) for token in ("<|im_end|>", "<|endoftext|>")]
    assert codec.encode_response("34", 4) == [*codec.encode("34"), *ends]


def test_a_prompt_is_a_conversation(denoiser):
    assert denoiser.codec.tokenizer.decode(denoiser.codec.encode_prompt("Why?"), skip_special_tokens=False) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_special_tokens_stand_where_they_are_said_to(denoiser):
    assert [denoiser.codec.tokenizer.token_to_id(token) for token in SPECIAL] == [*range(WORDS, WORDS + len(SPECIAL))]


@pytest.mark.slow
def test_text_is_read_as_by_the_tokenizer_of_qwen2(checkpoints):
    from transformers import Qwen2Tokenizer

    folder = checkpoints("dream")
    merges = [tuple(line.split(" ")) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    theirs = Qwen2Tokenizer(vocab=json.loads((folder / "vocab.json").read_text()), merges=merges)
    theirs.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    ours = find_tokenizer(folder)
    for text in TEXTS:
        assert ours.encode(text, add_special_tokens=False).ids == theirs(text, add_special_tokens=False)["input_ids"]


def moved(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {
        str(int(place) + 1): about for place, about in config["added_tokens_decoder"].items()
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def of_another_kind(folder):
    """GPT-2 has a vocab.json and a merges.txt too, and cuts texts by other rules."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "GPT2Tokenizer"}))


SPOILED = {
    "another kind": (of_another_kind, r"has tokenizer_class 'GPT2Tokenizer'.*copy its tokenizer\.json there"),
    "no merges": (lambda folder: (folder / "merges.txt").unlink(), r"there is no merges\.txt in"),
    "a broken line": (
        lambda folder: (folder / "merges.txt").write_text("#version: 0.2\nH o\nx\n"),
        r"merges\.txt is damaged: `x` is no pair",
    ),
    "foreign merges": (
        lambda folder: (folder / "merges.txt").write_text("zz yy\n"),
        r"vocab\.json and merges\.txt in .* do not fit",
    ),
    "a cut vocabulary": (lambda folder: (folder / "vocab.json").write_text('{"a": '), r"vocab\.json is damaged"),
    "ids elsewhere": (moved, r"tokenizer_config\.json has <\|endoftext\|> at 263, but it would be token 262"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_tokenizer_is_refused_by_name(spoilable, how):
    folder = spoilable("dream")
    spoil, said = SPOILED[how]
    spoil(folder)
    with pytest.raises(UserError, match=said):
        load_denoiser(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4}}, "`rope_scaling`"),
        ({"use_sliding_window": True}, "`use_sliding_window` True"),
        ({"hidden_act": "gelu"}, "`hidden_act` 'gelu'"),
        ({"vocab_size": "many"}, "`vocab_size` 'many', which should be of type int"),
        ({"hidden_size": None}, "config.json has no `hidden_size`"),
        ({"mask_token_id": 999}, "mask token 999 lies outside the vocabulary of 288"),
    ],
)
def test_what_the_network_cannot_do_is_refused_by_name(spoilable, change, said):
    folder = spoilable("dream")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=re.escape(said)):
        load_denoiser(folder)
