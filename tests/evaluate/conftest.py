"""A small random denoiser, and a task whose judge needs no good answers."""

import zlib
from dataclasses import dataclass, field

import pytest
import torch

from unmask.denoisers.codec import Codec
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.samplers import Budgeted, Threshold
from unmask.tasks import make_task
from unmask.tasks.wordprob import WordProblems


@dataclass(frozen=True)
class Judged(WordProblems):
    """Word problems, where an answer is right if its hash says so: about one in three, whatever the text."""

    def correct(self, text, example):
        return zlib.crc32((text + example.id).encode()) % 3 == 0


@dataclass
class Counted:
    """A `TextDenoiser` that counts its calls."""

    inner: TextDenoiser
    calls: int = 0

    def __call__(self, canvas):
        self.calls += 1
        return self.inner(canvas)

    def __getattr__(self, name):
        return getattr(self.inner, name)


@dataclass
class Thrifty:
    """Stands in for a learned order: a threshold at a low level, within the budget."""

    level: float = 0.03
    asked: list = field(default_factory=list)

    def unmasker(self, budget, one_per_step=False):
        self.asked.append(budget)
        return Budgeted(Threshold(1.0), exact=True) if one_per_step else Threshold(self.level)


@pytest.fixture(scope="session")
def text_denoiser():
    examples = make_task("wordprob").examples("train")[:60]
    codec = Codec.train([text for e in examples for text in (e.prompt, e.response)], 330)
    config = TransformerConfig(codec.vocabulary, codec.mask_token, 320, layers=1, width=32, heads=2, hidden=48)
    network = Transformer(config).initialise(torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():  # weights large enough to have opinions
        for parameter in network.parameters():
            parameter.mul_(8 if parameter.dim() > 1 else 1)
    return TextDenoiser(network, codec, response_length=12)


@pytest.fixture
def denoiser(text_denoiser):
    return Counted(text_denoiser)


@pytest.fixture(scope="session")
def task():
    return Judged()


@pytest.fixture
def thrifty():
    return Thrifty
