"""Learned orders to the hub and back, with the hub's library replaced."""

from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from unmask.core.errors import UserError
from unmask.orders.card import Measured, local_paths, model_card
from unmask.orders.folder import LearnedOrder, load_order, save_order
from unmask.orders.hub import FILES, push_to_hub
from unmask.samplers import DecodeRule

from .conftest import some_policy

CARD = {
    "learn": {"task": "gsm8k", "data": "/home/somebody/data", "price": 0.01, "seed": None},
    "validation": {"4": {"rule": {}, "accuracy": 0.5, "steps_mean": 3.25, "steps_min": 2, "n": 200}},
}


@pytest.fixture
def order():
    return LearnedOrder(some_policy().float(), {4: DecodeRule("sample"), 8: DecodeRule("threshold", 0.3)}, CARD)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """What was asked of the hub; uploaded files are kept in its folder `kept`."""
    asked = SimpleNamespace(calls=[], kept=tmp_path / "kept", fail=None)

    class Api:
        def __init__(self, token=None):
            asked.calls.append(("login", token))

        def create_repo(self, repository, *, private, repo_type, exist_ok):
            if asked.fail is not None:
                raise asked.fail
            asked.calls.append(("create", repository, private, repo_type, exist_ok))

        def upload_folder(self, *, repo_id, folder_path, commit_message, allow_patterns):
            asked.calls.append(("upload", repo_id, commit_message))
            asked.kept.mkdir()
            for path in folder_path.iterdir():
                if path.name in allow_patterns:
                    (asked.kept / path.name).write_bytes(path.read_bytes())
            return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **patterns: str(asked.kept))
    return asked


def test_what_goes_up_comes_down_the_same(order, hub) -> None:
    pushed = push_to_hub(order, "someone/order", private=True, token="secret")
    assert pushed.url == "https://hub/someone/order/commit/1"
    assert hub.calls == [
        ("login", "secret"),
        ("create", "someone/order", True, "model", True),
        ("upload", "someone/order", "A learned order"),
    ]
    loaded = load_order("someone/order")
    assert dict(loaded.rules) == dict(order.rules)
    weights = order.policy.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in loaded.policy.state_dict().items())
    assert "secret" not in pushed.card


def test_only_the_three_files_of_a_folder_go_up(order, hub, tmp_path) -> None:
    save_order(order, tmp_path / "order")
    (tmp_path / "order" / "notes.txt").write_text("not for others")
    pushed = push_to_hub(tmp_path / "order", "someone/order")
    assert sorted(path.name for path in hub.kept.iterdir()) == sorted(FILES)
    assert pushed.files == {name: (hub.kept / name).stat().st_size for name in FILES}


def test_a_dry_run_touches_nothing_and_says_the_same(order, hub) -> None:
    dry = push_to_hub(order, "someone/order", dry_run=True)
    assert (dry.url, hub.calls, hub.kept.exists()) == (None, [], False)
    wet = push_to_hub(order, "someone/order")
    assert dry._replace(url=wet.url) == wet


def test_the_card_says_how_to_run_it_and_what_was_measured(order) -> None:
    card = model_card(order, "someone/order", [Measured("learned", 4, 3.5, 0.4, 0.35, 0.45, 500)])
    assert card.startswith("---\nlibrary_name: unmask\ntags:\n")
    assert 'unmask.load_order("someone/order")' in card
    assert "| learned | 4 | 3.50 | 40.0 [35.0, 45.0] | 500 |" in card
    assert "| this order | 4 | 3.25 | 50.0 | 200 |" in card
    assert "| price | 0.01 |" in card
    assert "| data | data |" in card
    assert "somebody" not in card
    assert "seed" not in card


def test_paths_on_this_disk_are_pointed_out(order, hub) -> None:
    assert local_paths(CARD) == ["/home/somebody/data"]
    (note,) = push_to_hub(order, "someone/order", dry_run=True).notes
    assert "/home/somebody/data" in note


