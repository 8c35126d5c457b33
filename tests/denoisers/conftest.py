"""A codec learned from a few word problems, a small random denoiser of strong opinions, and foreign networks."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from unmask.core.canvas import Canvas
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


# ---- checkpoints of other libraries

GOLDEN = Path(__file__).parent / "golden"


class Golden(NamedTuple):
    """What `golden/record.py` wrote: their config.json and tensors, a batch, and their logits at its masked places."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    canvas: Canvas
    logits: Tensor


@pytest.fixture(scope="session")
def golden():
    """`golden("bert")`: one golden file."""

    def read(name):
        with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
            config = json.loads(file.metadata()["config"])
        weights = {key[7:]: value for key, value in tensors.items() if key.startswith("weight:")}
        canvas = Canvas.make(tensors["tokens"], tensors["masked"], 4)
        return Golden(config, weights, canvas, tensors["logits"])

    return read


@pytest.fixture(scope="session")
def recorder():
    """The script that writes the golden files, as a module."""
    spec = importlib.util.spec_from_file_location("record", GOLDEN / "record.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_foreign():
    """`load_foreign(kind, config, weights, module)`: a network from foreign tensors by the key map of `module`."""

    def load(kind, config, weights, module):
        with torch.device("meta"):
            network = kind(config)
        ours = {
            theirs.replace("{i}", str(i)): name.replace("{i}", str(i))
            for theirs, name in module.KEYS.items()
            for i in range(config.layers if "{i}" in theirs else 1)
        }
        found = {}
        for name, value in weights.items():
            spelt = name
            for pattern, instead in module.SPELLINGS:
                spelt = re.sub(pattern, instead, spelt)
            if spelt not in module.IGNORED:
                found[ours[spelt]] = value
        if getattr(config, "tied", False):
            found["head.decoder.weight"] = found["embed.weight"]
        network.load_state_dict(found, assign=True)
        network.tie()
        return network.eval()

    return load
