"""What a folder is called: in any spelling, and by name where it is none of ours."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import open_checkpoint
from unmask.denoisers.families import FAMILIES, recognise
from unmask.denoisers.hub import find_checkpoint
from unmask.denoisers.needs import examine

from .entries import TINY
from .test_as_found import edit, folder_of, logits
from .tiny import read_weights, rewrite, write_json

every_family = pytest.mark.parametrize("name", TINY)
NAMED = ("llada", "dream", "mdlm", "bert", "modern_bert")


def refused(path, **given):
    with pytest.raises(UserError) as caught:
        load_denoiser(path, **given)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError):
        examine(str(path), find_checkpoint(str(path)))
    return str(caught.value)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_case_does_not_matter(name, change, spoilable, checkpoints):
    path = spoilable(name)
    config = json.loads((path / "config.json").read_text())
    edit(path, model_type=change(config["model_type"]), architectures=[change(one) for one in config["architectures"]])
    assert recognise(open_checkpoint(path)) == name
    assert torch.equal(logits(path, name), logits(checkpoints(name), name))


@pytest.mark.parametrize("name", NAMED)
def test_a_configuration_need_not_name_a_class(name, spoilable):
    path = spoilable(name)
    for given in (None, [], ""):
        edit(path, architectures=given)
        assert recognise(open_checkpoint(path)) == name


@every_family
@pytest.mark.parametrize("given", [5, {"a": 1}, [5], [["LLaDAModelLM"]], True, 1.5])
def test_classes_that_are_none_are_refused(name, given, spoilable):
    path = spoilable(name)
    edit(path, architectures=given, model_type="llada")
    assert "`architectures`" in refused(path)


@every_family
@pytest.mark.parametrize("given", [5, ["llada"], {"llada": 1}, True])
def test_a_type_that_is_none_is_refused(name, given, spoilable):
    path = spoilable(name)
    edit(path, model_type=given)
    assert "unknown architecture" in refused(path)


@pytest.mark.parametrize(
    ("kind", "architecture", "said"),
    [
        ("llama", "LlamaForCausalLM", "autoregressive"),
        ("gpt2", "GPT2LMHeadModel", "autoregressive"),
        ("qwen2", "Qwen2ForCausalLM", "autoregressive"),
        ("qwen2", None, "autoregressive"),
        ("somebody", "SomebodyForCausalLM", "autoregressive"),
        ("t5", "T5ForConditionalGeneration", "an encoder and a decoder"),
        ("roberta", "RobertaForSequenceClassification", "classifies"),
        ("llada", "LLaDAMoEModelLM", "of that type only LLaDAModelLM and LLaDAModel can be read"),
        ("Dream", "DreamForCausalLM", "of that type only DreamModel can be read"),
    ],
)
def test_a_model_of_another_kind_is_named_for_what_it_is(spoilable, kind, architecture, said):
    path = spoilable("llada")
    edit(path, model_type=kind, architectures=[architecture] if architecture else None)
    told = refused(path)
    assert f"unknown architecture `{kind}`" in told
    assert said in told
    assert all(name in told for name in FAMILIES)


@every_family
def test_without_a_model_type_the_class_says_what_it_is(name, spoilable, checkpoints):
    path = spoilable(name)
    edit(path, model_type=None)
    assert torch.equal(logits(path, name), logits(checkpoints(name), name))


@pytest.mark.parametrize("classes", [None, [], ["Unheard"]])
def test_a_configuration_that_says_neither_is_told_what_is_missing(spoilable, classes):
    path = spoilable("bert")
    edit(path, model_type=None, architectures=classes)
    told = refused(path)
    assert "has no `model_type`" in told
    assert "write there what it is" in told


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_dreamon_is_refused_by_name(spoilable, file):
    path = spoilable("dream")
    values = json.loads((path / file).read_text()) if (path / file).is_file() else {}
    write_json(path / file, values | {"expand_token_id": 267})
    assert "this is DreamOn (`expand_token_id` 267)" in refused(path)
    write_json(path / file, values | {"expand_token_id": None})
    load_denoiser(path)


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": {"268": {"content": "<|expand|>", "special": True}}}),
        ("tokenizer_config.json", {"additional_special_tokens": ["<|expand|>"]}),
        ("special_tokens_map.json", {"additional_special_tokens": ["<|expand|>"]}),
        ("added_tokens.json", {"<|expand|>": 268}),
        ("tokenizer.json", {"added_tokens": [{"id": 268, "content": "<|expand|>"}]}),
        ("vocab.json", {"<|expand|>": 268}),
    ],
)
def test_dreamon_is_known_by_its_tokenizer_too(spoilable, file, entry):
    path = spoilable("dream")
    values = json.loads((path / file).read_text()) if (path / file).is_file() else {}
    write_json(path / file, values | entry)
    assert f"this is DreamOn (token <|expand|> in {file})" in refused(path)


# ---- quantised weights

QUANTISED = {
    "gptq": ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bits"),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq, 4 bits"),
    "bitsandbytes": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes, 4 bits"),
    "bitsandbytes 8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes, 8 bits"),
    "fp8": ({"quant_method": "fp8", "fmt": "e4m3"}, "fp8, e4m3"),
    "compressed": ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
    "mlx": ({"group_size": 64, "bits": 4}, "4 bits"),
    "a word": ("gptq", "gptq"),
}


@every_family
@pytest.mark.parametrize("how", QUANTISED)
def test_a_quantised_configuration_is_called_so(name, how, spoilable):
    path, (about, said) = spoilable(name), QUANTISED[how]
    edit(path, **{"quantization" if how == "mlx" else "quantization_config": about})
    told = refused(path)
    assert "is quantised: config.json has `quantization" in told
    assert said in told


@every_family
@pytest.mark.parametrize(
    "suffix", ["qweight", "qzeros", "scales", "g_idx", "weight_scale", "weight_scale_inv", "weight_packed",
               "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4", "SCB"],
)  # fmt: skip
def test_quantised_tensors_are_called_so(name, suffix, spoilable):
    path = spoilable(name)
    weight = max((key for key in read_weights(path) if key.endswith(".weight")), key=lambda key: (key.count("."), key))
    extra = {weight.removesuffix("weight") + suffix: torch.zeros(2, dtype=torch.int32)}
    rewrite(path, lambda weights: weights.update(extra))
    assert "is quantised: it has" in refused(path)
    assert "is quantised: it has" in refused(path, ignore_extra=True)


@every_family
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8, torch.int32])
def test_weights_of_few_bits_are_called_quantised(name, dtype, spoilable):
    path = spoilable(name)
    key = max(read_weights(path), key=lambda key: (key.count("."), key))
    rewrite(path, lambda weights: weights.update({key: weights[key].to(dtype)}))
    told = refused(path)
    assert f"{key} is stored as" in told
    assert "it is quantised" in told


# ---- files that are something else


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "pointer of git-lfs.*git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head>", "web page"),
        (b"<html>", "web page"),
        (b"", "it is empty"),
        (b"PK\x03\x04\x00\x00", "zip archive"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b'{"error": "Invalid credentials"}', "damaged or not safetensors"),
        (b"\x00" * 7, "damaged or not safetensors"),
        (b"\xff" * 100, "damaged or not safetensors"),
    ],
)
@every_family
def test_weights_that_are_another_file_are_named_for_what_they_are(name, content, said, spoilable):
    path = spoilable(name)
    file = path if path.is_file() else sorted(path.glob("*.safetensors"))[-1]
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"{file.name} is damaged or not safetensors.*{said}|{said}") as caught:
        load_denoiser(path)
    assert "\n" not in str(caught.value)


def test_pointers_of_git_lfs_in_place_of_a_tokenizer_are_named(spoilable):
    path = spoilable("llada")
    (path / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "tokenizer.json is damaged: it is a pointer of git-lfs" in refused_load(path)


def refused_load(path):
    with pytest.raises(UserError) as caught:
        load_denoiser(path)
    return str(caught.value)


def test_gguf_alone_is_named(tmp_path):
    (tmp_path / "model-q4.gguf").write_bytes(b"GGUF")
    assert "GGUF is quantised; give what it was made from" in refused_load(tmp_path)


def test_weights_that_are_left_of_a_bert_for_another_use_lack_their_head(spoilable):
    path = spoilable("bert")
    edit(path, architectures=["BertForSequenceClassification"])
    weights = {key: value for key, value in read_weights(path).items() if not key.startswith("cls.")}
    save_file(weights | {"classifier.weight": torch.ones(2, 32)}, path / "model.safetensors")
    assert "saved without their output head" in refused_load(path)
    assert load_file(path / "model.safetensors")
    assert folder_of(path) == path
