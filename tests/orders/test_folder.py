import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.orders import folder as folder_module
from unmask.orders.folder import LearnedOrder, load_order, save_order
from unmask.samplers import DecodeRule, decode_canvas

from .conftest import HashDenoiser, some_canvas, some_policy

RULES = {2: DecodeRule("sample"), 8: DecodeRule("threshold", 0.3, 1.5)}
FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def order():
    return LearnedOrder(some_policy().float(), RULES, {"accuracy": 0.5, "name": "½"})


@pytest.fixture
def saved(order, tmp_path):
    save_order(order, tmp_path / "it", readme="# ½")
    return tmp_path / "it"


def test_saved_and_loaded_it_is_the_same_order_to_the_last_bit(order, saved):
    loaded = load_order(saved)
    canvas = some_canvas()
    denoised = HashDenoiser()(canvas)
    assert torch.equal(loaded.policy(canvas, denoised).logits, order.policy(canvas, denoised).logits)
    assert loaded.policy.config == order.policy.config
    assert dict(loaded.rules) == RULES
    assert loaded.card == order.card
    assert not loaded.policy.training
    assert sorted(path.name for path in saved.iterdir()) == FILES
    assert (saved / "README.md").read_text(encoding="utf-8") == "# ½"


def test_loading_and_saving_again_changes_no_byte(saved, tmp_path):
    save_order(load_order(saved), tmp_path / "again", readme="# ½")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


def test_loading_leaves_the_global_generator_alone(saved):
    before = torch.get_rng_state()
    load_order(saved)
    assert torch.equal(torch.get_rng_state(), before)


# ---- rules


@pytest.mark.parametrize(
    ("budget", "nearest"),
    [(1, 2), (2, 2), (3, 2), (4, 2), (5, 8), (8, 8), (100, 8)],  # 4 is as far from 2 as from 8: the smaller
)
def test_a_budget_without_a_rule_takes_that_of_the_nearest_on_the_log_scale(order, budget, nearest):
    assert order.rule(budget) == RULES[nearest]
    assert order.unmasker(budget).rule == RULES[nearest]


def test_without_any_rule_the_policy_is_sampled():
    assert LearnedOrder(some_policy(), {}).rule(5) == DecodeRule("sample")


def fresh(budget):
    masked = torch.ones(3, 6, dtype=torch.bool)
    masked[1, 4:] = False
    return Canvas.make(torch.zeros(3, 6, dtype=torch.long), masked, budget)


@pytest.mark.parametrize("boldness", [-5.0, 0.0, 30.0])
def test_one_per_step_takes_exactly_one_position_per_step(order, boldness):
    """Also where the policy would reveal everything at once."""
    with torch.no_grad():
        order.policy.head.bias.fill_(boldness)
    decoded = decode_canvas(HashDenoiser(), fresh(10), order.unmasker(10, one_per_step=True))
    for row, count in enumerate([6, 4, 6]):
        assert sorted(decoded.revealed_at[row, decoded.revealed_at[row] > 0].tolist()) == list(range(1, count + 1))
    assert decoded.steps.tolist() == [6, 4, 6]


def test_one_per_step_takes_the_most_urgent_first(order):
    canvas = fresh(10)
    denoiser = HashDenoiser()
    decoded = decode_canvas(denoiser, canvas, order.unmasker(10, one_per_step=True))
    inclusion = order.policy(canvas, denoiser(canvas)).inclusion()
    assert torch.equal((decoded.revealed_at == 1).long().argmax(-1), inclusion.argmax(-1))


def test_one_per_step_with_fewer_steps_than_positions_keeps_an_even_pace(order):
    decoded = decode_canvas(HashDenoiser(), fresh(4), order.unmasker(4, one_per_step=True))
    taken = torch.stack([(decoded.revealed_at == step).sum(-1) for step in range(1, 5)], dim=-1)
    assert taken.tolist() == [[2, 2, 1, 1], [1, 1, 1, 1], [2, 2, 1, 1]]


# ---- bad input


def test_a_folder_that_is_not_there_is_named_with_what_would_make_it(tmp_path):
    with pytest.raises(UserError, match=r"no learned order at .*nowhere; make one with `unmask learn"):
        load_order(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"there is no {name} in "):
        load_order(saved)


@pytest.mark.parametrize("content", [b"", b"\x00" * 20, pickle.dumps({"a": 1})])
def test_weights_that_are_none_are_refused_by_name(saved, content):
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or not safetensors"):
        load_order(saved)


def config(change):
    def apply(saved):
        value = json.loads((saved / "config.json").read_text())
        change(value)
        (saved / "config.json").write_text(json.dumps(value))

    return apply


def without_a_weight(saved):
    weights = load_file(saved / "model.safetensors")
    del weights["slope"]
    save_file(weights, saved / "model.safetensors")


