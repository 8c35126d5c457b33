"""BERT: variants against transformers, files as they are found, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from unmask import decode, load_denoiser
from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.bert import Bert, BertConfig
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.families.bert import KEYS, configure
from unmask.train.fit import FitConfig, fit

from .tiny import read_weights, rewrite, write_json
from .tiny_bert import CONFIG, MASK, tokenizer_of

LIVE = {
    "plain": {},
    "untied": {"tie_word_embeddings": False},
    "tanh": {"hidden_act": "gelu_new"},
    "relu, other norms": {"hidden_act": "relu", "layer_norm_eps": 1e-3},
    "one token type": {"type_vocab_size": 1, "num_hidden_layers": 1},
}


def shaken(model, seed):
    """Weights large enough for every part to matter, those of norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            middle = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.normal_(middle, 0.25 if parameter.dim() > 1 else 0.5, generator=generator)
    return model.eval()


def agree(model, folder, length, ends):
    """Our logits of the folder are those of `model`, rows ending at `ends`, to 1e-4."""
    tokens = torch.randint(5, 250, (len(ends), length), generator=torch.Generator().manual_seed(length))
    masked = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    valid = torch.arange(length) < torch.tensor(ends)[:, None]  # they count positions from the first column
    canvas = Canvas.make(tokens, masked, 4, valid)
    ours = load_denoiser(folder, dtype=torch.float32)(canvas).logits(slice(None))
    with torch.no_grad():
        theirs = model(tokens.masked_fill(masked, MASK), attention_mask=valid.long()).logits[canvas.masked]
    assert theirs.std() > 1
    possible = ours[0] != -torch.inf  # a token of the tokenizer, and not the mask
    assert possible.sum() > 200
    torch.testing.assert_close(ours[:, possible], theirs[:, possible], rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("changes", LIVE.values(), ids=LIVE.keys())
def test_logits_are_those_of_transformers(tmp_path, changes, attention):
    from transformers import BertConfig as Theirs
    from transformers import BertForMaskedLM

    model = shaken(BertForMaskedLM(Theirs(**CONFIG | changes, attn_implementation=attention)), 0)
    model.save_pretrained(tmp_path)
    tokenizer_of(tmp_path)
    agree(model, tmp_path, 17, [17, 12, 9])


# ---- files as they are found


def logits_of(path):
    tokens = torch.arange(9)[None]
    canvas = Canvas.make(tokens, tokens % 2 == 0, 4)
    return load_denoiser(path, dtype=torch.float32)(canvas).logits(slice(None))


def test_old_names_and_what_a_masked_language_model_has_no_use_for_are_read_over(spoilable):
    """bert-base-uncased still says gamma and beta, and carries the pooler and the next-sentence head."""
    path = spoilable("bert")
    before = logits_of(path)

    def age(weights):
        for name in list(weights):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            weights[old] = weights.pop(name)
        weights |= {
            "bert.pooler.dense.weight": torch.ones(32, 32),
            "cls.seq_relationship.bias": torch.ones(2),
            "bert.embeddings.position_ids": torch.arange(128)[None],
            "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"],
        }

    rewrite(path, age)
    assert any(name.endswith("gamma") for name in read_weights(path))
    assert torch.equal(logits_of(path), before)


@pytest.fixture
def encoder(spoilable):
    """A checkpoint as models of sentences are saved: no output head, no `bert.` before the names."""
    path = spoilable("bert")
    kept = {
        name.removeprefix("bert."): value for name, value in read_weights(path).items() if name.startswith("bert.")
    }
    save_file(kept, path / "model.safetensors")
    return path


def test_an_encoder_without_its_head_is_refused_and_the_head_named(encoder):
    said = (
        r"cls\.predictions\.decoder\.bias, cls\.predictions\.transform\.LayerNorm\.bias, .* and 2 more are missing; "
        "they were saved without their output head; `unmask fit --init` begins one with --new-head"
    )
    with pytest.raises(UserError, match=said):
        load_denoiser(encoder)


