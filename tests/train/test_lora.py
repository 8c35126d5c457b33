"""Factors beside the matrices: they alone learn, they are saved by themselves, and merged they are a plain network."""

from dataclasses import replace

import pytest
import torch

from unmask.core.errors import UserError
from unmask.denoisers.folder import load_folder
from unmask.train import learn as module
from unmask.train.checkpoint import load_checkpoint
from unmask.train.learn import learn
from unmask.train.lora import add_factors, factors, load_factors, merge_factors, save_factors

pytest.importorskip("peft")


@pytest.fixture
def config(learn_config):
    return replace(learn_config, denoiser_update="lora", lora_rank=2, denoiser_rate=1e-2, bound_updates=2)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def files(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture
def canvas(make_denoiser):
    return make_denoiser().codec.canvas(["Why?", "How many pens?"], 6, 2)


def test_factors_change_nothing_at_first_and_leave_no_trace_of_randomness(make_denoiser, canvas):
    denoiser = make_denoiser()
    before, state = denoiser(canvas), torch.get_rng_state()
    add_factors(denoiser.network, 2, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    after = denoiser(canvas)
    assert torch.equal(after.hidden, before.hidden)
    assert torch.equal(after.top2, before.top2)
    learning = {name for name, value in denoiser.network.named_parameters() if value.requires_grad}
    assert learning == set(factors(denoiser.network))
    assert len(learning) == 2 * 7, "of each of the seven matrices of the one block"


def test_merged_it_is_a_plain_network_that_says_the_same(make_denoiser, canvas):
    denoiser, names = make_denoiser(), set(make_denoiser().network.state_dict())
    add_factors(denoiser.network, 2, seed=0)
    with torch.no_grad():
        for value in factors(denoiser.network).values():
            value.normal_(generator=torch.Generator().manual_seed(1))
    with_factors, plain = denoiser(canvas), make_denoiser()(canvas)
    merge_factors(denoiser.network)
    assert set(denoiser.network.state_dict()) == names
    merged = denoiser(canvas)
    assert (with_factors.hidden - plain.hidden).abs().max() > 0.1, "or the test shows nothing"
    assert torch.allclose(merged.hidden, with_factors.hidden, atol=1e-4)


def test_only_the_factors_learn_and_what_is_left_can_be_loaded(make_denoiser, config, tmp_path, canvas):
    denoiser = make_denoiser()
    before = weights(denoiser.network)
    learn(denoiser, config, tmp_path / "run")
    names = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").tensors
    kept = [name for name in names if name.startswith("learners.denoiser.")]
    assert kept
    assert all(".lora_" in name for name in kept), "the matrices themselves are in no checkpoint"
    merged = load_folder(tmp_path / "run" / "denoiser")
    for name, value in merged.network.state_dict().items():
        in_block = name.startswith("blocks.") and value.dim() == 2
        assert torch.equal(value, before[name]) != in_block, name
    again = make_denoiser()
    load_factors(again.network, tmp_path / "run" / "adapter")
    assert torch.allclose(again(canvas).hidden, merged(canvas).hidden, atol=1e-4)
    merge_factors(again.network)
    assert all(torch.equal(value, merged.network.state_dict()[name]) for name, value in weights(again.network).items())


def test_peft_itself_reads_the_adapter(make_denoiser, config, tmp_path, canvas):
    from peft import PeftModel

    learn(make_denoiser(), config, tmp_path / "run")
    theirs = PeftModel.from_pretrained(make_denoiser().network, str(tmp_path / "run" / "adapter"))
    with torch.no_grad():
        found = theirs.base_model.model(canvas)
    assert torch.allclose(found.hidden, load_folder(tmp_path / "run" / "denoiser")(canvas).hidden, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("crash", [2, 4])
def test_a_run_that_died_and_went_on_ends_as_if_it_had_not(
    make_denoiser, config, tmp_path, monkeypatch, crash_at, crash
):
    learn(make_denoiser(), config, tmp_path / "whole", checkpoint_every=2)
    crash_at(module, crash)
    with pytest.raises(KeyboardInterrupt):
        learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=2)
    monkeypatch.undo()
    learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=2)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_an_adapter_that_does_not_fit_is_named_and_the_network_left_plain(make_denoiser, tmp_path):
    denoiser = make_denoiser()
    add_factors(denoiser.network, 2, seed=0)
    save_factors(denoiser.network, 3, tmp_path / "adapter")  # says another rank than it has
    other, before = make_denoiser(), weights(make_denoiser().network)
    with pytest.raises(UserError, match=r"adapter_model\.safetensors does not fit this denoiser at blocks"):
        load_factors(other.network, tmp_path / "adapter")
    after = weights(other.network)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"adapter_config\.json is not one that unmask wrote"):
        load_factors(other.network, tmp_path / "adapter")


def test_without_peft_it_says_what_to_install(make_denoiser, config, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"needs peft; install it with `pip install peft`"):
        learn(make_denoiser(), config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
