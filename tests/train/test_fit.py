"""Runs of six updates: what they leave, how they go on, and how they stop."""

import json
from dataclasses import replace

import pytest
import torch

from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.folder import load_folder
from unmask.denoisers.hub import load_denoiser
from unmask.tasks import make_task
from unmask.train import fit as module
from unmask.train.batches import Batches
from unmask.train.checkpoint import load_checkpoint
from unmask.train.fit import fit, make_codec, response_tokens, start, update_loss


def weights(out):
    return (out / "denoiser" / "model.safetensors").read_bytes()


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_fit_leaves_a_denoiser_a_log_and_a_checkpoint_and_nothing_else(fit_config, tmp_path):
    result = fit(fit_config, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == (
        ["checkpoint.safetensors", "denoiser", "log.jsonl", "run.json"]
    )
    loaded = load_denoiser(result.folder)
    for name, value in result.denoiser.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    assert loaded.card["fit"]["seed"] == 0
    assert not result.denoiser.network.training
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").meta["update"] == 6


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(fit_config, tmp_path):
    before = torch.get_rng_state()
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        fit(replace(fit_config, seed=seed), tmp_path / name)
    assert weights(tmp_path / "one") == weights(tmp_path / "two") != weights(tmp_path / "three")
    assert torch.equal(torch.get_rng_state(), before), "the global generator is never touched"


@pytest.mark.slow
@pytest.mark.parametrize(("crash", "every"), [(1, 2), (3, 2), (5, 2), (6, 1)])
@pytest.mark.parametrize("muon_rate", [0.0, 0.02])
def test_a_run_that_died_and_went_on_ends_as_if_it_had_not(
    fit_config, tmp_path, monkeypatch, crash_at, crash, every, muon_rate
):
    config = replace(fit_config, muon_rate=muon_rate)
    fit(config, tmp_path / "whole", checkpoint_every=every)
    with monkeypatch.context():
        crash_at(module, crash)
        with pytest.raises(KeyboardInterrupt):
            fit(config, tmp_path / "broken", checkpoint_every=every)
    assert not (tmp_path / "broken" / "denoiser").exists()
    monkeypatch.undo()
    fit(config, tmp_path / "broken", checkpoint_every=every)
    for name in ("checkpoint.safetensors", "log.jsonl", "denoiser/model.safetensors", "denoiser/tokenizer.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_finished_run_started_again_changes_nothing(fit_config, tmp_path):
    fit(fit_config, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    result = fit(fit_config, tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    assert result.folder == tmp_path / "run" / "denoiser"


def test_a_run_on_its_plateau_may_be_made_longer(fit_config, tmp_path):
    """Ten updates with one of decay; four of them are the same plateau."""
    config = replace(fit_config, decay=0.1)
    fit(replace(config, updates=10), tmp_path / "long")
    fit(replace(config, updates=4), tmp_path / "extended")
    assert weights(tmp_path / "extended") != weights(tmp_path / "long")
    fit(replace(config, updates=10), tmp_path / "extended")
    assert weights(tmp_path / "extended") == weights(tmp_path / "long")


def test_it_starts_from_the_denoiser_it_is_given(fit_config, tmp_path):
    first = fit(fit_config, tmp_path / "first")
    config = replace(fit_config, init=str(tmp_path / "first" / "denoiser"), rate=0.0, muon_rate=0.0)
    second = fit(config, tmp_path / "second")
    assert second.denoiser.codec.tokenizer.to_str() == first.denoiser.codec.tokenizer.to_str()
    for name, value in first.denoiser.network.state_dict().items():
        assert torch.equal(second.denoiser.network.state_dict()[name], value), name
    assert weights(tmp_path / "first") == weights(tmp_path / "second")


@pytest.mark.parametrize(("asked", "left"), [(300, 300), (100, 250)])
def test_the_context_it_starts_from_may_grow_but_not_shrink(fit_config, tmp_path, asked, left):
    fit(fit_config, tmp_path / "first")
    config = replace(fit_config, init=str(tmp_path / "first" / "denoiser"), context=asked, updates=1)
    assert fit(config, tmp_path / "second").denoiser.context == left
    assert load_folder(tmp_path / "second" / "denoiser").context == left


def test_validation_is_called_when_due_and_at_the_end_and_is_kept(fit_config, tmp_path):
    asked = []

    def validate(denoiser, task):
        asked.append(denoiser.network.training)
        return {"accuracy": len(asked) / 10}

    result = fit(fit_config, tmp_path / "run", validate=validate, validate_every=4)
    assert asked == [False, False]
    assert result.validation == {"accuracy": 0.2}
    assert [e for e in log(tmp_path / "run") if "accuracy" in e] == (
        [{"update": 4, "accuracy": 0.1}, {"update": 6, "accuracy": 0.2}]
    )
    again = fit(fit_config, tmp_path / "run", validate=validate, validate_every=4)
    assert again.validation == {"accuracy": 0.2}
    assert len(asked) == 2


def test_validation_changes_nothing_in_the_training(fit_config, tmp_path):
    fit(fit_config, tmp_path / "without")
    fit(fit_config, tmp_path / "with", validate=lambda *_: {"x": torch.rand(1).item()}, validate_every=1)
    assert weights(tmp_path / "without") == weights(tmp_path / "with")


# ---- the loss


def first_batch(fit_config):
    task = make_task("jsonl", fit_config.data)
    denoiser = start(fit_config, task)
    batches = Batches(task.examples("train"), denoiser.codec, 8, denoiser.response_length, 250, 0)
    return denoiser, batches.batch(0)


def test_the_loss_is_a_function_of_weights_batch_and_seed(fit_config):
    denoiser, batch = first_batch(fit_config)
    one, two, three = (update_loss(denoiser.network, batch, Draws(seed)).item() for seed in (0, 0, 1))
    assert one == two != three
    # before training every token is about as likely as any other
    assert one == pytest.approx(torch.tensor(denoiser.codec.vocabulary - 1).log().item(), rel=0.5)


def test_the_network_sees_no_token_it_must_predict(fit_config):
    """What stands at masked positions is hidden; and times are not in the order of the lengths."""
    denoiser, batch = first_batch(fit_config)
    seen = []

    def watch(canvas):
        seen.append(canvas)
        return denoiser.network(canvas)

    update_loss(watch, batch, Draws(0))
    (canvas,) = seen
    assert not (canvas.masked & ~batch.canvas.masked).any()
    share = canvas.masked.sum(-1) / batch.canvas.masked.sum(-1)
    assert share.min() < 0.35
    assert share.max() > 0.65
    assert share.argsort().tolist() not in (list(range(8)), list(range(8))[::-1])


@pytest.mark.slow
def test_a_small_network_learns_a_few_examples_by_heart(fit_config, tmp_path):
    data = tmp_path / "two.jsonl"
    lines = [{"prompt": f"What is {n}?", "response": f"<<{n}+1={n + 1}>> #### {n + 1}"} for n in (1, 2)]
    data.mkdir()
    (data / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = replace(
        fit_config, data=str(data), updates=200, rows=8, rate=1e-2, width=32, hidden=64, response_length=16
    )
    fit(config, tmp_path / "run")
    losses = [entry["loss"] for entry in log(tmp_path / "run")]
    # 16 response tokens, one bit between the two texts at most in each masked set
    assert losses[0] > 3
    assert losses[-1] < 0.3


# ---- bad input


@pytest.mark.parametrize(("at", "every", "kept"), [(5, 2, 4), (2, 4, None)])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    fit_config, tmp_path, monkeypatch, at, every, kept, what
):
    real, count = module.update_loss, [0]

    def spoiled(*args):
        count[0] += 1
        loss = real(*args)
        if count[0] != at:
            return loss
        return loss * float("nan") if what == "loss" else loss + (loss - loss.detach() + 1e-30).sqrt() * 1e30

    monkeypatch.setattr(module, "update_loss", spoiled)
    said = f"at update {at} the loss became .*" + ("is kept in .*checkpoint" if kept else "no checkpoint yet")
    with pytest.raises(UserError, match=said):
        fit(fit_config, tmp_path / "run", checkpoint_every=every)
    path = tmp_path / "run" / "checkpoint.safetensors"
    if kept:
        tensors, meta = load_checkpoint(path)
        assert meta["update"] == kept
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    else:
        assert not path.exists()
    assert not (tmp_path / "run" / "denoiser").exists()


def test_a_damaged_checkpoint_is_named_and_left_alone(fit_config, tmp_path):
    fit(fit_config, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.safetensors"
    content = path.read_bytes()[:-100]
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint\.safetensors is damaged"):
        fit(fit_config, tmp_path / "run")
    assert path.read_bytes() == content


def test_a_checkpoint_of_another_network_is_named(fit_config, tmp_path):
    fit(fit_config, tmp_path / "one")
    fit(replace(fit_config, width=24, heads=2), tmp_path / "two")
    (tmp_path / "one" / "checkpoint.safetensors").write_bytes(
        (tmp_path / "two" / "checkpoint.safetensors").read_bytes()
    )
    with pytest.raises(UserError, match=r"checkpoint\.safetensors does not fit this run"):
        fit(fit_config, tmp_path / "one")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"updates": 0}, "updates and rows must be at least 1"),
        ({"rows": 0}, "updates and rows must be at least 1"),
        ({"context": 40}, "no training example fits"),
        ({"response_length": 3}, "no training example fits"),
        ({"heads": 3}, "does not split into 3 heads"),
        ({"task": "jsnl"}, "Did you mean `jsonl`"),
        ({"init": "wordprb"}, "wordprob"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_folder_is_made(fit_config, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        fit(replace(fit_config, **change), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_other_settings_in_the_same_folder_are_refused_and_more_updates_are_not(fit_config, tmp_path):
    fit(fit_config, tmp_path / "run")
    with pytest.raises(UserError, match=r"another run \(rate 0.002 there, 0.1 here\)"):
        fit(replace(fit_config, rate=0.1), tmp_path / "run")
    fit(replace(fit_config, updates=7), tmp_path / "run")
    fit(replace(fit_config, rate=0.1), tmp_path / "run", overwrite=True)
    assert log(tmp_path / "run")[0]["update"] == 1


def test_a_context_that_is_no_multiple_of_the_padding_can_be_used_to_the_full(fit_config, tmp_path):
    """Batches are padded to a multiple of 8; padding takes no context."""
    task = make_task("jsonl", fit_config.data)
    codec = make_codec(task, fit_config.vocabulary)
    length = response_tokens(codec, task)
    longest = max(len(codec.encode_prompt(example.prompt)) for example in task.examples("train"))
    context = next(c for c in (longest + length, longest + length + 1) if c % 8)
    fit(replace(fit_config, context=context, updates=10), tmp_path / "run")


# ---- preparation


def test_the_response_length_holds_every_training_response_and_its_end(fit_config):
    task = make_task("jsonl", fit_config.data)
    codec = make_codec(task, 300)
    length = response_tokens(codec, task)
    assert length % 8 == 0
    assert all(codec.encode_response(example.response, length) for example in task.examples("train"))
    needed = max(len(codec.encode(example.response)) + 1 for example in task.examples("train"))
    assert length - needed < 8