WRONGS = {
    "a denoiser": (config(lambda c: c.update(format="unmask-denoiser")), r"config\.json is not a learned order"),
    "another version": (config(lambda c: c.update(version=9)), r"config\.json is of version 9, .* reads version 1"),
    "half a layer": (config(lambda c: c["policy"].update(layers=1.5)), r"layers must be a whole number .* got 1\.5"),
    "a million layers": (
        config(lambda c: c["policy"].update(layers=1_000_000)), r"of 1000000 layers it holds \d, blocks\.\d is missing"
    ),
    "a width that is true": (config(lambda c: c["policy"].update(width=True)), r"width must be a whole number .* True"),
    "a huge width": (config(lambda c: c["policy"].update(width=10**40)), r"width must be a whole number"),
    "an entry more": (config(lambda c: c.update(policie={})), r"has unknown entries \['policie'\]"),
    "a card that is a text": (config(lambda c: c.update(card="x")), r"card cannot be 'x'"),
    "a level that is NaN": (
        config(lambda c: c.update(rules={"4": {"kind": "threshold", "level": float("nan")}})), r"level must be .* nan"
    ),
    "a level that is true": (
        config(lambda c: c.update(rules={"4": {"kind": "threshold", "level": True}})), r"level must be .* True"
    ),
    "a kind that is a list": (config(lambda c: c.update(rules={"4": {"kind": []}})), r"decode rule"),
    "a sharpness that is infinite": (
        config(lambda c: c.update(rules={"4": {"sharpness": float("inf")}})), r"must be a finite number, got inf"
    ),
    "a number of 5,000 digits": (
        lambda saved: (saved / "config.json").write_text('{"format": ' + "9" * 5000 + "}"), r"config\.json is damaged"
    ),
    "no policy": (config(lambda c: c.pop("policy")), r"config\.json is damaged: it has no `policy`"),
    "an unknown entry": (
        config(lambda c: c["policy"].update(depth=2)),
        r"config\.json has unknown policy entries \['depth'\]",
    ),
    "a shape that cannot be": (
        config(lambda c: c["policy"].update(heads=3)),
        r"config\.json has a policy that cannot be: width 8 does not split",
    ),
    "another shape": (config(lambda c: c["policy"].update(hidden=13)), r"model\.safetensors does not fit config\.json"),
    "a weight less": (without_a_weight, r"model\.safetensors does not fit config\.json at slope"),
    "no rules": (config(lambda c: c.pop("rules")), r"config\.json has decode rules that cannot be"),
    "a budget that is none": (
        config(lambda c: c.update(rules={"many": {}})),
        r"config\.json has decode rules that cannot be: .*'many'",
    ),
    "budget 0": (config(lambda c: c.update(rules={"0": {}})), r"config\.json has decode rules that cannot be"),
    "a rule that is none": (
        config(lambda c: c["rules"]["2"].update(kind="argmax")),
        r"config\.json has decode rules that cannot be: .*argmax",
    ),
    "an unknown option": (
        config(lambda c: c["rules"]["2"].update(levl=1)),
        r"config\.json has decode rules that cannot be: .*Did you mean `level`",
    ),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_does_not_fit_is_refused_by_name(saved, wrong):
    spoil, message = WRONGS[wrong]
    spoil(saved)
    with pytest.raises(UserError, match=message):
        load_order(saved)


@pytest.mark.parametrize("where", ["write_weights", "write_json"])
def test_a_save_that_fails_halfway_leaves_the_old_folder_and_nothing_else(order, saved, monkeypatch, where):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setattr(folder_module, where, full_disk)
    with pytest.raises(UserError, match=r"could not write .*it: No space left on device"):
        save_order(LearnedOrder(order.policy, {}, {}), saved)
    assert [path.name for path in saved.parent.iterdir()] == ["it"]
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named(saved, value):
    weights = load_file(saved / "model.safetensors")
    weights["head.bias"][0] = value
    save_file(weights, saved / "model.safetensors")
    with pytest.raises(UserError, match=r"head\.bias with .* fetch it again, or take an earlier checkpoint"):
        load_order(saved)


@pytest.mark.slow
def test_weights_as_whole_numbers_are_refused(saved):
    weights = load_file(saved / "model.safetensors")
    save_file(weights | {"head.bias": weights["head.bias"].int()}, saved / "model.safetensors")
    with pytest.raises(UserError, match=r"head\.bias as torch\.int32"):
        load_order(saved)


def test_an_order_is_found_at_home_by_its_address_and_on_the_hub(saved, monkeypatch, tmp_path):
    from unmask.orders import folder as module

    asked = []
    monkeypatch.setattr(module, "fetch", lambda name, revision: asked.append((name, revision)) or saved)
    monkeypatch.setenv("HOME", str(saved.parent))
    for name in (f"~/{saved.name}", f"file://{saved}", saved, f"{saved}/"):
        assert load_order(name).policy.config == load_order(saved).policy.config
    assert not asked
    for name in ("someone/order", "https://huggingface.co/someone/order/tree/v2"):
        load_order(name)
    assert asked == [("someone/order", None), ("someone/order", "v2")]


@pytest.mark.parametrize("lost", ["kind", "level"])
def test_a_rule_that_lost_an_entry_is_not_filled_with_its_default(saved, lost):
    path = saved / "config.json"
    config = json.loads(path.read_text())
    budget, rule = next(iter(config["rules"].items()))
    del rule[lost]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"decode rules that cannot be: that of budget {budget} has no {lost}"):
        load_order(saved)


def test_a_policy_that_lost_an_entry_is_not_filled_with_its_default(saved):
    path = saved / "config.json"
    config = json.loads(path.read_text())
    del config["policy"]["heads"]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="has a policy that cannot be: it has no `heads`"):
        load_order(saved)
