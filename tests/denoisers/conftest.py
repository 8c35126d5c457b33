"""A codec learned from a few word problems, and a small random denoiser of strong opinions."""

import pytest
import torch

from unmask.denoisers.codec import Codec
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.tasks import make_task


@pytest.fixture(scope="session")
def examples():
    return make_task("wordprob").examples("train")[:120]


@pytest.fixture(scope="session")
def codec(examples):
    return Codec.train((text for e in examples for text in (e.prompt + " ->", e.response)), 400)


@pytest.fixture(scope="session")
def denoiser(codec):
    config = TransformerConfig(codec.vocabulary, codec.mask_token, 96, layers=2, width=16, heads=2, hidden=24)
    network = Transformer(config).initialise(torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(10 if parameter.dim() > 1 else 1)
    return TextDenoiser(network, codec, response_length=16, card={"made": "by hand"})
