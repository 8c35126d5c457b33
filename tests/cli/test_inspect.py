"""`unmask inspect`: what a checkpoint is, from its configuration and headers; no weight is read."""

import json
import struct
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

from unmask.denoisers import needs
from unmask.denoisers.hub import load_denoiser

LLADA_8B = {
    "model_type": "llada", "architectures": ["LLaDAModelLM"], "block_type": "llama", "d_model": 4096, "n_heads": 32,
    "n_kv_heads": 32, "n_layers": 32, "mlp_hidden_size": 12288, "vocab_size": 126464, "embedding_size": 126464,
    "max_sequence_length": 4096, "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "weight_tying": False,
    "mask_token_id": 126336,
}  # fmt: skip


def shapes(config: dict[str, int]) -> dict[str, list[int]]:
    d, hidden, found = config["d_model"], config["mlp_hidden_size"], {}
    for i in range(config["n_layers"]):
        block = f"model.transformer.blocks.{i}"
        found |= {f"{block}.{name}.weight": [d, d] for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        found |= {f"{block}.{name}.weight": [hidden, d] for name in ("ff_proj", "up_proj")}
        found |= {f"{block}.ff_out.weight": [d, hidden]}
        found |= {f"{block}.{name}.weight": [d] for name in ("attn_norm", "ff_norm")}
    found |= {f"model.transformer.{name}.weight": [config["embedding_size"], d] for name in ("wte", "ff_out")}
    return found | {"model.transformer.ln_f.weight": [d]}


def write_hollow(file: Path, tensors: dict[str, list[int]]) -> int:
    """A safetensors file with a true header and weights that take no room on the disk; returns their bytes."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(file, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + at)
    return at


@pytest.fixture
def hollow(tmp_path: Path) -> Path:
    """LLaDA-8B at its full size, 16 GB of nothing."""
    (tmp_path / "config.json").write_text(json.dumps(LLADA_8B))
    assert write_hollow(tmp_path / "model.safetensors", shapes(LLADA_8B)) == 2 * 8_015_581_184
    return tmp_path


def test_it_says_what_an_8b_checkpoint_is_and_needs(run, hollow: Path, monkeypatch) -> None:
    monkeypatch.setattr(needs, "free_bytes", lambda device: 20_000_000_000)
    code, out, err = run("inspect", hollow)
    assert (code, err) == (0, "")
    for said in (
        "llada: LLaDA-8B",
        "8,015,581,184, layers 32, width 4096, heads 32",
        "16.03 GB as bfloat16 in 1 file",
        "126,464, mask token 126336",
        "4,096 positions",
        "20.00 GB free",
    ):
        assert said in out
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert rows["bfloat16"].endswith(": fits")
    assert "32.06 GB" in rows["float32"]
    assert rows["float32"].endswith(": does not fit")


def test_json_says_the_same(run, hollow: Path) -> None:
    found = json.loads(run("inspect", hollow, "--json", "--rows", 2, "--positions", 100).out)
    assert (found["family"], found["parameters"], found["mask_token"]) == ("llada", 8_015_581_184, 126336)
    assert (found["rows"], found["positions"], found["context"]) == (2, 100, 4096)
    assert [need["dtype"] for need in found["needs"]] == ["bfloat16", "float32"]
    assert [need["weights"] for need in found["needs"]] == [2 * 8_015_581_184, 4 * 8_015_581_184]


def test_our_own_format_is_one_too(run, denoiser: Path) -> None:
    found = json.loads(run("inspect", denoiser, "--json").out)
    network = load_denoiser(denoiser).network
    assert found["family"] == "unmask"
    assert found["parameters"] == sum(value.numel() for value in network.parameters())
    assert found["network"] == network.config.to_dict()


def test_a_checkpoint_that_does_not_fit_is_refused_before_it_is_loaded(refused, hollow: Path) -> None:
    (hollow / "config.json").write_text(json.dumps(LLADA_8B | {"n_layers": 31}))
    assert "model.transformer.blocks.31.attn_norm.weight" in refused("inspect", hollow)
    (hollow / "config.json").write_text(json.dumps(LLADA_8B | {"vocab_size": 1000, "embedding_size": None}))
    assert "outside its vocabulary of 1000" in refused("inspect", hollow)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rows", 0), "--rows must be at least 1, got 0"),
        (("--positions", 5000), "a canvas of 5000 positions is longer than the context of 4096"),
        (("--device", "cdua"), "no device `cdua`"),
    ],
)
def test_wrong_values_are_refused(refused, hollow: Path, words: tuple[object, ...], said: str) -> None:
    assert said in refused("inspect", hollow, *words)


def test_a_name_that_is_nothing_is_refused(refused) -> None:
    assert "Did you mean `wordprob`?" in refused("inspect", "wordprb")


def test_of_a_repository_only_the_headers_are_fetched(run, hollow: Path, tmp_path: Path, monkeypatch) -> None:
    asked = {}

    def fetch(name: str, **given: list[str]) -> str:
        asked.update(given)
        return str(hollow)

    tensors = {name: SimpleNamespace(shape=shape, dtype="BF16") for name, shape in shapes(LLADA_8B).items()}
    files = {"model-00001-of-00001.safetensors": SimpleNamespace(tensors=tensors)}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", lambda name: SimpleNamespace(files_metadata=files))
    found = json.loads(run("inspect", "GSAI-ML/LLaDA-8B-Instruct", "--json").out)
    assert (found["family"], found["parameters"]) == ("llada", 8_015_581_184)
    assert not [pattern for pattern in asked["allow_patterns"] if "safetensors" in pattern]


def test_what_a_batch_takes_grows_with_it(hollow: Path, run) -> None:
    def batch(rows: int) -> int:
        return json.loads(run("inspect", hollow, "--json", "--rows", rows).out)["needs"][0]["batch"]

    assert batch(1) < batch(2) < batch(64)


@pytest.mark.parametrize(
    ("name", "chat", "said"),
    [
        ("LLaDA-8B-Instruct", True, "chat: a prompt is a turn, by the chat template; --template changes it"),
        ("LLaDA-8B-Base", True, "bare: prompts are read as they are; --template changes it"),
        ("LLaDA-8B-Instruct", False, "bare: prompts are read as they are; --template changes it"),
    ],
)
def test_how_prompts_are_written_is_shown(run, hollow: Path, name: str, chat: bool, said: str) -> None:
    (hollow / "config.json").write_text(json.dumps(LLADA_8B | {"_name_or_path": name}))
    if chat:
        (hollow / "chat_template.jinja").write_text("{{ messages[0].content }}")
    code, out, err = run("inspect", hollow)
    assert (code, err) == (0, "")
    assert [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("template")] == [said]
    (hollow / "codec.json").write_text('{"template": "Q: {prompt}"}')
    assert json.loads(run("inspect", hollow, "--json").out)["template"] == "Q: {prompt}"


def test_our_own_formats_template_is_shown_too(run, denoiser: Path) -> None:
    assert json.loads(run("inspect", denoiser, "--json").out)["template"] == "{prompt} ->"
