"""LoRA adapters of peft on the checkpoint they were made from: the arithmetic, every family's names, refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers import checkpoint
from unmask.denoisers.families import FAMILIES
from unmask.denoisers.hub import find_checkpoint
from unmask.denoisers.needs import examine

from .entries import TINY
from .test_as_found import TIED, edit, folder_of, logits
from .tiny import read_weights, rewrite, write_json

every_family = pytest.mark.parametrize("name", TINY)
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", "fan_in_fan_out": False, "use_dora": False,
          "use_rslora": False, "inference_mode": True, "modules_to_save": None, "rank_pattern": {}, "alpha_pattern": {},
          "target_modules": ["query"], "task_type": None, "init_lora_weights": True}  # fmt: skip


def matrices(path):
    """Modules that have a matrix, head and embedding left out."""
    names = [key for key, value in read_weights(path).items() if value.dim() == 2 and ".0." in key]
    return [key.removesuffix(".weight") for key in names if key.endswith(".weight")]


def factors(path, modules, rank=2):
    generator = torch.Generator().manual_seed(5)
    shapes = {key: value.shape for key, value in read_weights(path).items()}
    found = {}
    for module in modules:
        rows, columns = shapes[f"{module}.weight"]
        found[f"{module}.lora_A.weight"] = torch.randn(rank, columns, generator=generator) * 0.2
        found[f"{module}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) * 0.2
    return found


def write_adapter(folder, base, tensors, **entries):
    folder.mkdir(exist_ok=True)
    write_json(folder / "adapter_config.json", CONFIG | {"base_model_name_or_path": str(base)} | entries)
    named = {f"base_model.model.{key}": value for key, value in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    return folder


def added(path, tensors, scale):
    """The base with the products added by hand, in float64."""

    def add(weights):
        for key in [key for key in tensors if ".lora_A." in key]:
            module = key.removesuffix(".lora_A.weight")
            product = tensors[f"{module}.lora_B.weight"].double() @ tensors[key].double()
            weights[f"{module}.weight"] = (weights[f"{module}.weight"].double() + scale * product).float()

    rewrite(path, add)


@every_family
@pytest.mark.parametrize(
    ("entries", "scale"),
    [({}, 3.0), ({"use_rslora": True}, 6 / 2**0.5), ({"lora_alpha": 1}, 0.5), ({"alpha_pattern": {".*": 8}}, 4.0)],
)
def test_factors_are_multiplied_into_the_base(name, entries, scale, checkpoints, spoilable, tmp_path):
    base = checkpoints(name)
    tensors = factors(base, matrices(base))
    adapter = write_adapter(tmp_path / "adapter", base, tensors, **entries)
    found = load_denoiser(adapter, dtype=torch.float32)
    path = spoilable(name)
    added(path, tensors, scale)
    torch.testing.assert_close(logits(adapter, name), logits(path, name), rtol=1e-5, atol=2e-4)
    difference = logits(adapter, name) - logits(base, name)  # NaN where a token is impossible
    assert difference.nan_to_num().abs().max() > 0.1
    assert found.card["adapter"] == str(adapter)


PEFT = {
    "patterns": {
        "target_modules": ["query", "value", "intermediate.dense"], "use_rslora": True,
        "rank_pattern": {"layer.1.attention.self.query": 2}, "alpha_pattern": {"value": 30},
        "modules_to_save": ["transform"],
    },
    "the head": {"target_modules": ["decoder"]},
    "the embedding": {"target_modules": ["word_embeddings"]},
    "both": {"target_modules": ["word_embeddings", "decoder"]},
    "a saved head": {"target_modules": ["query"], "modules_to_save": ["decoder"]},
    "a saved embedding": {"target_modules": ["query"], "modules_to_save": ["word_embeddings"]},
    "their biases": {"target_modules": ["query"], "bias": "lora_only"},
    "all biases": {"target_modules": ["query"], "bias": "all"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", PEFT)
def test_it_is_what_peft_makes_of_it(how, checkpoints, tmp_path):
    """Head and embedding of the base are one; what is not merged there is not, here either."""
    from peft import LoraConfig, get_peft_model
    from transformers import BertForMaskedLM

    base = checkpoints("bert")
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=12, **PEFT[how])
    model = get_peft_model(BertForMaskedLM.from_pretrained(base), config)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "lora_" in key or value.requires_grad:
                value.add_(torch.randn(value.shape) * 0.2)
    model.save_pretrained(tmp_path)
    edit_adapter(tmp_path, base_model_name_or_path=str(base))
    merged = model.eval()
    tokens = torch.randint(5, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    from unmask.core.canvas import Canvas

    masked = tokens % 2 == 0
    with torch.no_grad():
        theirs = merged(tokens.masked_fill(masked, TINY["bert"].mask)).logits[masked]
    ours = load_denoiser(tmp_path, dtype=torch.float32)(Canvas.make(tokens, masked, 2)).logits(slice(None))
    possible = ours[0].isfinite()
    assert possible.sum() >= 255
    torch.testing.assert_close(ours[:, possible], theirs[:, possible], rtol=1e-4, atol=1e-4)


def edit_adapter(folder, **entries):
    path = folder / "adapter_config.json"
    write_json(path, json.loads(path.read_text()) | entries)


@pytest.fixture
def adapter(checkpoints, tmp_path):
    """On a tiny Dream, one matrix of it."""
    base = checkpoints("dream")
    return write_adapter(tmp_path / "adapter", base, factors(base, ["model.layers.1.self_attn.q_proj"]))


def tensors_of(adapter):
    return load_file(adapter / "adapter_model.safetensors")


def retensor(adapter, change):
    tensors = tensors_of(adapter)
    change(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors")


def test_the_file_and_the_configuration_mean_the_adapter_too(adapter):
    whole = logits(adapter, "dream")
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert torch.equal(logits(adapter / file, "dream"), whole)


def test_in_pieces_of_any_size_the_same_is_added(adapter, monkeypatch):
    from unmask.denoisers import streaming

    whole = load_denoiser(adapter, dtype=torch.float32).network.state_dict()
    monkeypatch.setattr(streaming, "PORTION_BYTES", 300)
    monkeypatch.setattr(checkpoint, "PORTION_BYTES", 300)
    pieces = load_denoiser(adapter, dtype=torch.float32).network.state_dict()
    assert all(torch.allclose(value, whole[key], rtol=0, atol=1e-6) for key, value in pieces.items())


def test_a_base_is_found_beside_the_adapter_and_the_adapters_tokenizer_is_used(adapter, checkpoints, tmp_path):
    import shutil

    shutil.copytree(checkpoints("dream"), adapter / "base")
    edit_adapter(adapter, base_model_name_or_path="base")
    whole = logits(adapter, "dream")
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.move(adapter / "base" / file, adapter / file)
    assert torch.equal(logits(adapter, "dream"), whole)


def test_modules_that_were_saved_whole_take_the_place_of_the_bases(adapter, checkpoints):
    new = torch.randn(read_weights(checkpoints("dream"))["lm_head.weight"].shape)
    retensor(adapter, lambda tensors: tensors.update({"base_model.model.lm_head.weight": new}))
    assert torch.equal(load_denoiser(adapter, dtype=torch.float32).network.head.weight, new)


def test_a_saved_head_unties_it_and_a_saved_embedding_leaves_the_head_as_it_was(adapter, spoilable):
    base = spoilable("dream")
    edit(base, tie_word_embeddings=True)
    rewrite(base, lambda weights: weights.pop("lm_head.weight"))
    edit_adapter(adapter, base_model_name_or_path=str(base))
    old = read_weights(base)["model.embed_tokens.weight"]
    new = torch.randn(old.shape)
    for key, head, embed in (("lm_head", new, old), ("model.embed_tokens", old, new)):
        retensor(adapter, lambda tensors, key=key: tensors.update({f"base_model.model.{key}.weight": new}))
        network = load_denoiser(adapter, dtype=torch.float32).network
        assert torch.equal(network.head.weight, head)
        assert torch.equal(network.embed.weight, embed)
        retensor(adapter, lambda tensors, key=key: tensors.pop(f"base_model.model.{key}.weight"))


def test_factors_of_an_embedding_are_added_turned(adapter, checkpoints):
    weight = read_weights(checkpoints("dream"))["model.embed_tokens.weight"]
    a, b = torch.randn(2, weight.shape[0]), torch.randn(weight.shape[1], 2)
    name = "base_model.model.model.embed_tokens.lora_embedding_"
    retensor(adapter, lambda tensors: tensors.update({f"{name}A": a, f"{name}B": b}))
    network = load_denoiser(adapter, dtype=torch.float32).network
    torch.testing.assert_close(network.embed.weight.data, weight + 3 * (b @ a).T, rtol=1e-5, atol=1e-5)


def test_inspect_says_that_there_is_an_adapter(adapter):
    assert examine(str(adapter), find_checkpoint(str(adapter))).adapter == str(adapter)


def drop(suffix):
    return lambda adapter: retensor(adapter, lambda tensors: [tensors.pop(k) for k in list(tensors) if suffix in k])


def put(name, value):
    return lambda adapter: retensor(adapter, lambda tensors: tensors.update({f"base_model.model.{name}": value}))


Q = "model.layers.1.self_attn.q_proj"
WRONGS = {
    "no base": (lambda a: edit_adapter(a, base_model_name_or_path=None), "has no `base_model_name_or_path`"),
    "a base that is no text": (lambda a: edit_adapter(a, base_model_name_or_path=[1]), "has no `base_model_name"),
    "a base that is gone": (lambda a: edit_adapter(a, base_model_name_or_path="./go/it"), "there is no folder ./go"),
    "itself": (lambda a: edit_adapter(a, base_model_name_or_path=str(a)), "there are no safetensors in"),
    "another base": (lambda a: edit_adapter(a, base_model_name_or_path="wordprob"), "is no part of the base"),
    "one under two names": (
        lambda a: retensor(a, lambda t: t.update({k.replace("q_proj", "module.q_proj"): v + 1 for k, v in t.items()})),
        "which are one by their names",
    ),
    "another kind": (lambda a: edit_adapter(a, peft_type="IA3"), "`peft_type` 'IA3', and only LORA"),
    "dora": (lambda a: edit_adapter(a, use_dora=True), "`use_dora` True, which cannot be merged here"),
    "turned": (lambda a: edit_adapter(a, fan_in_fan_out=True), "`fan_in_fan_out` True, which cannot be merged"),
    "a bias": (lambda a: edit_adapter(a, lora_bias=True), "`lora_bias` True"),
    "replicated": (lambda a: edit_adapter(a, layer_replication=[[0, 2]]), "`layer_replication`"),
    "pissa": (lambda a: edit_adapter(a, init_lora_weights="pissa"), "`init_lora_weights` 'pissa', which changes"),
    "no rank": (lambda a: edit_adapter(a, r=None), "adapter_config.json has no `r`"),
    "half a rank": (lambda a: edit_adapter(a, r=1.5), "`r` 1.5"),
    "rank nought": (lambda a: edit_adapter(a, r=0), "with r = 0 they should be"),
    "another rank": (lambda a: edit_adapter(a, r=8), r"factors of shape \[2, 32\] and \[32, 2\] .* with r = 8"),
    "alpha as text": (lambda a: edit_adapter(a, lora_alpha="6"), "`lora_alpha` '6'"),
    "alpha below nought": (lambda a: edit_adapter(a, lora_alpha=-1.0), "`lora_alpha` -1 .* should not be negative"),
    "a root that is a word": (lambda a: edit_adapter(a, use_rslora="x"), "`use_rslora` 'x'"),
    "alpha that is NaN": (lambda a: edit_adapter(a, lora_alpha=float("nan")), "`lora_alpha` nan"),
    "a pattern that is none": (lambda a: edit_adapter(a, alpha_pattern={"(": 1}), "which is no pattern"),
    "a pattern of text": (lambda a: edit_adapter(a, rank_pattern={"q": "x"}), "should hold numbers"),
    "a pattern that is a list": (lambda a: edit_adapter(a, rank_pattern=[1]), "`rank_pattern`"),
    "one factor": (drop("lora_B"), f"one of the two factors of .*{Q} only"),
    "no factors": (drop("lora_"), "holds no tensors of an adapter"),
    "a module that is none": (put("model.layers.9.q.lora_A.weight", torch.ones(2, 32)), "factors for .*layers.9.q"),
    "a tensor that is none": (put("model.foo.weight", torch.ones(2)), "neither a factor nor a tensor of the base"),
    "a magnitude": (put(f"{Q}.lora_magnitude_vector", torch.ones(32)), "DoRA cannot be merged here"),
    "another shape": (put(f"{Q}.lora_A.weight", torch.ones(2, 31)), r"factors of shape \[2, 31\]"),
    "whole numbers": (put(f"{Q}.lora_A.weight", torch.ones(2, 32).int()), "as I32, not as one of"),
    "no number": (put(f"{Q}.lora_A.weight", torch.full((2, 32), float("nan"))), "with 64 values that are NaN"),
    "no tensors file": (lambda a: (a / "adapter_model.safetensors").unlink(), "there is no adapter_model.safetensors"),
    "pickled": (
        lambda a: (a / "adapter_model.safetensors").rename(a / "adapter_model.bin"),
        "adapter_model.bin is pickled and never opened",
    ),
    "no configuration": (lambda a: (a / "adapter_config.json").unlink(), "there is no adapter_config.json"),
    "a list of configurations": (lambda a: (a / "adapter_config.json").write_text("[]"), "holds a list, not an object"),
    "a cut file": (lambda a: (a / "adapter_model.safetensors").write_bytes(b"\x09" * 30), "damaged or not safetensors"),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_an_adapter_that_cannot_be_merged_is_refused_by_name(adapter, wrong):
    spoil, said = WRONGS[wrong]
    spoil(adapter)
    with pytest.raises(UserError, match=said) as caught:
        load_denoiser(adapter)
    assert "\n" not in str(caught.value)


@every_family
def test_full_weights_and_an_adapter_in_one_folder_are_not_guessed_at(name, spoilable, checkpoints):
    path = spoilable(name)
    folder = folder_of(path)
    tensors = factors(path, matrices(path)[:1])
    write_adapter(folder, checkpoints(name), tensors)
    with pytest.raises(UserError, match=r"has full weights .* and an adapter .*: which is meant\? Give"):
        load_denoiser(folder)
    merged = logits(folder / "adapter_model.safetensors", name)
    assert not torch.equal(merged, logits(checkpoints(name), name))
    if path.is_file() or (folder / "model.safetensors").is_file():  # a file that is named is the one that is meant
        file = path if path.is_file() else folder / "model.safetensors"
        assert torch.equal(logits(file, name), logits(checkpoints(name), name))
    edit_adapter(folder, base_model_name_or_path=str(path))
    assert torch.equal(logits(folder / "adapter_model.safetensors", name), merged)


def head_of(network):
    return getattr(network.head, "decoder", network.head).weight


@pytest.fixture(params=[(name, kept) for name in TIED for kept in ("both", "head", "embedding")], ids="-".join)
def tied_base(request, spoilable):
    """A base with one tensor for head and embedding, the names of the two, and that tensor."""
    name, kept = request.param
    entry, head, embedding = TIED[name]
    base = spoilable(name)
    edit(base, **{entry: True})

    def keep(weights):
        weights[head] = weights[embedding].clone()
        if kept != "both":
            weights.pop(head if kept == "embedding" else embedding)

    rewrite(base, keep)
    weights = read_weights(base)
    return base, head, embedding, weights.get(head, weights.get(embedding))


def test_factors_of_a_tied_head_untie_it(tied_base, tmp_path):
    base, head, _, whole = tied_base
    module = head.removesuffix(".weight")
    down, up = torch.randn(2, whole.shape[1]), torch.randn(whole.shape[0], 2)
    adapter = write_adapter(
        tmp_path / "adapter", base, {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}
    )
    network = load_denoiser(adapter, dtype=torch.float32).network
    assert torch.equal(network.embed.weight, whole)
    torch.testing.assert_close(head_of(network).data, whole + 3 * up @ down)
    assert examine(str(adapter), find_checkpoint(str(adapter))).adapter == str(adapter)


def test_factors_of_a_tied_embedding_leave_the_head_as_it_was(tied_base, tmp_path):
    base, _, embedding, whole = tied_base
    module = f"{embedding.removesuffix('.weight')}.lora_embedding_"
    down, up = torch.randn(2, whole.shape[0]), torch.randn(whole.shape[1], 2)
    adapter = write_adapter(tmp_path / "adapter", base, {f"{module}A": down, f"{module}B": up})
    network = load_denoiser(adapter, dtype=torch.float32).network
    assert torch.equal(head_of(network), whole)
    torch.testing.assert_close(network.embed.weight.data, whole + 3 * (up @ down).T)


def test_of_a_tied_pair_that_was_saved_whole_the_other_stays(tied_base, tmp_path):
    base, head, embedding, whole = tied_base
    for key in (head, embedding):
        new = torch.randn(whole.shape)
        network = load_denoiser(write_adapter(tmp_path / key, base, {key: new}), dtype=torch.float32).network
        assert torch.equal(head_of(network), new if key == head else whole)
        assert torch.equal(network.embed.weight, new if key == embedding else whole)


def test_a_pair_that_peft_ties_again_is_refused(tied_base, tmp_path):
    base, head, _, whole = tied_base
    adapter = write_adapter(tmp_path / "adapter", base, {head: whole + 1}, ensure_weight_tying=True)
    with pytest.raises(UserError, match=r"`ensure_weight_tying` true .* head and embedding are one"):
        load_denoiser(adapter)


# ---- a base of our own format, and what `unmask learn` writes

OWN = ["blocks.1.attention.query", "blocks.0.feed_forward.up"]


@pytest.fixture
def own(checkpoints, tmp_path):
    """The tiny Dream in our own format."""
    from unmask.denoisers.folder import save_denoiser

    save_denoiser(load_denoiser(checkpoints("dream"), dtype=torch.float32), tmp_path / "own")
    return tmp_path / "own"


def test_an_adapter_on_a_denoiser_of_our_own_format_is_merged(own, tmp_path):
    tensors = factors(own, OWN)
    adapter = write_adapter(tmp_path / "adapter", own, tensors)
    found, plain = load_denoiser(adapter), load_denoiser(own).network.state_dict()
    for module in OWN:
        plain[f"{module}.weight"] += 3 * tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]
    for name, value in found.network.state_dict().items():
        torch.testing.assert_close(value, plain[name], msg=name)
    assert found.card["adapter"] == str(adapter)
    assert examine(str(adapter), find_checkpoint(str(adapter))).adapter == str(adapter)
    with pytest.raises(UserError, match="none is to be begun"):
        load_denoiser(adapter, new_head=1)


def test_factors_under_our_names_are_those_of_any_base(own, checkpoints, tmp_path):
    """`unmask learn` writes them so, whatever the denoiser was loaded from."""
    tensors = factors(own, OWN)
    one, other = (
        load_denoiser(write_adapter(tmp_path / f"on {base.name}", base, tensors), dtype=torch.float32).network
        for base in (own, checkpoints("dream"))
    )
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], msg=name)


@pytest.mark.slow
def test_what_learn_saves_is_the_denoiser_with_the_factors_multiplied_in(own, tmp_path):
    from unmask.train.lora import add_factors, merge_factors, save_factors

    network = load_denoiser(own).network
    add_factors(network, 3, seed=0)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if ".lora_B." in name:
                value.normal_(generator=torch.Generator().manual_seed(len(name)))
    save_factors(network, 3, tmp_path / "adapter")
    merge_factors(network)
    with pytest.raises(UserError, match="has no `base_model_name_or_path`; write there which checkpoint"):
        load_denoiser(tmp_path / "adapter")
    edit_adapter(tmp_path / "adapter", base_model_name_or_path=str(own))
    found = load_denoiser(tmp_path / "adapter").network.state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_every_family_is_tried():
    assert set(TINY) == set(FAMILIES)


def test_an_adapter_beside_a_denoiser_of_our_own_is_not_passed_over(checkpoints, tmp_path):
    from unmask.denoisers.folder import save_denoiser

    save_denoiser(load_denoiser(checkpoints("dream"), dtype=torch.float32), tmp_path / "own")
    tensors = factors(checkpoints("dream"), ["model.layers.1.self_attn.q_proj"])
    write_adapter(tmp_path / "own", checkpoints("dream"), tensors)
    for look in (load_denoiser, lambda name: find_checkpoint(str(name))):
        with pytest.raises(UserError, match=r"has full weights .* and an adapter .*: which is meant\?"):
            look(tmp_path / "own")
