"""Checkpoints, tokenizers and orders with something in them spoilt: the same answer, or one sentence that refuses.

Never a traceback, never another answer in silence. Every case is a seed: `FILES[file]`, and what was done is in the
message of a failure.
"""

import random
import shutil
import warnings
from typing import NamedTuple

import pytest
import torch

from unmask import load_denoiser
from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.folder import save_denoiser
from unmask.orders.folder import LearnedOrder, load_order, save_order
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers.learned import DecodeRule

from ..denoisers.families.entries import TINY
from ..denoisers.families.test_adapter import factors, write_adapter
from ..denoisers.families.test_wordpiece import SPECIAL
from ..denoisers.families.tiny import write_json
from .spoil import delete_entry, spoil_header, spoil_json, spoil_lines

SEEDS = 6
TEXTS = ("How 34 pens?", "a <|im_end|> b", "Why\n\n?")


class Target(NamedTuple):
    """A file of a checkpoint. kind: which of the folders of `folders` it is in. spoil: how."""

    kind: str
    file: str
    spoil: object


TARGETS = [
    *(Target(name, "config.json", spoil_json) for name in ("llada", "dream", "mdlm", "bert", "modern_bert", "smdm")),
    *(Target("dream", name, spoil_json) for name in ("tokenizer_config.json", "vocab.json", "generation_config.json")),
    Target("dream", "model.safetensors.index.json", spoil_json),
    Target("dream", "merges.txt", spoil_lines),
    Target("dream", "model-00002-of-00003.safetensors", spoil_header),
    Target("dream", "codec.json", spoil_json),
    Target("llada", "tokenizer.json", spoil_json),
    Target("vocab", "vocab.txt", spoil_lines),
    Target("vocab", "tokenizer_config.json", spoil_json),
    Target("vocab", "added_tokens.json", spoil_json),
    Target("adapter", "adapter_config.json", spoil_json),
    Target("adapter", "adapter_model.safetensors", spoil_header),
    Target("own", "config.json", spoil_json),
    Target("own", "codec.json", spoil_json),
    Target("own", "tokenizer.json", spoil_json),
    Target("own", "model.safetensors", spoil_header),
    Target("order", "config.json", spoil_json),
    Target("order", "model.safetensors", spoil_header),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A whole checkpoint of every kind, by name, not to be changed."""
    root = tmp_path_factory.mktemp("whole")
    for name, tiny in TINY.items():
        (root / name).mkdir()
        tiny.write(root / name)
    write_json(root / "dream" / "generation_config.json", {"eos_token_id": 262, "mask_token_id": 267, "steps": 5})
    names = {"template": "Q: {prompt} A:", "stops": ["<|im_end|>"], "pad": "<|endoftext|>"}
    write_json(root / "dream" / "codec.json", names)
    write_json(root / "smdm" / "config.json", {"n_head": 4, "block_size": 64, "rope_bfloat16": True, "rope_theta": 1e4})
    shutil.copytree(root / "bert", root / "vocab")
    (root / "vocab" / "tokenizer.json").unlink()
    words = [*(f"w{i}" for i in range(256)), *SPECIAL]
    (root / "vocab" / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    options = {"do_lower_case": False, "strip_accents": None, "tokenizer_class": "BertTokenizer", "unk_token": "[UNK]"}
    write_json(root / "vocab" / "tokenizer_config.json", options)
    write_json(root / "vocab" / "added_tokens.json", {"extra": 261})
    tensors = factors(root / "dream", ["model.layers.1.self_attn.q_proj"])
    write_adapter(root / "adapter", root / "dream", tensors, lora_alpha=6.0)
    save_denoiser(load_denoiser(root / "llada", dtype=torch.float32), root / "own")
    policy = PolicyNetwork(PolicyConfig(8, 16, 1, 2, 16)).initialise(torch.Generator().manual_seed(0))
    save_order(LearnedOrder(policy, {4: DecodeRule("threshold", 0.5)}, {"a": 1}), root / "order")
    return root


def answer(folder):
    """All that a user would see of it."""
    if folder.name == "order":
        order = load_order(folder)
        weights = [value.sum().item() for value in order.policy.state_dict().values()]
        return order.policy.config, tuple(order.rules.items()), weights
    denoiser = load_denoiser(next(folder.glob("mdm-*.safetensors"), folder), dtype=torch.float32)
    codec, config = denoiser.codec, denoiser.network.config
    tokens = torch.arange(16).reshape(2, 8)
    canvas = Canvas.make(tokens, tokens % 3 == 0, 2)
    logits = denoiser(canvas).logits(slice(None))
    texts = [(codec.encode(text), codec.encode_prompt(text), codec.decode(codec.encode(text))) for text in TEXTS]
    names = (codec.mask_token, codec.end_tokens, codec.pad_token, codec.template, codec.encode_response("34", 9))
    return logits.tolist(), texts, names, (config.context, config.vocabulary), denoiser.response_length


@pytest.fixture(scope="module")
def whole(folders):
    """What the whole checkpoint answers, by kind."""
    known = {}

    def find(kind):
        if kind not in known:
            known[kind] = answer(folders / kind)
        return known[kind]

    return find


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.kind}-{target.file}")
def test_what_is_spoilt_is_refused_in_a_sentence_or_makes_no_difference(folders, whole, tmp_path, target, seed):
    expected = whole(target.kind)
    folder = tmp_path / target.kind
    shutil.copytree(folders / target.kind, folder)
    what = target.spoil(folder / target.file, random.Random(f"{target.kind} {target.file} {seed}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcome(folder, what)
    if isinstance(found, UserError):
        assert "\n" not in str(found), what
        assert len(str(found)) < 700, what
    else:
        assert found == expected, what


KINDS = sorted({target.kind for target in TARGETS})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2 * SEEDS))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["deleted", "of another"])
def test_what_is_lost_or_of_another_checkpoint_is_never_a_traceback(folders, tmp_path, how, kind, seed):
    """It may be a default, or a file that would do as well: so nothing is asked of the answer."""
    draws = random.Random(f"{how} {kind} {seed}")
    folder = tmp_path / kind
    shutil.copytree(folders / kind, folder)
    if how == "deleted":
        what = delete_entry(draws.choice(sorted(folder.glob("*.json"))), draws)
    else:
        other = draws.choice([each for each in KINDS if each != kind])
        file = draws.choice(sorted((folders / other).iterdir()))
        shutil.copy(file, folder)
        what = f"{file.name} of {other}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcome(folder, what)
    assert not isinstance(found, UserError) or ("\n" not in str(found) and len(str(found)) < 700), what


def outcome(folder, what):
    """The answer, or the sentence that refuses. Raises AssertionError on anything else."""
    try:
        return answer(folder)
    except UserError as error:
        return error
    except BaseException as error:
        raise AssertionError(f"{type(error).__name__} after {what}") from error
