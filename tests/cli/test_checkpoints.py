"""Checkpoints of others on the command line: what is left out, adapters, and refusals in one sentence."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ..denoisers.families import tiny_bert, tiny_dream, tiny_mdlm, tiny_smdm
from ..denoisers.families.test_adapter import factors, write_adapter

SAMPLE = ("--budget", 2, "--response-length", 4, "Why?")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    (tmp_path / "bert").mkdir()
    return tiny_bert.write(tmp_path / "bert")


def extend(folder: Path, **tensors: torch.Tensor) -> None:
    file = folder / "model.safetensors"
    save_file(load_file(file) | tensors, file)


def test_heads_of_other_uses_are_named_by_sample_and_inspect(run, bert: Path) -> None:
    extend(bert, **{"cls.species.weight": torch.ones(3, 32)})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        ran = run("sample", "--denoiser", bert, *SAMPLE)
    assert ran.code == 0
    assert "cls.species.weight" in ran.err
    assert ran.err.count("cls.species.weight") == 1
    assert "left out" in run("inspect", bert).out
    assert json.loads(run("inspect", bert, "--json").out)["left_out"] == ["cls.species.weight"]


def test_what_is_of_no_known_use_takes_a_flag(run, refused, bert: Path) -> None:
    extend(bert, **{"aux.proj.weight": torch.ones(3)})
    for words in (("sample", "--denoiser", bert, *SAMPLE), ("inspect", bert)):
        assert "aux.proj.weight is left over" in refused(*words)
        assert "--ignore-extra leaves them out" in refused(*words)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert run(*words, "--ignore-extra").code == 0


def test_an_adapter_is_a_denoiser(run, tmp_path: Path) -> None:
    (tmp_path / "dream").mkdir()
    base = tiny_dream.write(tmp_path / "dream")
    adapter = write_adapter(tmp_path / "adapter", base, factors(base, ["model.layers.0.mlp.up_proj"]))
    assert run("sample", "--denoiser", adapter, "--dtype", "float32", *SAMPLE).code == 0
    assert str(adapter) in run("inspect", adapter).out


def test_our_own_weights_mean_their_folder(run, denoiser: Path) -> None:
    named = (denoiser / "model.safetensors", denoiser)
    file, folder = (json.loads(run("inspect", path, "--json").out) for path in named)
    different = {"name": "", "free": 0, "needs": []}  # what is free changes meanwhile
    assert file | different == folder | different


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.safetensors", "there is no file nowhere.safetensors"),
        ("~/nowhere/model", "there is no folder ~/nowhere/model"),
        ("https://example.org/x", "is not on the hub"),
        ("https://huggingface.co/datasets/a/b", "is no model of the hub"),
    ],
)
def test_what_is_nowhere_is_one_sentence(refused, name: str, said: str) -> None:
    assert said in refused("sample", "--denoiser", name, *SAMPLE)
    assert said in refused("inspect", name)


@pytest.mark.parametrize("tiny", [tiny_smdm, tiny_mdlm])
def test_inspect_says_that_cosines_and_sines_are_rounded(run, tmp_path: Path, tiny) -> None:
    path = tiny.write(tmp_path)
    said = "cosines and sines are rounded to bfloat16, as in the published code"
    assert said in run("inspect", path).out
    config = tmp_path / "config.json"
    values = json.loads(config.read_text()) if config.is_file() else {}
    config.write_text(json.dumps(values | {"rope_bfloat16": False}))
    assert said not in run("inspect", path).out
