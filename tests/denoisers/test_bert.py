"""BERT against transformers' BertForMaskedLM, recorded and live."""

import json
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers import bert
from unmask.denoisers.bert import Bert, BertConfig

MASK = 4


@pytest.fixture
def network(golden, load_foreign):
    found = golden("bert")
    return load_foreign(Bert, BertConfig.from_config(found.config, MASK), found.weights, bert)


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
    found = golden("bert")
    agree(logits_of(network, found.canvas), found.logits)


def test_what_stands_in_a_canvas_where_it_is_masked_is_not_read(network, golden):
    found = golden("bert")
    other = replace(found.canvas, tokens=found.canvas.tokens.masked_fill(found.canvas.masked, 7))
    agree(logits_of(network, other), found.logits)


LIVE = {
    "plain": {},
    "untied": {"tie_word_embeddings": False},
    "tanh": {"hidden_act": "gelu_new"},
    "relu, other norms": {"hidden_act": "relu", "layer_norm_eps": 1e-3},
    "one token type": {"type_vocab_size": 1, "num_hidden_layers": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("changes", LIVE.values(), ids=LIVE.keys())
def test_logits_are_those_of_transformers(recorder, load_foreign, changes, attention):
    model = recorder.bert(**changes)
    model.set_attn_implementation(attention)
    config = BertConfig.from_config(json.loads(model.config.to_json_string(use_diff=False)), MASK)
    network = load_foreign(Bert, config, recorder.saved(model), bert)
    tokens, masked = recorder.batch(40, 17)
    valid = torch.ones_like(masked)
    valid[1, 12:] = False  # they count positions from the first column, so the padding is on the right
    valid[2, 9:] = False
    masked &= valid
    canvas = Canvas.make(tokens, masked, 4, valid)
    agree(logits_of(network, canvas), recorder.theirs(model, tokens, valid)[masked])


@pytest.mark.slow
def test_the_recorded_logits_are_what_transformers_says_today(recorder, golden):
    found, model = golden("bert"), recorder.bert()
    canvas = found.canvas
    torch.testing.assert_close(
        recorder.theirs(model, canvas.tokens, canvas.valid)[canvas.masked], found.logits, rtol=1e-5, atol=1e-5
    )


# ---- files as they are found


def test_old_names_and_what_a_masked_language_model_has_no_use_for_are_read_over(golden, load_foreign):
    """bert-base-uncased still says gamma and beta, and carries the pooler and the next-sentence head."""
    found = golden("bert")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in found.weights.items()
    }
    assert old.keys() != found.weights.keys()
    old |= {
        "bert.pooler.dense.weight": torch.ones(24, 24),
        "cls.seq_relationship.bias": torch.ones(2),
        "bert.embeddings.position_ids": torch.arange(20)[None],
        "cls.predictions.decoder.weight": found.weights["bert.embeddings.word_embeddings.weight"],
    }
    network = load_foreign(Bert, BertConfig.from_config(found.config, MASK), old, bert)
    agree(logits_of(network, found.canvas), found.logits)


def test_every_tensor_of_the_network_has_a_name_of_theirs():
    config = BertConfig(40, MASK, 20, layers=2, width=24, heads=4, hidden=32)
    ours = {name.replace("{i}", str(i)) for name in bert.KEYS.values() for i in range(2)}
    assert ours == set(Bert(config).state_dict())


# ---- the shape


def test_the_shape_of_a_real_checkpoint_is_read():
    base = {
        "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": False,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
        "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert",
        "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0, "position_embedding_type": "absolute",
        "transformers_version": "4.6.0.dev0", "type_vocab_size": 2, "use_cache": True, "vocab_size": 30522,
    }  # fmt: skip
    assert BertConfig.from_config(base, 103) == BertConfig(30522, 103)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": None}, "config.json has no `vocab_size`"),
        ({"hidden_size": "24"}, "`hidden_size` '24', which should be of type int"),
        ({"hidden_size": 26}, "width 26 does not split into 4 heads"),
        ({"num_hidden_layers": True}, "`num_hidden_layers` True, which should be of type int"),
        ({"hidden_act": "mish"}, "`hidden_act` 'mish', which this network lacks; it has gelu, gelu_new"),
        ({"position_embedding_type": "relative_key"}, "`position_embedding_type` 'relative_key' and only 'absolute'"),
        ({"is_decoder": True}, "`is_decoder` True and only False can be read"),
        ({"vocab_size": 4}, "mask token 4 lies outside the vocabulary of 4"),
        ({"intermediate_size": 0}, "hidden must be a whole number of at least 1, got 0"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_by_entry(golden, change, message):
    with pytest.raises(UserError, match=message):
        BertConfig.from_config(golden("bert").config | change, MASK)


def test_a_canvas_longer_than_the_table_of_positions_is_refused(network):
    masked = torch.ones(1, 21, dtype=torch.bool)
    with pytest.raises(UserError, match="canvas has 21 positions but this denoiser reads at most 20"):
        network(Canvas.make(torch.full((1, 21), MASK), masked, 2))
