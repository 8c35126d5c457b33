"""Checkpoints as they are found: as other programs write them, not as ours do. The logits stay what they were."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import open_checkpoint
from unmask.denoisers.families import FAMILIES

from .entries import TINY
from .test_contract import canvas_for, logits_of
from .tiny import read_weights, rewrite, write_json, write_shards

every_family = pytest.mark.parametrize("name", TINY)
ROTARY = ("llada", "dream", "smdm", "mdlm", "modern_bert")


def logits(path, name):
    return logits_of(load_denoiser(path, dtype=torch.float32), canvas_for(name, rows=2, length=8))


def folder_of(path):
    return path if path.is_dir() else path.parent


def edit(path, **entries):
    """Change entries of config.json; None removes one."""
    file = folder_of(path) / "config.json"
    values = json.loads(file.read_text()) if file.is_file() else {}
    write_json(file, {key: value for key, value in (values | entries).items() if value is not None})


def renamed(rename):
    """Give every tensor another name."""
    return lambda path, name: rewrite(
        path, lambda weights: [weights.update({rename(key, name): weights.pop(key)}) for key in list(weights)]
    )


def alone(path):
    """All tensors, which then stand nowhere any more."""
    weights = read_weights(path)
    for file in [path] if path.is_file() else folder_of(path).glob("*.safetensors*"):
        file.unlink()
    return weights


def in_shards(path, name, index=True):
    weights = alone(path)
    write_shards(folder_of(path), weights, 3)
    if not index:
        (folder_of(path) / "model.safetensors.index.json").unlink()


def beside_an_old_index(path, name):
    weights = alone(path)
    save_file(weights, folder_of(path) / "model.safetensors")
    old = {"weight_map": {key: "model-00001-of-00002.safetensors" for key in weights}}
    write_json(folder_of(path) / "model.safetensors.index.json", old)


def with_buffers(path, name):
    stack = next(key.partition("{i}")[0] for key in FAMILIES[name].keys if "{i}" in key)
    extra = {
        f"{stack}0.attention.rotary_emb.inv_freq": torch.ones(4), "rotary_emb.inv_freq": torch.ones(4),
        "embeddings.position_ids": torch.arange(9)[None], f"{stack}1.attn.masked_bias": torch.tensor(-1e4),
    }  # fmt: skip
    rewrite(path, lambda weights: weights.update(extra))


def unprefixed(key, name):
    root = next(each for each in FAMILIES[name].keys if "{i}" in each).partition(".")[0]
    return key.removeprefix(f"{root}.")


WAYS = {
    "data parallel": renamed(lambda key, name: f"module.{key}"),
    "compiled": renamed(lambda key, name: f"_orig_mod.{key}"),
    "compiled block by block": renamed(lambda key, name: key.replace(".0.", ".0._orig_mod.", 1)),
    "both, and lightning": renamed(lambda key, name: f"model.module._orig_mod.{key}"),
    "out of peft": renamed(lambda key, name: f"base_model.model.{key}"),
    "under a name of somebody's own": renamed(lambda key, name: f"student.net.{key}"),
    "without its outer name": renamed(unprefixed),
    "with an outer name": renamed(lambda key, name: f"model.{key}"),
    "with buffers": with_buffers,
    "in shards": in_shards,
    "in shards without an index": lambda path, name: in_shards(path, name, index=False),
    "whole beside an old index": beside_an_old_index,
    "with a mark before the configuration": lambda path, name: [
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes()) for file in folder_of(path).glob("*.json")
    ],
}  # fmt: skip


@every_family
@pytest.mark.parametrize("way", WAYS)
def test_the_same_logits_however_it_was_saved(name, way, checkpoints, spoilable):
    path = spoilable(name)
    WAYS[way](path, name)
    path = path if path.exists() else folder_of(path)
    assert torch.equal(logits(path, name), logits(checkpoints(name), name))


@every_family
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_are_read(name, dtype, spoilable):
    path = spoilable(name)
    rewrite(path, lambda weights: weights.update({key: value.to(dtype) for key, value in weights.items()}))
    narrow = logits(path, name)
    assert {value.dtype for value in load_denoiser(path).network.parameters()} == {dtype}
    rewrite(path, lambda weights: weights.update({key: value.float() for key, value in weights.items()}))
    assert torch.equal(logits(path, name), narrow)


def test_one_shard_alone_is_no_checkpoint(spoilable):
    path = spoilable("dream")
    with pytest.raises(UserError, match="is one of 3 shards; give the folder that holds them all"):
        load_denoiser(path / "model-00002-of-00003.safetensors")


def test_of_shards_without_an_index_the_missing_one_is_named(spoilable):
    path = spoilable("dream")
    (path / "model.safetensors.index.json").unlink()
    (path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(UserError, match=r"1 of 3 shards of a checkpoint without an index .* model-00002-of-00003"):
        load_denoiser(path)


@every_family
@pytest.mark.parametrize("spelling", ["model-00001-of-000003", "model-1-of-3"])
def test_shards_are_counted_in_any_number_of_digits(name, spelling, spoilable, checkpoints):
    path = spoilable(name)
    in_shards(path, name, index=False)
    for i, file in enumerate(sorted(folder_of(path).glob("*.safetensors")), start=1):
        file.rename(file.with_name(f"{spelling.replace('1', str(i), 1)}.safetensors"))
    assert torch.equal(logits(folder_of(path), name), logits(checkpoints(name), name))


@pytest.mark.parametrize("name", ["smdm", "mdlm", "bert", "modern_bert"])  # those of one file
def test_a_link_to_nothing_says_where_it_leads_and_a_folder_is_called_one(name, spoilable):
    folder = folder_of(spoilable(name))
    (file,) = folder.glob("*.safetensors")
    file.unlink()
    file.symlink_to("../../blobs/gone")
    with pytest.raises(UserError, match=r"is a link to \.\./\.\./blobs/gone, which is not there"):
        load_denoiser(folder)
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match="is a folder and no safetensors file"):
        load_denoiser(folder)


@every_family
def test_a_buffer_of_whole_numbers_is_no_precision(name, spoilable, checkpoints):
    path = spoilable(name)
    rewrite(path, lambda weights: weights.update({"embeddings.position_ids": torch.arange(200_000)[None]}))
    assert {value.dtype for value in load_denoiser(path).network.parameters()} == {torch.float32}


def test_of_two_saves_in_one_folder_neither_is_taken(spoilable):
    path = spoilable("dream")
    (path / "model.safetensors.index.json").unlink()
    shutil.copy(path / "model-00001-of-00003.safetensors", path / "model-00001-of-00002.safetensors")
    with pytest.raises(UserError, match="has 4 safetensors files and no"):
        load_denoiser(path)


@pytest.mark.parametrize("shard", ["../away.safetensors", "/etc/away.safetensors", "sub/away.safetensors", "", "..",
                                   "sub\\away.safetensors", "away.safetensors\0", "away.bin", "away.py"])  # fmt: skip
def test_an_index_never_leads_out_of_its_folder(spoilable, shard):
    path = spoilable("dream")
    save_file(read_weights(path), path.parent / "away.safetensors")
    write_json(path / "model.safetensors.index.json", {"weight_map": {"a": shard}})
    with pytest.raises(UserError, match="names the shard"):
        load_denoiser(path)


def test_a_tensor_in_two_shards_is_one_or_refused(spoilable, checkpoints):
    path = spoilable("dream")
    files = sorted(path.glob("*.safetensors"))
    file = next(file for file in files if "model.norm.weight" not in load_file(file))
    twice = read_weights(path)["model.norm.weight"]
    save_file(load_file(file) | {"model.norm.weight": twice}, file)
    assert torch.equal(logits(path, "dream"), logits(checkpoints("dream"), "dream"))
    save_file(load_file(file) | {"model.norm.weight": twice + 1}, file)
    with pytest.raises(UserError, match=r"model\.norm\.weight is in .* and another one in"):
        load_denoiser(path)


@every_family
def test_one_tensor_under_two_names_is_read_once_or_refused(name, spoilable, checkpoints):
    path = spoilable(name)
    key = max(read_weights(path), key=lambda key: (key.count("."), key))
    rewrite(path, lambda weights: weights.update({f"module.{key}": weights[key]}))
    assert torch.equal(logits(path, name), logits(checkpoints(name), name))
    rewrite(path, lambda weights: weights.update({f"module.{key}": weights[key] + 1}))
    with pytest.raises(UserError, match="are one tensor by their names and differ"):
        load_denoiser(path)


# ---- heads that are tied by the configuration

TIED = {  # family -> the entry that ties, their head, their embedding
    "llada": ("weight_tying", "model.transformer.ff_out.weight", "model.transformer.wte.weight"),
    "dream": ("tie_word_embeddings", "lm_head.weight", "model.embed_tokens.weight"),
    "bert": ("tie_word_embeddings", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    "modern_bert": ("tie_word_embeddings", "decoder.weight", "model.embeddings.tok_embeddings.weight"),
}
tied_families = pytest.mark.parametrize("name", TIED)


def tie(path, name, how):
    """Let the configuration tie head and embedding, and `how` change what is stored."""
    entry, head, embedding = TIED[name]
    edit(path, **{entry: True})
    rewrite(path, lambda weights: how(weights, head, embedding))


@tied_families
def test_a_stored_head_that_differs_from_the_embedding_is_kept(name, spoilable):
    path = spoilable(name)
    tie(path, name, lambda weights, head, embed: weights.update({head: weights[embed].flip(0) * 0.5}))
    found = load_denoiser(path)
    weights, network = read_weights(path), found.network
    mine = dict(network.named_parameters())
    (head,) = (key for key in mine if key.startswith("head.") and mine[key].shape == network.embed.weight.shape)
    assert torch.equal(mine[head], weights[TIED[name][1]].to(mine[head].dtype))
    assert torch.equal(network.embed.weight, weights[TIED[name][2]].to(mine[head].dtype))
    assert not network.config.tied
    kept = logits(path, name)
    edit(path, **{TIED[name][0]: False})
    assert torch.equal(kept, logits(path, name))


@tied_families
@pytest.mark.parametrize("row", [0, -1])
def test_one_row_of_a_head_is_enough_to_differ(name, row, spoilable, monkeypatch):
    from unmask.denoisers import checkpoint

    monkeypatch.setattr(checkpoint, "PORTION_BYTES", 1000)
    path = spoilable(name)

    def change(weights, head, embed):
        weights[head] = weights[embed].clone()
        weights[head][row, -1] += 1

    tie(path, name, change)
    assert not load_denoiser(path).network.config.tied


@tied_families
@pytest.mark.parametrize("kept", ["both", "embedding", "head"])
def test_a_head_that_is_the_embedding_may_be_stored_or_not(name, kept, spoilable):
    path = spoilable(name)

    def change(weights, head, embed):
        weights[head] = weights[embed].clone()
        if kept != "both":
            weights.pop(head if kept == "embedding" else embed)

    tie(path, name, change)
    network = load_denoiser(path).network
    assert network.config.tied
    tensors = {id(value): value for value in network.state_dict(keep_vars=True).values()}
    assert sum(value.shape == network.embed.weight.shape for value in tensors.values()) == 1


@pytest.mark.parametrize("name", ["llada", "dream", "bert", "modern_bert"])
def test_an_untied_head_that_is_not_stored_is_missing(name, spoilable):
    path = spoilable(name)
    edit(path, **{TIED[name][0]: False})
    rewrite(path, lambda weights: weights.pop(TIED[name][1], None))
    with pytest.raises(UserError, match=f"{TIED[name][1].replace('.', '[.]')} is missing"):
        load_denoiser(path)


# ---- weights that are no numbers


@every_family
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_named(name, value, spoilable):
    path = spoilable(name)
    key = max(read_weights(path), key=lambda key: (key.count("."), key))

    def spoil(weights):
        weights[key].view(-1)[-1] = value

    rewrite(path, spoil)
    said = "1 values that are NaN and 0" if math.isnan(value) else "0 values that are NaN and 1"
    with pytest.raises(UserError, match=rf"has {key.replace('.', '[.]')} with {said}.*take an earlier checkpoint"):
        load_denoiser(path)


def test_weights_too_large_for_the_precision_asked_for_are_named(spoilable):
    path = spoilable("dream")

    def spoil(weights):
        weights["model.norm.weight"][3] = 70_000

    rewrite(path, spoil)
    assert load_denoiser(path, dtype=torch.float32)
    with pytest.raises(UserError, match=r"model\.norm\.weight with values up to 7e\+04, too large for float16"):
        load_denoiser(path, dtype=torch.float16)


# ---- rotary bases, wherever they are said


def rope(path, name, **entries):
    older = {"modern_bert": ("global_rope_theta", "local_rope_theta")}.get(name, ("rope_theta",))
    edit(path, **dict.fromkeys((*older, "rope_scaling"), None) | entries)


def base_of(path):
    config = load_denoiser(path).network.config
    return getattr(config, "rope_base", None) or getattr(config, "global_rope_base", 10_000.0)


@pytest.mark.parametrize("name", ["llada", "dream", "smdm", "modern_bert"])
@pytest.mark.parametrize(
    "entries",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}},
        {"rope_parameters": {"rope_theta": 77, "partial_rotary_factor": 1.0}},
        {"rope_parameters": {"type": "default", "rope_type": "default", "rope_theta": 77.0, "factor": 1.0}},
        {"rope_scaling": {"rope_type": "default", "rope_theta": 77.0}},
        {"rope_scaling": {"type": "default"}, "rope_parameters": {"rope_theta": 77.0}},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 77.0}}},
        {"rope_parameters": {"full_attention": {"rope_theta": 77.0}, "sliding_attention": {"rope_theta": 5.0}}},
    ],
)
def test_the_rotary_base_is_read_wherever_it_is_said(name, entries, spoilable):
    path = spoilable(name)
    rope(path, name, **entries)
    assert base_of(path) == 77.0


def test_the_base_of_smdm_goes_by_either_name(spoilable):
    path = spoilable("smdm")
    edit(path, rope_theta=77.0)
    assert base_of(path) == 77.0
    edit(path, rope_base=77)
    assert base_of(path) == 77.0
    edit(path, rope_base=78.0)
    with pytest.raises(UserError, match=r"`rope_base` 78 and `rope_theta` 77, which contradict"):
        load_denoiser(path)


def test_a_local_base_of_null_is_the_global_one(spoilable):
    """So transformers 4 read it; 5 cannot read it at all."""
    path = spoilable("modern_bert")
    values = json.loads((path / "config.json").read_text())
    write_json(path / "config.json", values | {"local_rope_theta": None})
    assert load_denoiser(path).network.config.local_rope_base == 160_000.0
    edit(path, local_rope_theta=None)  # the entry itself
    assert load_denoiser(path).network.config.local_rope_base == 10_000.0


@pytest.mark.parametrize("name", ["llada", "dream", "smdm"])
def test_two_places_may_say_the_same_base_and_not_another(name, spoilable):
    path = spoilable(name)
    same = {"rope_type": "default", "rope_theta": 77}
    edit(path, rope_theta=77.0, rope_parameters=same, rope_scaling=None)
    assert base_of(path) == 77.0
    edit(path, rope_theta=78.0)
    with pytest.raises(UserError, match=r"`rope_theta` 78 and `rope_parameters\.rope_theta` 77, which contradict"):
        load_denoiser(path)


@pytest.mark.parametrize("name", ROTARY)
@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "longrope", "llama3", "proportional", 3])
@pytest.mark.parametrize("where", ["rope_scaling", "rope_parameters"])
def test_stretched_positions_are_refused_by_name(name, kind, where, spoilable):
    path = spoilable(name)
    for key in ("type", "rope_type"):
        rope(path, name, **{where: {key: kind, "factor": 4.0, "rope_theta": 10_000.0}})
        with pytest.raises(UserError, match=f"`{where}` with `{key}` {kind!r} and only 'default'"):
            load_denoiser(path)
        rope(path, name, **{where: None})


@pytest.mark.parametrize("name", ROTARY)
@pytest.mark.parametrize(
    "own",
    [
        {"rope_type": "default", "factor": 2.0}, {"partial_rotary_factor": 0.5}, {"mrope_section": [1, 2]}, 5, "yarn",
        [], {"rope_theta": "x"}, {"rope_theta": float("nan")}, {"rope_theta": True}, {"full_attention": 3},
        {"full_attention": {"rope_type": "yarn"}}, {"rope_theta": -5.0},
    ],
)  # fmt: skip
def test_rotary_entries_that_cannot_be_are_refused(name, own, spoilable):
    path = spoilable(name)
    rope(path, name, rope_parameters=own)
    with pytest.raises(UserError, match=r"rope|rotary"):
        load_denoiser(path)


# ---- what is left out


@every_family
def test_heads_of_other_uses_are_left_out_and_named(name, spoilable, checkpoints):
    path = spoilable(name)
    extra = {"classifier.weight": torch.ones(2, 3), "qa_outputs.bias": torch.ones(2), "score.bias": torch.ones(3)}
    rewrite(path, lambda weights: weights.update(extra))
    with pytest.warns(UserWarning, match=r"left out of .*classifier\.weight, qa_outputs\.bias, score\.bias"):
        found = load_denoiser(path, dtype=torch.float32)
    assert found.card["left out"] == sorted(extra)
    with pytest.warns(UserWarning, match="left out"):
        assert torch.equal(logits(path, name), logits(checkpoints(name), name))


def test_the_pooler_every_bert_has_is_named_without_a_warning(spoilable, recwarn):
    path = spoilable("bert")
    extra = {"bert.pooler.dense.bias": torch.ones(32), "cls.seq_relationship.bias": torch.ones(2)}
    rewrite(path, lambda weights: weights.update(extra | {"bert.embeddings.position_ids": torch.arange(9)[None]}))
    assert load_denoiser(path).card["left out"] == sorted(extra)
    assert not [warning for warning in recwarn if "left out" in str(warning.message)]


@every_family
def test_what_is_of_no_known_use_is_left_out_only_where_it_is_asked_for(name, spoilable):
    path = spoilable(name)
    rewrite(path, lambda weights: weights.update({"aux.proj.weight": torch.ones(2)}))
    with pytest.raises(UserError, match=r"aux\.proj\.weight is left over; .* --ignore-extra leaves them out"):
        load_denoiser(path)
    with pytest.warns(UserWarning, match=r"left out of .*aux\.proj\.weight"):
        assert load_denoiser(path, ignore_extra=True).card["left out"] == ["aux.proj.weight"]


@every_family
def test_nothing_inside_the_network_is_ever_left_out(name, spoilable):
    """A block too many, a bias the configuration does not know, an adapter that was never merged."""
    path = spoilable(name)
    names = read_weights(path)
    stack = next(key.partition("{i}")[0] for key in FAMILIES[name].keys if "{i}" in key)
    block = next(key for key in names if key.startswith(f"{stack}0."))
    for extra in (block.replace(f"{stack}0.", f"{stack}7."), f"{block.rpartition('.')[0]}.lora_A.weight",
                  f"{stack}0.classifier.weight", f"{block.rpartition('.')[0]}.scale"):  # fmt: skip
        copy = path.parent / "copy"
        shutil.copytree(folder_of(path), copy, dirs_exist_ok=True)
        target = copy if path.is_dir() else copy / path.name
        rewrite(target, lambda weights, extra=extra: weights.update({extra: torch.ones(2)}))
        with pytest.raises(UserError, match="left over"):
            load_denoiser(target, ignore_extra=True)
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", [name for name in TINY if name != "smdm"])  # which counts its tensors
def test_more_layers_than_are_stored_are_refused_before_anything_is_built(name, spoilable):
    path = spoilable(name)
    key = {"llada": "n_layers", "mdlm": "n_blocks"}.get(name, "num_hidden_layers")
    for layers in (50, 9_999, 1_000_000, 2**31 - 1, 10**30):
        edit(path, **{key: layers})
        with pytest.raises(UserError, match=r"layers|num_hidden_layers|n_layers|n_blocks"):
            load_denoiser(path)


@every_family
def test_headers_alone_say_all_of_it(name, checkpoints):
    assert all(stored.name == key for key, stored in open_checkpoint(checkpoints(name)).tensors.items())
