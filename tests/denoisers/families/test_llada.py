"""LLaDA: two tokens that end a text, a template for conversations, and what its format could say and is not done."""

import json
import re

import pytest

from unmask import decode, load_denoiser
from unmask.core.errors import UserError

from .tiny_llada import CONFIG


@pytest.fixture
def codec(checkpoints):
    return load_denoiser(checkpoints("llada")).codec


def edit(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("token", ["<|eot_id|>", "<|endoftext|>"])
def test_a_text_is_cut_at_either_end_token(codec, token):
    end = codec.tokenizer.token_to_id(token)
    assert codec.decode([*codec.encode("34"), end, *codec.encode("more")]) == "34"
    assert codec.cut([1, 2, end, 3]) == [1, 2]


def test_what_follows_a_turn_is_filled_with_the_end_of_text(codec):
    turn, text = (codec.tokenizer.token_to_id(name) for name in ("<|eot_id|>", "<|endoftext|>"))
    assert codec.encode_response("ab", 5)[2:] == [turn, text, text]
    assert codec.with_template("bare").encode_response("ab", 5)[2:] == [text] * 3


def test_content_counts_up_to_either_end_token(checkpoints, monkeypatch):
    denoiser = load_denoiser(checkpoints("llada"))
    end = denoiser.codec.tokenizer.token_to_id("<|eot_id|>")
    weight = denoiser.network.head.weight
    weight.data[:] = 0
    weight.data[end] = 0
    denoiser.network.head.forward = lambda hidden: (hidden @ weight.T).index_fill(1, weight.new_tensor([end]).long(), 9)
    (written,) = decode(denoiser, ["Why?"], budget=2, response_length=5)
    assert (written.text, written.content, written.written) == ("", 0, 5)


def test_a_prompt_is_a_conversation(codec):
    assert codec.tokenizer.decode(codec.encode_prompt("Why?"), skip_special_tokens=False) == (
        "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_without_a_chat_template_a_prompt_is_itself(spoilable):
    folder = spoilable("llada")
    edit(folder / "tokenizer_config.json", chat_template=None)
    codec = load_denoiser(folder).codec
    assert codec.encode_prompt("Why?") == codec.encode("Why?")


def test_a_codec_json_beside_the_weights_has_the_last_word(spoilable):
    folder = spoilable("llada")
    (folder / "codec.json").write_text('{"template": "Q: {prompt} A:", "stops": []}')
    codec = load_denoiser(folder).codec
    assert (codec.template, codec.stops, codec.end) == ("Q: {prompt} A:", (), "<|endoftext|>")
    (folder / "codec.json").write_text('{"end": "</s>"}')
    with pytest.raises(UserError, match=r"has no token </s>; name the right one in a codec\.json"):
        load_denoiser(folder)
    (folder / "codec.json").write_text('{"stops": "</s>"}')
    with pytest.raises(UserError, match=r"codec\.json is damaged: stops cannot be '</s>'"):
        load_denoiser(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"block_type": "sequential"}, "`block_type` 'sequential' and only 'llama' can be read"),
        ({"rope": False}, "`rope` False"),
        ({"alibi": True}, "`alibi` True"),
        ({"layer_norm_type": "default"}, "`layer_norm_type` 'default'"),
        ({"attention_layer_norm": True}, "`attention_layer_norm` True"),
        ({"scale_logits": True}, "`scale_logits` True"),
        ({"mask_token_id": 5000}, "`mask_token_id` 5000, outside its vocabulary of 288"),
        ({"d_model": None}, "config.json has no `d_model`"),
        ({"n_layers": 2}, "6 more are left over"),
        ({"embedding_size": 300}, "has shape [288, 32], not [300, 32]"),
        ({"include_qkv_bias": True}, "model.transformer.blocks.0.k_proj.bias"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(spoilable, change, said):
    folder = spoilable("llada")
    edit(folder / "config.json", **change)
    with pytest.raises(UserError, match=re.escape(said)):
        load_denoiser(folder)


def test_a_mixture_of_experts_is_another_family(spoilable):
    folder = spoilable("llada")
    edit(folder / "config.json", architectures=["LLaDAMoEModelLM"])
    with pytest.raises(UserError, match=r"unknown architecture `llada` \(LLaDAMoEModelLM\).* The nearest: llada"):
        load_denoiser(folder)


def test_the_tiny_checkpoint_says_all_that_a_real_one_does():
    assert {"rope_theta", "rms_norm_eps", "weight_tying", "embedding_size", "n_kv_heads"} <= set(CONFIG)
