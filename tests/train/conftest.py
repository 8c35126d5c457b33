"""Forty word problems on disk, and runs over them that take a fraction of a second."""

import json

import pytest
import torch

from unmask.denoisers.codec import Codec
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.tasks import make_task
from unmask.train.fit import FitConfig
from unmask.train.learn_config import LearnConfig


@pytest.fixture(scope="session")
def examples():
    return make_task("wordprob").examples("train")[:40]


@pytest.fixture(scope="session")
def data(examples, tmp_path_factory):
    """A folder for the task `jsonl`."""
    folder = tmp_path_factory.mktemp("data")
    lines = [json.dumps({"prompt": e.prompt, "response": e.response}) + "\n" for e in examples]
    (folder / "train.jsonl").write_text("".join(lines))
    return str(folder)


@pytest.fixture(scope="session")
def codec(examples):
    return Codec.train((text for e in examples for text in (e.prompt + " ->", e.response)), 400)


@pytest.fixture
def fit_config(data):
    return FitConfig(
        task="jsonl", data=data, updates=6, rows=4, warmup=2, vocabulary=300, layers=1, width=16, heads=2, hidden=24,
        context=250, precision="fp32",
    )  # fmt: skip


@pytest.fixture
def learn_config(data):
    return LearnConfig(
        task="jsonl", data=data, texts="data", budgets=(2, 4), bound_updates=3, policy_updates=3, rows=2, samples=2,
        warmup=2, width=16, layers=1, precision="fp32",
    )  # fmt: skip


@pytest.fixture
def make_denoiser(codec):
    """A fresh small denoiser of strong opinions, the same each time."""
    config = TransformerConfig(codec.vocabulary, codec.mask_token, 160, layers=1, width=16, heads=2, hidden=24)

    def make() -> TextDenoiser:
        network = Transformer(config).initialise(torch.Generator().manual_seed(0)).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(8 if parameter.dim() > 1 else 1)
        return TextDenoiser(network, codec, response_length=56)

    return make


@pytest.fixture
def crash_at(monkeypatch):
    """`crash_at(module, n)`: the n-th update of a run of that module dies, n counted from 1."""

    def arrange(module, update: int) -> None:
        real, seen = module.clip_gradient, [0]

        def clip(*args):
            seen[0] += 1
            if seen[0] == update:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(module, "clip_gradient", clip)

    return arrange
