import shutil
from dataclasses import replace

import pytest
import torch

from unmask import Codec, TextDenoiser, UserError, decode
from unmask.denoisers.compiled import MULTIPLE, compiled
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.samplers.generate import crop

PROMPTS = ["Ana has 3 pens.", "Ben has 12 pens and buys 4. How many pens has he?", "One.", "Two and two and two."]


@pytest.fixture(scope="module")
def denoiser():
    """In float64, so that another order of the same operations turns no tie."""
    codec = Codec.train([*PROMPTS, "<<12+4=16>> #### 16"], 320)
    config = TransformerConfig(codec.vocabulary, codec.mask_token, 128, layers=1, width=16, heads=2, hidden=32)
    network = Transformer(config).initialise(torch.Generator().manual_seed(3)).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(6 if parameter.dim() > 1 else 1)
    return TextDenoiser(network, codec, response_length=12)


def test_lengths_are_padded_to_a_multiple_where_there_is_padding(denoiser):
    canvas = denoiser.codec.canvas(PROMPTS, 12, 4, 128)
    whole = canvas.tokens.shape[1]
    lengths = [crop(canvas.take(torch.tensor([row])), 8).tokens.shape[1] for row in range(len(PROMPTS))]
    exact = [int(canvas.valid[row].sum()) for row in range(len(PROMPTS))]
    assert lengths == [min(whole, -(-each // 8) * 8) for each in exact]
    assert len(set(exact)) > 2, "or the test shows nothing"


def test_padding_to_a_multiple_changes_no_text(denoiser):
    padded = replace(denoiser, multiple=32)
    for sampler in ("entropy", "iid"):
        plain = decode(denoiser, PROMPTS, sampler=sampler, budget=4, batch=1)
        assert decode(padded, PROMPTS, sampler=sampler, budget=4, batch=1) == plain


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with a C++ compiler")
def test_a_compiled_denoiser_writes_the_same_texts_and_leaves_the_other_alone(denoiser):
    trunk = denoiser.network.trunk
    fast = compiled(denoiser)
    assert denoiser.network.trunk == trunk
    assert fast.network.trunk != trunk
    assert fast.multiple == MULTIPLE
    assert all(a is b for a, b in zip(fast.network.parameters(), denoiser.network.parameters(), strict=True))
    rounds = [decode(each, PROMPTS, sampler="iid", budget=12) for each in (denoiser, fast)]
    plain, found = rounds
    assert len({each.nfe for each in plain}) > 1, "or the batch never shrinks"
    assert [each.text for each in found] == [each.text for each in plain]
    assert [each.revealed_at for each in found] == [each.revealed_at for each in plain]
    assert [each.log_prob for each in found] == pytest.approx([each.log_prob for each in plain], rel=1e-9)
    torch._dynamo.reset()


def test_what_cannot_be_compiled_is_said(denoiser, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="install g\\+\\+ or decode without compiling"):
        compiled(denoiser)

    class Linear(torch.nn.Linear):
        config = denoiser.network.config

    with pytest.raises(UserError, match="Linear has no `trunk`"):
        compiled(replace(denoiser, network=Linear(2, 2)))
