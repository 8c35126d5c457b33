"""ModernBERT: variants against transformers, the window, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.families.modern_bert import KEYS, configure
from unmask.denoisers.modern_bert import ModernBert, ModernBertConfig, nearby

from .test_bert import agree, shaken
from .tiny_bert import MASK, tokenizer_of
from .tiny_modern_bert import CONFIG

EVERYTHING = {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True}
ROPE = {"full_attention": {"rope_type": "default", "rope_theta": 50.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 7.0}}  # fmt: skip
LIVE = {
    "plain": {},
    "untied": {"tie_word_embeddings": False},
    "every bias": EVERYTHING,
    "no bias": {"decoder_bias": False},
    "other bases": {"rope_parameters": ROPE},
    "local first": {"layer_types": ["sliding_attention", "full_attention", *["sliding_attention"] * 3]},
    "odd window": {"local_attention": 7},
    "relu": {"hidden_activation": "relu", "classifier_activation": "silu", "norm_eps": 1e-3},
}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("changes", LIVE.values(), ids=LIVE.keys())
def test_logits_are_those_of_transformers(tmp_path, changes, attention):
    from transformers import ModernBertConfig as Theirs
    from transformers import ModernBertForMaskedLM

    model = shaken(ModernBertForMaskedLM(Theirs(**CONFIG | changes, attn_implementation=attention)), 0)
    model.save_pretrained(tmp_path)
    tokenizer_of(tmp_path)
    agree(model, tmp_path, 45, [45, 30, 11])  # many times what a local layer sees


def test_every_tensor_of_the_network_has_a_name_of_theirs():
    config = ModernBertConfig(
        40, 4, 20, layers=2, width=24, heads=4, hidden=32, norm_bias=True, attention_bias=True,
        feed_forward_bias=True, head_bias=True,
    )  # fmt: skip
    ours = {name.replace("{i}", str(i)) for name in KEYS.values() for i in range(2)}
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


def test_far_padding_leaves_no_hidden_state_that_is_not_a_number(checkpoints):
    network = load_denoiser(checkpoints("modern_bert")).network
    tokens = torch.arange(30).repeat(2, 1)
    with torch.no_grad():
        assert network.encode(tokens, tokens < 10).isfinite().all()


# ---- the shape


@pytest.fixture
def shape(tmp_path):
    """From the entries of a config.json to the configuration of the network."""
    tokenizer_of(tmp_path)
    return lambda config: configure(Checkpoint(tmp_path, config, {}))


def test_the_shape_of_a_real_checkpoint_is_read(shape):
    base = CONFIG | {
        "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
        "intermediate_size": 1152, "max_position_embeddings": 8192, "local_attention": 128,
    }  # fmt: skip
    assert shape(base) == ModernBertConfig(50368, MASK)


def test_older_and_newer_files_say_the_same(shape):
    older = {**CONFIG, "global_rope_theta": 80.0, "local_rope_theta": 90.0, "num_hidden_layers": 4}
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    newer = {
        **{name: value for name, value in older.items() if name not in ("global_rope_theta", "local_rope_theta")},
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 80.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 90},
        },
    }
    assert shape(older) == shape(newer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": None}, "config.json has no `vocab_size`"),
        ({"hidden_size": 36, "num_attention_heads": 12}, "even size, got width/heads = 3"),
        ({"hidden_activation": "mish"}, "`hidden_activation` 'mish', which this network lacks"),
        ({"layer_types": ["full_attention"]}, "`layer_types` .* it takes 5, each one of full_attention"),
        ({"layer_types": ["chunked_attention"] * 5}, "`layer_types`"),
        ({"global_attn_every_n_layers": 0}, "`global_attn_every_n_layers` 0, which must be at least 1"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "`rope_scaling` .* stretched rotary positions"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "`rope_type` 'yarn' and only 'default'"),
        ({"rope_parameters": {"full_attention": 3}}, "`rope_parameters` .* takes an object"),
        ({"local_attention": 1}, "window must be a whole number of at least 1, got 0"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_by_entry(shape, change, message):
    with pytest.raises(UserError, match=message):
        shape(CONFIG | change)


def test_global_layers_come_back_from_json_as_they_were():
    config = ModernBertConfig(40, 4)
    assert ModernBertConfig(**json.loads(json.dumps(config.to_dict()))) == config
    assert hash(config) == hash(replace(config))
