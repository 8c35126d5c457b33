import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask.core.errors import UserError
from unmask.denoisers import folder as folder_module
from unmask.denoisers.codec import Codec
from unmask.denoisers.folder import TextDenoiser, load_folder, save_denoiser
from unmask.denoisers.transformer import Transformer

FILES = ["README.md", "codec.json", "config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def saved(denoiser, tmp_path):
    save_denoiser(denoiser, tmp_path / "it")
    return tmp_path / "it"


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def logits(denoiser):
    canvas = denoiser.codec.canvas(["Ana has 3 pens. How many?", "Why?"], 8, 4)
    return denoiser(canvas).logits(slice(None))


@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded_it_gives_the_same_logits_to_the_last_bit(denoiser, tmp_path, tied):
    if not tied:
        shape = replace(denoiser.network.config, tied=False, kv_heads=1, qkv_bias=True)
        network = Transformer(shape).initialise(torch.Generator().manual_seed(1)).eval()
        denoiser = replace(denoiser, network=network)
    save_denoiser(denoiser, tmp_path / "it")
    loaded = load_folder(tmp_path / "it")
    assert torch.equal(logits(loaded), logits(denoiser))
    assert loaded.network.config == denoiser.network.config
    assert (loaded.response_length, loaded.card) == (denoiser.response_length, denoiser.card)
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == FILES
    assert ("head.weight" in load_file(tmp_path / "it" / "model.safetensors")) == (not tied)


def test_loading_and_saving_again_changes_no_byte(saved, tmp_path):
    save_denoiser(load_folder(saved), tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


def test_a_loaded_tied_network_shares_its_embedding_and_can_learn(saved):
    network = load_folder(saved).network
    assert network.head.weight is network.embed.weight
    assert not network.training
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in network.parameters())


def test_it_loads_in_the_dtype_asked_for(saved):
    assert load_folder(saved, dtype=torch.bfloat16).network.embed.weight.dtype == torch.bfloat16
    assert load_folder(saved, dtype=torch.float64).network.norm.weight.dtype == torch.float64


def test_loading_leaves_the_global_generator_alone(saved):
    before = torch.get_rng_state()
    load_folder(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_its_answers_have_no_gradient_but_a_network_may_learn_from_them(denoiser):
    canvas = denoiser.codec.canvas(["Why?"], 4, 2)
    denoised = denoiser(canvas)
    assert not denoised.hidden.requires_grad
    reader = torch.nn.Linear(denoised.hidden.shape[1], 1)
    reader(denoised.hidden).sum().backward()
    assert reader.weight.grad.abs().sum() > 0


# ---- bad input


@pytest.mark.parametrize("name", [name for name in FILES if name != "README.md"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"there is no {name} in "):
        load_folder(saved)


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused_by_name(saved, share):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or not safetensors"):
        load_folder(saved)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the file was unpickled",)


@pytest.mark.parametrize("kind", ["pickle", "torch", "text"])
def test_nothing_is_ever_unpickled(saved, denoiser, kind):
    path = saved / "model.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "torch":
        torch.save({"embed.weight": Bomb()}, path)
    else:
        path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or not safetensors"):
        load_folder(saved)


def change_weights(change):
    def apply(saved):
        weights = load_file(saved / "model.safetensors")
        change(weights)
        save_file(weights, saved / "model.safetensors")

    return apply


def change_config(change):
    return lambda saved: edit(saved / "config.json", change)


WRONGS = {
    "foreign weights": (
        change_weights(lambda w: (w.clear(), w.update({"transformer.wte.weight": torch.zeros(2, 2)}))),
        r"model\.safetensors does not fit config\.json: .* is missing",
    ),
    "a weight more": (
        change_weights(lambda w: w.update({"extra": torch.zeros(1)})),
        r"model\.safetensors does not fit config\.json: extra is not expected",
    ),
    "a weight of another shape": (
        change_weights(lambda w: w.update({"norm.weight": torch.zeros(17)})),
        r"model\.safetensors does not fit config\.json: norm\.weight has shape \[17\], not \[16\]",
    ),
    "another shape": (
        change_config(lambda c: c["network"].update(hidden=32)),
        r"model\.safetensors does not fit config\.json: .*feed_forward.* has shape",
    ),
    "a shape that cannot be": (
        change_config(lambda c: c["network"].update(heads=3)),
        r"config\.json has a network that cannot be: width 16 does not split into 3 heads",
    ),
    "a number as text": (
        change_config(lambda c: c["network"].update(width="16")),
        r"config\.json has a network that cannot be: width must be a whole number",
    ),
    "an entry missing": (
        change_config(lambda c: c["network"].pop("vocabulary")),
        r"config\.json has a network that cannot be: .*vocabulary",
    ),
    "an unknown entry": (
        change_config(lambda c: c["network"].update(experts=8)),
        r"config\.json has unknown network entries \['experts'\]",
    ),
    "layers that are not stored": (
        change_config(lambda c: c["network"].update(layers=9999)),
        r"does not fit config\.json: of 9999 layers it holds \d, blocks\.\d is missing",
    ),
    "more layers than there can be": (
        change_config(lambda c: c["network"].update(layers=1_000_000)),
        r"layers must be at most 10,000, got 1000000",
    ),
    "half a layer": (change_config(lambda c: c["network"].update(layers=1.5)), r"layers must be a whole .* 1\.5"),
    "true for a number": (change_config(lambda c: c["network"].update(heads=True)), r"heads must be a whole .* True"),
    "a number for true": (change_config(lambda c: c["network"].update(tied=1)), r"tied must be true or false, got 1"),
    "a base as text": (change_config(lambda c: c["network"].update(rope_base="x")), r"rope_base must be .* 'x'"),
    "a base below one": (change_config(lambda c: c["network"].update(rope_base=-1e4)), r"rope_base must be .* -1"),
    "an epsilon that is NaN": (
        change_config(lambda c: c["network"].update(norm_eps=float("nan"))),
        r"norm_eps must be a number of at least 0, got nan",
    ),
    "a negative epsilon": (change_config(lambda c: c["network"].update(norm_eps=-1e-5)), r"norm_eps must be .* -1e-05"),
    "an infinite base": (change_config(lambda c: c["network"].update(rope_base=1e999)), r"rope_base must be .* inf"),
    "a huge width": (change_config(lambda c: c["network"].update(width=10**30)), r"width must be a whole number"),
    "tensors too large to count": (
        change_config(lambda c: c["network"].update(vocabulary=2**31 - 1, width=2**31 - 4, heads=2)),
        r"too large to count|does not fit config\.json|has \d+ tokens",
    ),
    "an architecture that is a list": (change_config(lambda c: c.update(architecture=[])), r"of architecture \[\]"),
    "an architecture nobody knows": (change_config(lambda c: c.update(architecture="moe")), r"of architecture 'moe'"),
    "an entry more at the top": (change_config(lambda c: c.update(rope=1)), r"has unknown entries \['rope'\]"),
    "a response length that is true": (
        change_config(lambda c: c.update(response_length=True)),
        r"response_length cannot be True",
    ),
    "a card that is a list": (change_config(lambda c: c.update(card=[1])), r"card cannot be \[1\]"),
    "a number of 5,000 digits": (
        lambda saved: (saved / "config.json").write_text('{"format": ' + "1" * 5000 + "}"),
        r"config\.json is damaged: .*digits",
    ),
    "weights as whole numbers": (
        change_weights(lambda w: w.update({"norm.weight": w["norm.weight"].to(torch.int8)})),
        r"norm\.weight is stored as I8, not as one of F64",
    ),
    "a weight that is no number": (
        change_weights(lambda w: w["norm.weight"].view(-1)[2:3].fill_(float("nan"))),
        r"norm\.weight with 1 values that are NaN and 0 that are infinite",
    ),
    "a token beyond the embedding": (
        lambda saved: edit(saved / "tokenizer.json", lambda t: t["model"]["vocab"].update({"zzz": 10**6})),
        r"has \d+ tokens but the embedding|'zzz' at 1000000 but the embedding has",
    ),
    "no network": (change_config(lambda c: c.pop("network")), r"config\.json is damaged: it has no `network`"),
    "no response length": (
        change_config(lambda c: c.pop("response_length")),
        r"config\.json is damaged: response_length cannot be None",
    ),
    "another version": (
        change_config(lambda c: c.update(version=2)),
        r"config\.json is of version 2, this unmask reads version 1",
    ),
    "another format": (
        change_config(lambda c: c.update(format="unmask-order")),
        r"config\.json is not a denoiser of unmask \(format 'unmask-order'\)",
    ),
    "a model of another library": (
        lambda saved: (saved / "config.json").write_text('{"model_type": "llada"}'),
        r"config\.json is not a denoiser of unmask \(format None\)",
    ),
    "cut config": (
        lambda saved: (saved / "config.json").write_text('{"format": "unm'),
        r"config\.json is damaged",
    ),
    "a small vocabulary": (
        change_config(lambda c: c["network"].update(vocabulary=20)),
        r"tokenizer\.json has \d+ tokens but the embedding has 20 rows",
    ),
    "another mask token": (
        change_config(lambda c: c["network"].update(mask_token=7)),
        r"mask token of .*tokenizer\.json is 2 but .*config\.json says 7",
    ),
}


@pytest.mark.parametrize("row", [0, -1])
def test_a_stored_head_that_differs_from_a_tied_embedding_is_kept(saved, row):
    def give_a_head(weights):
        weights["head.weight"] = weights["embed.weight"].clone()
        weights["head.weight"][row, 3] += 1

    change_weights(give_a_head)(saved)
    network = load_folder(saved).network
    assert not network.config.tied
    assert torch.equal(network.head.weight, load_file(saved / "model.safetensors")["head.weight"])
    assert not torch.equal(network.head.weight, network.embed.weight)


def test_a_stored_head_that_is_the_embedding_stays_tied(saved):
    change_weights(lambda w: w.update({"head.weight": w["embed.weight"].clone()}))(saved)
    network = load_folder(saved).network
    assert network.head.weight is network.embed.weight
    assert network.config.tied


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_does_not_fit_is_refused_by_name(saved, wrong):
    spoil, message = WRONGS[wrong]
    spoil(saved)
    with pytest.raises(UserError, match=message):
        load_folder(saved)


def test_a_tokenizer_of_another_denoiser_is_refused(saved, examples):
    larger = Codec.train((text for e in examples for text in (e.prompt, e.response)), 600)
    larger.save(saved)
    with pytest.raises(UserError, match=rf"tokenizer\.json has {larger.vocabulary} tokens but the embedding has"):
        load_folder(saved)


# ---- nothing half-written


@pytest.mark.parametrize("where", ["write_weights", "write_json", "Codec.save"])
def test_a_save_that_fails_halfway_leaves_the_old_folder_and_nothing_else(saved, denoiser, monkeypatch, where):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    if where == "Codec.save":
        monkeypatch.setattr(Codec, "save", full_disk)
    else:
        monkeypatch.setattr(folder_module, where, full_disk)
    for target in (saved, saved.parent / "new"):
        with pytest.raises(UserError, match=f"could not write .*{target.name}: No space left on device"):
            save_denoiser(TextDenoiser(denoiser.network, denoiser.codec, 99), target)
    assert [path.name for path in saved.parent.iterdir()] == ["it"]
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_an_error_of_the_weights_library_on_writing_is_one_of_the_disk(denoiser):
    with pytest.raises(OSError, match="No such file"):
        folder_module.write_weights("/nowhere/at/all", {"a": torch.zeros(1)}, {})


@pytest.mark.parametrize("name", ["rope_base", "norm_eps", "heads", "tied"])
def test_an_entry_that_was_lost_is_not_filled_with_its_default(saved, name):
    """Which would be another network, most often of the same shapes."""
    path = saved / "config.json"
    config = json.loads(path.read_text())
    del config["network"][name]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"has a network that cannot be: it has no `{name}`"):
        load_folder(saved)