def test_a_card_somebody_wrote_is_kept_and_given_the_front_matter(order, hub, tmp_path) -> None:
    save_order(order, tmp_path / "order", "# Mine\n")
    rows = [Measured("learned", 4, 3.5, 0.4, 0.35, 0.45, 500)]
    pushed = push_to_hub(tmp_path / "order", "someone/order", measured=rows)
    assert pushed.card.endswith("---\n\n# Mine\n")
    assert pushed.card.startswith("---\nlibrary_name: unmask\n")
    assert any("without the measured table" in note for note in pushed.notes)
    own_head = "---\nlicense: mit\n---\n# Mine\n"
    assert push_to_hub(order, "someone/order", card=own_head, dry_run=True).card == own_head


@pytest.mark.parametrize("name", ["order", "a/b/c", "someone/or der", "someone/", "-x/y"])
def test_a_name_the_hub_would_not_have_is_refused_before_anything_else(order, hub, name: str) -> None:
    with pytest.raises(UserError, match="write owner/name"):
        push_to_hub(order, name)
    assert hub.calls == []


def test_what_is_no_order_is_not_pushed(hub, tmp_path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        push_to_hub(tmp_path / "nowhere", "someone/order")
    with pytest.raises(UserError, match=r"no config\.json"):
        push_to_hub(tmp_path, "someone/order")
    assert hub.calls == []


def refusal(status: int) -> Exception:
    error = errors.HfHubHTTPError.__new__(errors.HfHubHTTPError)
    error.response = SimpleNamespace(status_code=status)
    error.args = ("the server's words\nand more",)
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.LocalTokenNotFoundError("none"), "log in with `hf auth login`"),
        (refusal(403), r"does not let you write to someone/order \(403\)"),
        (refusal(500), "the hub refused someone/order: "),
        (ConnectionResetError(), "could not upload to someone/order \\(ConnectionResetError\\)"),
    ],
)
def test_what_the_hub_says_becomes_a_sentence(order, hub, error, said) -> None:
    hub.fail = error
    with pytest.raises(UserError, match=said) as caught:
        push_to_hub(order, "someone/order")
    assert "\n" not in str(caught.value)


def test_a_folder_of_that_name_comes_before_the_hub(order, hub, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_order(order, tmp_path / "someone" / "order")
    assert load_order("someone/order").card == CARD
    assert hub.calls == []


def test_an_order_that_is_nowhere_says_so(monkeypatch) -> None:
    def fail(name, **patterns):
        raise errors.LocalEntryNotFoundError.__new__(errors.LocalEntryNotFoundError)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError, match="there is no folder `runs/ordre`, and the hub cannot be reached"):
        load_order("runs/ordre")


HOSTILE = "<script>alert(1)</script>|[x](javascript:y)`\n# title"


def test_no_name_becomes_html_a_link_or_a_column_of_the_card(order) -> None:
    told = {HOSTILE: HOSTILE, "seed": 0}
    validation = {"4": {"steps_mean": "4", "accuracy": None, "n": 3}, "²": {"steps_mean": 1.0, "accuracy": 1.0, "n": 1}}
    hostile = LearnedOrder(order.policy, order.rules, {"learn": told, "validation": validation})
    card = model_card(hostile, "owner/name", [Measured(HOSTILE, 4, 4.0, 0.5, 0.4, 0.6, 9)])
    assert "<script" not in card
    assert "[x](" not in card
    assert "\n# title" not in card
    rows = [line for line in card.splitlines() if "alert" in line]
    assert [line.replace("\\|", "").count("|") for line in rows] == [6, 3]


def test_the_card_has_a_licence_and_the_denoiser_it_is_for(order, hub) -> None:
    pushed = push_to_hub(order, "someone/order", dry_run=True, license="mit", base_model="GSAI-ML/LLaDA-8B-Instruct")
    front = pushed.card.split("---\n")[1].splitlines()
    assert "license: mit" in front
    assert "base_model: GSAI-ML/LLaDA-8B-Instruct" in front
    assert 'load_denoiser("GSAI-ML/LLaDA-8B-Instruct")' in pushed.card
    bare = push_to_hub(order, "someone/order", dry_run=True)
    assert "license: apache-2.0" in bare.card
    assert "base_model" not in bare.card


@pytest.mark.parametrize(
    "wrong", [{"license": "MIT\nprivate: yes"}, {"license": ""}, {"base_model": "none"}, {"base_model": "a/b\nc: d"}]
)
def test_front_matter_cannot_be_written_into(order, hub, wrong) -> None:
    with pytest.raises(UserError):
        push_to_hub(order, "someone/order", dry_run=True, **wrong)
