"""What is no checkpoint, is pickled, or lacks a file: one sentence each."""

import json

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers import foreign
from unmask.denoisers.families import FAMILIES


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the file was unpickled",)


def refused(path):
    with pytest.raises(UserError) as caught:
        load_denoiser(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt"])
def test_pickled_weights_are_refused_unopened_with_how_to_convert_them(tmp_path, suffix):
    file = tmp_path / f"pytorch_model{suffix}"
    torch.save({"a": Bomb()}, file)
    (tmp_path / "config.json").write_text('{"model_type": "llada"}')
    for path in (file, tmp_path):
        said = refused(path)
        assert file.name in said
        assert "convert them to safetensors" in said
        assert "docs/guides/checkpoints.md" in said


def test_pickles_beside_safetensors_are_left_alone(spoilable):
    folder = spoilable("llada")
    torch.save({"a": Bomb()}, folder / "pytorch_model.bin")
    load_denoiser(folder)


@pytest.mark.parametrize(
    ("config", "near"),
    [
        ({"model_type": "llada2", "architectures": ["LLaDA2Moe"]}, "The nearest: llada"),
        ({"model_type": "dreams"}, "The nearest: dream"),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "Families: "),
    ],
)
def test_an_unknown_architecture_says_which_families_there_are(spoilable, config, near):
    folder = spoilable("llada")
    (folder / "config.json").write_text(json.dumps(config))
    said = refused(folder)
    assert f"unknown architecture `{config['model_type']}`" in said
    assert near in said
    assert all(name in said for name in FAMILIES)
    assert "how to write an adapter" in said


def test_tensors_of_no_family_without_a_config_are_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert "its tensors are of no known family" in refused(tmp_path)


def test_a_missing_shard_is_named(spoilable):
    folder = spoilable("llada")
    (folder / "model-00002-of-00002.safetensors").unlink()
    said = refused(folder)
    assert "1 of 2 shards" in said
    assert "model-00002-of-00002.safetensors" in said


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {"a": 5}}', '{"weight_map": ['])
def test_a_damaged_index_is_named(spoilable, content):
    folder = spoilable("dream")
    (folder / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json is damaged" in refused(folder)


def test_a_damaged_config_is_named(spoilable):
    folder = spoilable("dream")
    (folder / "config.json").write_text('{"model_type": "Dr')
    assert "config.json is damaged" in refused(folder)


def test_an_empty_folder_is_no_checkpoint(tmp_path):
    assert "there are no safetensors in" in refused(tmp_path)


def test_a_file_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    assert "give the folder of the denoiser, or a safetensors file" in refused(tmp_path / "weights.gguf")


def test_weights_that_are_another_file_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    assert "model.safetensors is damaged or not safetensors" in refused(tmp_path)


def test_a_quantised_checkpoint_is_refused(spoilable):
    folder = spoilable("llada")
    for file in folder.glob("*.safetensors"):
        save_file({name: value.to(torch.int8) for name, value in load_file(file).items()}, file)
    assert "is stored as I8, not as one of F64, F32, F16, BF16" in refused(folder)


def test_a_repository_on_the_hub_is_recognised_like_a_folder(checkpoints, monkeypatch):
    asked = {}

    def fetch(name, **given):
        asked.update(given)
        return str(checkpoints("dream"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert load_denoiser("someone/dream").network.config.shifted
    assert asked["ignore_patterns"] == ["*/*"]  # other checkpoints of the repository
    assert {"*.json", "merges.txt", "*.safetensors"} <= {*asked["allow_patterns"]}


def test_weights_larger_than_what_is_free_are_warned_of(checkpoints, monkeypatch):
    monkeypatch.setattr(foreign, "free_bytes", lambda device: 1000)
    with pytest.warns(UserWarning, match="GB are free on cpu; `unmask inspect .*llada` says what would fit"):
        load_denoiser(checkpoints("llada"))
    monkeypatch.setattr(foreign, "free_bytes", lambda device: None)
    load_denoiser(checkpoints("llada"))
