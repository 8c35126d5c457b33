"""A foreign checkpoint goes on being fitted, and an order is learned for it; what comes out is our own format."""

import json
from dataclasses import replace

import pytest
import torch

from unmask import decode, load_denoiser
from unmask.core.errors import UserError
from unmask.train.fit import FitConfig, fit
from unmask.train.learn import learn
from unmask.train.learn_config import LearnConfig

from .entries import TINY


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Short sums for the task `jsonl`."""
    folder = tmp_path_factory.mktemp("data")
    sums = [(a, b) for a in range(5) for b in range(5)]
    lines = [json.dumps({"prompt": f"{a}+{b}?", "response": f"#### {a + b}"}) + "\n" for a, b in sums]
    (folder / "train.jsonl").write_text("".join(lines))
    return str(folder)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.slow
def test_fitting_goes_on_from_it_and_keeps_what_it_is(name, checkpoints, data, tmp_path):
    path = checkpoints(name)
    config = FitConfig(
        task="jsonl", data=data, init=str(path), updates=2, rows=2, warmup=1, precision="fp32", context=64
    )
    fitted = fit(config, tmp_path / "run").denoiser
    before, again = load_denoiser(path, dtype=torch.float32), load_denoiser(tmp_path / "run")
    assert again.network.config == before.network.config == fitted.network.config
    assert (again.codec.template, again.codec.stops) == (before.codec.template, before.codec.stops)
    assert (again.codec.mask_token, again.codec.end_tokens) == (before.codec.mask_token, before.codec.end_tokens)
    first, last = before.network.state_dict(), again.network.state_dict()
    moved = [key for key, value in first.items() if not torch.equal(value, last[key])]
    assert len(moved) > len(first) / 2
    one, other = (decode(each, ["1+2?"], budget=2)[0] for each in (fitted, again))
    assert one.tokens == other.tokens


def test_weights_in_half_precision_are_fitted_in_full(spoilable, data, tmp_path):
    from .tiny import rewrite

    path = spoilable("dream")
    rewrite(path, lambda weights: weights.update({key: value.bfloat16() for key, value in weights.items()}))
    config = FitConfig(task="jsonl", data=data, init=str(path), updates=1, rows=2, precision="fp32", context=64)
    fitted = fit(config, tmp_path / "run").denoiser
    assert {value.dtype for value in fitted.network.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_an_order_is_learned_for_it(name, checkpoints, data, tmp_path):
    denoiser = replace(load_denoiser(checkpoints(name), dtype=torch.float32), response_length=8)
    config = LearnConfig(
        task="jsonl", data=data, texts="data", budgets=(2, 4), bound_updates=2, policy_updates=2, rows=2, samples=2,
        warmup=1, width=16, layers=1, precision="fp32",
    )  # fmt: skip
    result = learn(denoiser, config, tmp_path / "run")
    (written,) = decode(denoiser, ["1+2?"], sampler=result.order, budget=2)
    assert written.steps <= 2


@pytest.mark.parametrize("name", ["llada", "dream"])
def test_it_is_fitted_with_the_template_asked_for_and_keeps_it(name, checkpoints, data, tmp_path):
    config = FitConfig(
        task="jsonl", data=data, init=str(checkpoints(name)), updates=1, rows=2, precision="fp32", context=200
    )
    turns, plain = (fit(replace(config, template=each), tmp_path / str(each)).denoiser for each in (None, "bare"))
    assert (turns.codec.template_name, plain.codec.template_name) == ("chat", "bare")
    again = load_denoiser(tmp_path / "bare").codec
    assert again.encode_prompt("1+2? ") == again.encode("1+2? ")
    assert again.with_template("chat").encode_prompt("1+2?") == turns.codec.encode_prompt("1+2?")
    assert load_denoiser(tmp_path / "None").codec.encode_prompt("1+2?") == turns.codec.encode_prompt("1+2?")
    with pytest.raises(UserError, match="init_weights"):  # another template in the same folder is another run
        fit(replace(config, template="bare"), tmp_path / "None")
    with pytest.raises(UserError, match="name that with --init"):
        fit(replace(config, init=None, template="bare"), tmp_path / "other")
