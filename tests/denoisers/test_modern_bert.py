"""ModernBERT against transformers' ModernBertForMaskedLM, recorded and live."""

import json
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers import modern_bert
from unmask.denoisers.modern_bert import ModernBert, ModernBertConfig, nearby

MASK = 4


@pytest.fixture
def network(golden, load_foreign):
    found = golden("modern_bert")
    return load_foreign(ModernBert, ModernBertConfig.from_config(found.config, MASK), found.weights, modern_bert)


def logits_of(network, canvas):
    with torch.no_grad():
        return network(canvas).logits(slice(None))


def agree(ours, theirs):
    """To 1e-4 everywhere but at the mask token, which is impossible for us alone; logits here are about 10."""
    possible = torch.arange(theirs.shape[-1]) != MASK
    assert (ours[:, MASK] == -torch.inf).all()
    assert theirs.abs().max() > 3
    torch.testing.assert_close(ours[:, possible], theirs[:, possible], rtol=1e-5, atol=1e-4)


def test_the_logits_are_the_recorded_ones(network, golden):
    found = golden("modern_bert")
    assert found.canvas.tokens.shape[1] > 2 * network.config.window + 1  # longer than what a layer sees
    agree(logits_of(network, found.canvas), found.logits)


EVERYTHING = {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True}
ROPE = {"full_attention": {"rope_type": "default", "rope_theta": 50.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 7.0}}  # fmt: skip
LIVE = {
    "plain": {},
    "untied": {"tie_word_embeddings": False},
    "every bias": EVERYTHING,
    "no bias": {"decoder_bias": False},
    "other bases": {"rope_parameters": ROPE},
    "local first": {"layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"]},
    "odd window": {"local_attention": 7},
    "relu": {"hidden_activation": "relu", "classifier_activation": "silu", "norm_eps": 1e-3},
}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("changes", LIVE.values(), ids=LIVE.keys())
def test_logits_are_those_of_transformers(recorder, load_foreign, changes, attention):
    model = recorder.modern_bert(**changes)
    model.set_attn_implementation(attention)
    config = ModernBertConfig.from_config(json.loads(model.config.to_json_string(use_diff=False)), MASK)
    network = load_foreign(ModernBert, config, recorder.saved(model), modern_bert)
    tokens, masked = recorder.batch(40, 45)
    valid = torch.ones_like(masked)
    valid[1, 30:] = False
    valid[2, 11:] = False
    masked &= valid
    canvas = Canvas.make(tokens, masked, 4, valid)
    agree(logits_of(network, canvas), recorder.theirs(model, tokens, valid)[masked])


@pytest.mark.slow
def test_the_recorded_logits_are_what_transformers_says_today(recorder, golden):
    found, model = golden("modern_bert"), recorder.modern_bert()
    canvas = found.canvas
    torch.testing.assert_close(
        recorder.theirs(model, canvas.tokens, canvas.valid)[canvas.masked], found.logits, rtol=1e-5, atol=1e-5
    )


def test_every_tensor_of_the_network_has_a_name_of_theirs():
    config = ModernBertConfig(
        40, MASK, 20, layers=2, width=24, heads=4, hidden=32, norm_bias=True, attention_bias=True,
        feed_forward_bias=True, head_bias=True,
    )  # fmt: skip
    ours = {name.replace("{i}", str(i)) for name in modern_bert.KEYS.values() for i in range(2)}
    first = {"blocks.0.attention_norm.weight", "blocks.0.attention_norm.bias"}  # the first block has no such norm
    assert ours - first == set(ModernBert(config).state_dict())


# ---- the window


def test_a_local_layer_sees_the_window_on_either_side_and_no_padding():
    valid = torch.tensor([[False, False, False, True, True, True, True, False]])
    mask = nearby(valid, valid[:, None, None, :], 2)[0, 0]
    seen = [[j for j in range(8) if mask[i, j]] for i in range(8)]
    assert seen == [[0], [1, 3], [2, 3, 4], [3, 4, 5], [3, 4, 5, 6], [3, 4, 5, 6], [4, 5, 6], [5, 6, 7]]


def test_a_short_canvas_needs_no_window():
    valid = torch.ones(2, 3, dtype=torch.bool)
    assert nearby(valid, None, 2) is None
    assert nearby(torch.ones(2, 4, dtype=torch.bool), None, 2).shape == (1, 1, 4, 4)


def test_far_padding_leaves_no_hidden_state_that_is_not_a_number(network, golden):
    canvas = golden("modern_bert").canvas
    valid = canvas.valid.clone()
    valid[:, 10:] = False
    with torch.no_grad():
        assert network.encode(canvas.tokens, valid).isfinite().all()


# ---- the shape

BASE = {
    "architectures": ["ModernBertForMaskedLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 50281, "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
    "classifier_pooling": "mean", "cls_token_id": 50281, "decoder_bias": True, "deterministic_flash_attn": False,
    "embedding_dropout": 0.0, "eos_token_id": 50282, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
    "gradient_checkpointing": False, "hidden_activation": "gelu", "hidden_size": 768, "initializer_cutoff_factor": 2.0,
    "initializer_range": 0.02, "intermediate_size": 1152, "layer_norm_eps": 1e-05, "local_attention": 128,
    "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": False, "mlp_dropout": 0.0,
    "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05, "num_attention_heads": 12,
    "num_hidden_layers": 22, "pad_token_id": 50283, "position_embedding_type": "absolute", "sep_token_id": 50282,
    "tie_word_embeddings": True, "torch_dtype": "float32", "transformers_version": "4.47.0.dev0", "vocab_size": 50368,
}  # fmt: skip


def test_the_shape_of_a_real_checkpoint_is_read():
    assert ModernBertConfig.from_config(BASE, 50284) == ModernBertConfig(50368, 50284)


def test_older_and_newer_files_say_the_same():
    older = {**BASE, "global_rope_theta": 80.0, "local_rope_theta": 90.0, "num_hidden_layers": 4}
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    newer = {
        **{name: value for name, value in older.items() if name not in ("global_rope_theta", "local_rope_theta")},
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 80.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 90},
        },
    }
    assert ModernBertConfig.from_config(older, MASK) == ModernBertConfig.from_config(newer, MASK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": None}, "config.json has no `vocab_size`"),
        ({"hidden_size": 36, "num_attention_heads": 12}, "even size, got width/heads = 3"),
        ({"hidden_activation": "mish"}, "`hidden_activation` 'mish', which this network lacks"),
        ({"layer_types": ["full_attention"]}, "`layer_types` .* it takes 22, each one of full_attention"),
        ({"layer_types": ["chunked_attention"] * 22}, "`layer_types`"),
        ({"global_attn_every_n_layers": 0}, "`global_attn_every_n_layers` 0, which must be at least 1"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "`rope_scaling` .* stretched rotary positions"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "`rope_type` 'yarn' and only 'default'"),
        ({"rope_parameters": {"full_attention": 3}}, "`rope_parameters` .* takes an object"),
        ({"local_attention": 1}, "window must be a whole number of at least 1, got 0"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_by_entry(change, message):
    with pytest.raises(UserError, match=message):
        ModernBertConfig.from_config(BASE | change, MASK)


def test_global_layers_come_back_from_json_as_they_were():
    config = ModernBertConfig(40, MASK)
    assert ModernBertConfig(**json.loads(json.dumps(config.to_dict()))) == config
    assert hash(config) == hash(replace(config))