def test_a_new_head_is_begun_only_where_it_is_asked_for_and_the_card_says_so(encoder, checkpoints):
    before = torch.get_rng_state()
    one, same, other = (load_denoiser(encoder, new_head=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    begun = ["head.decoder.bias", "head.dense.bias", "head.dense.weight", "head.norm.bias", "head.norm.weight"]
    assert one.card["begun anew"] == begun
    weights, again, third = (each.network.state_dict() for each in (one, same, other))
    assert not [name for name in weights if not torch.equal(weights[name], again[name])]
    assert [name for name in weights if not torch.equal(weights[name], third[name])] == ["head.dense.weight"]
    whole = load_denoiser(checkpoints("bert")).network.state_dict()
    assert {name for name in whole if not torch.equal(whole[name], weights[name])} == set(begun)
    assert one.network.head.decoder.weight is one.network.embed.weight


def test_a_new_head_is_refused_where_there_is_one_and_where_more_is_missing(encoder, checkpoints, tmp_path):
    with pytest.raises(UserError, match="has its output head, so none is to be begun; leave out --new-head"):
        load_denoiser(checkpoints("bert"), new_head=0)
    with pytest.raises(UserError, match="has its output head"):
        load_denoiser("wordprob", new_head=0)
    rewrite(encoder, lambda weights: weights.pop("embeddings.LayerNorm.weight"))
    with pytest.raises(UserError, match=r"bert\.embeddings\.LayerNorm\.weight is missing$"):
        load_denoiser(encoder, new_head=0)


def test_fitting_begins_a_new_head_and_goes_on_without_asking_again(encoder, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"prompt": "1+1?", "response": "#### 2"}\n' * 9)
    config = FitConfig(
        task="jsonl", data=str(tmp_path), init=str(encoder), updates=2, rows=2, precision="fp32", context=64,
    )  # fmt: skip
    with pytest.raises(UserError, match="begins one with --new-head"):
        fit(config, tmp_path / "run")
    fitted = fit(replace(config, new_head=True), tmp_path / "run").denoiser
    again = load_denoiser(tmp_path / "run")
    weights = fitted.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.network.state_dict().items())
    assert again.card["fit"]["new_head"]
    with pytest.raises(UserError, match="goes on a denoiser that has none; name it with --init"):
        fit(replace(config, init=None, new_head=True), tmp_path / "other")


def test_every_tensor_of_the_network_has_a_name_of_theirs():
    config = BertConfig(40, 4, 20, layers=2, width=24, heads=4, hidden=32)
    ours = {name.replace("{i}", str(i)) for name in KEYS.values() for i in range(2)}
    assert ours == set(Bert(config).state_dict())


def test_another_name_of_the_mask_token_may_stand_in_a_codec_json(spoilable):
    path = spoilable("bert")
    write_json(path / "codec.json", {"mask": "[UNK]", "end": "[SEP]", "pad": "[PAD]", "template": "{prompt}"})
    assert load_denoiser(path).network.config.mask_token == 257


# ---- how a text stands on the canvas


def spelt(codec, canvas, row):
    """What a row says, `_` for what is masked."""
    names = [codec.tokenizer.id_to_token(token) for token in canvas.tokens[row].tolist()]
    shown = zip(names, canvas.masked[row].tolist(), canvas.valid[row].tolist(), strict=True)
    return "".join("_" if masked else name for name, masked, valid in shown if valid)


@pytest.mark.parametrize("name", ["bert", "modern_bert"])
def test_prompt_and_response_stand_between_cls_and_sep(checkpoints, name):
    denoiser = load_denoiser(checkpoints(name), dtype=torch.float32)
    codec = denoiser.codec
    canvas = codec.canvas(["Why?", "So?"], 3, 2)
    assert [spelt(codec, canvas, row) for row in (0, 1)] == ["[CLS]Why?___[SEP]", "[CLS]So?___[SEP]"]
    clean = codec.clean_canvas(["Why?"], [codec.encode_response("No", 4)], [0])
    assert spelt(codec, replace(clean, masked=clean.masked & False), 0) == "[CLS]Why?No[SEP][SEP][SEP]"
    assert spelt(codec, codec.infill(["a<|mask:2|>b"], 2), 0) == "[CLS]a__b[SEP]"
    assert denoiser.context == denoiser.network.config.context - 1


def test_the_ends_are_no_part_of_what_was_written(checkpoints):
    denoiser = load_denoiser(checkpoints("bert"), dtype=torch.float32)
    (written,) = decode(denoiser, ["ab<|mask:2|>cd"], budget=2, infill=True)
    assert "[CLS]" not in written.text
    assert "[SEP]" not in written.text
    assert written.text.startswith("ab")


def test_a_tokenizer_that_was_saved_cutting_and_filling_up_does_neither(spoilable):
    """As all-MiniLM-L6-v2 has it: cut at 128 tokens and filled up to them."""
    path = spoilable("bert")
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=7)
    tokenizer.save(str(path / "tokenizer.json"))
    codec = load_denoiser(path).codec
    assert len(codec.encode("ab")) == 2
    assert len(codec.encode("a" * 40)) == 40


# ---- the shape


def test_the_shape_of_a_real_checkpoint_is_read(tmp_path):
    tokenizer_of(tmp_path)
    base = CONFIG | {
        "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 512,
    }  # fmt: skip
    assert configure(Checkpoint(tmp_path, base, {})) == BertConfig(30522, MASK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": None}, "config.json has no `vocab_size`"),
        ({"hidden_size": "24"}, "`hidden_size` '24', which should be of type int"),
        ({"hidden_size": 26}, "width 26 does not split into 4 heads"),
        ({"num_hidden_layers": True}, "`num_hidden_layers` True, which should be of type int"),
        ({"hidden_act": "mish"}, "`hidden_act` 'mish', which this network lacks; it has gelu, gelu_fast, gelu_new"),
        ({"position_embedding_type": "relative_key"}, "`position_embedding_type` 'relative_key' and only 'absolute'"),
        ({"is_decoder": True}, "`is_decoder` True and only False can be read"),
        ({"vocab_size": 4}, "mask token 260 lies outside the vocabulary of 4"),
        ({"intermediate_size": 0}, "hidden must be a whole number of at least 1, got 0"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_by_entry(spoilable, change, message):
    path = spoilable("bert")
    write_json(path / "config.json", json.loads((path / "config.json").read_text()) | change)
    with pytest.raises(UserError, match=message):
        load_denoiser(path)


def test_a_canvas_longer_than_the_table_of_positions_is_refused(checkpoints):
    denoiser = load_denoiser(checkpoints("bert"))
    masked = torch.ones(1, 129, dtype=torch.bool)
    with pytest.raises(UserError, match="canvas has 129 positions but this denoiser reads at most 128"):
        denoiser(Canvas.make(torch.full((1, 129), MASK), masked, 2))
