"""Finding a denoiser by name: what is refused, and how the hub's own errors read. No network is used."""

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors

from unmask.core.errors import UserError
from unmask.denoisers.hub import BUNDLED, find_path


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert find_path(str(tmp_path)) == tmp_path


def test_the_folder_of_a_fit_stands_for_the_denoiser_it_made(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="has not made a denoiser yet"):
        find_path(str(tmp_path))
    (tmp_path / "denoiser").mkdir()
    (tmp_path / "denoiser" / "config.json").write_text("{}")
    assert find_path(str(tmp_path)) == tmp_path / "denoiser"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wordprb", "Did you mean `wordprob`\\?.*Or give a folder, or owner/name"),
        ("./nowhere/at-all", "there is no folder"),
        ("a/b/c", "there is no folder a/b/c; give a folder, owner/name or one of wordprob"),
        (__file__, "is a file; give the folder"),
    ],
)
def test_a_name_that_is_nothing_says_what_would_be(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_path(name)


def test_a_bundled_name_without_its_files_says_how_to_make_one(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(BUNDLED, "wordprob", tmp_path / "absent")
    with pytest.raises(UserError, match="not part of this installation; fit one with `unmask fit --task wordprob"):
        find_path("wordprob")


def test_owner_and_name_are_fetched_without_code_or_pickles(monkeypatch, tmp_path: Path) -> None:
    asked = {}

    def fetch(name: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert find_path("someone/denoiser") == tmp_path
    (patterns,) = asked.values()
    assert not any(pattern.endswith((".py", ".bin", ".pt", ".pkl", "*")) for pattern in patterns)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (errors.GatedRepoError, "is gated: ask for access"),
        (errors.RepositoryNotFoundError, "nor such a repository on the hub"),
        (errors.LocalEntryNotFoundError, "the hub cannot be reached: check the network"),
        (errors.HFValidationError, "is neither a folder nor a name the hub allows"),
        (errors.HfHubHTTPError, "could not fetch `someone/denoiser`"),
        (ConnectionResetError, "could not fetch `someone/denoiser` from the hub \\(ConnectionResetError\\)"),
    ],
)
def test_what_the_hub_says_becomes_a_sentence(monkeypatch, kind: type[Exception], said: str) -> None:
    def fail(name: str, **patterns: list[str]) -> str:
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError, match=said) as caught:
        find_path("someone/denoiser")
    assert "\n" not in str(caught.value)


# ---- what people write


@pytest.mark.parametrize(
    ("written", "name", "revision"),
    [
        ("someone/denoiser", "someone/denoiser", None),
        ("https://huggingface.co/someone/denoiser", "someone/denoiser", None),
        ("https://huggingface.co/someone/denoiser/", "someone/denoiser", None),
        ("http://www.huggingface.co/someone/denoiser?library=x#top", "someone/denoiser", None),
        ("huggingface.co/someone/denoiser", "someone/denoiser", None),
        ("https://hf.co/someone/denoiser/tree/main", "someone/denoiser", "main"),
        ("https://huggingface.co/someone/denoiser/tree/refs%2Fpr%2F3", "someone/denoiser", "refs/pr/3"),
        ("https://huggingface.co/someone/denoiser/commit/abc123", "someone/denoiser", "abc123"),
        ("https://huggingface.co/gpt2", "gpt2", None),
        ("https:/huggingface.co/someone/denoiser", "someone/denoiser", None),
        ("hf://someone/denoiser", "someone/denoiser", None),
        ("hf://someone/denoiser@v2", "someone/denoiser", "v2"),
    ],
)
def test_an_address_of_the_hub_is_its_repository(monkeypatch, tmp_path, written, name, revision) -> None:
    asked = []

    def fetch(name: str, revision: str | None = None, **patterns: list[str]) -> str:
        asked.append((name, revision))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert find_path(written) == tmp_path
    assert asked == [(name, revision)]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("https://example.org/model", "is not on the hub; fetch it yourself"),
        ("https://huggingface.co/datasets/a/b", "is no model of the hub"),
        ("https://huggingface.co/spaces/a/b", "is no model of the hub"),
        ("https://huggingface.co/", "is no model of the hub"),
        ("https://huggingface.co/a/b/c/d", "is no model of the hub"),
        ("https://huggingface.co/a/b/blob/main/sub/m.safetensors", "hf download a/b sub/m.safetensors"),
        ("https://huggingface.co/a/b/resolve/main/model.safetensors", "hf download a/b model.safetensors"),
        ("https://huggingface.co/a/b/tree/main/sub", "hf download a/b sub"),
        ("https://huggingface.co/a/b/discussions", "is no model of the hub"),
        ("model.safetensors", "there is no file model.safetensors"),
        ("missing.bin", "there is no file missing.bin"),
        ("mdm-170M.safetensors", "there is no file mdm-170M.safetensors"),
        ("runs/mdm.safetensors", "there is no file runs/mdm.safetensors"),
        ("./owner/name", "there is no folder ./owner/name"),
        ("../name", "there is no folder ../name"),
        ("~/nowhere/at/all", "there is no folder ~/nowhere/at/all"),
        ("~nobody-of-this-name/x", "there is no folder"),
        ("/nowhere", "there is no folder /nowhere"),
        ("file:///nowhere", "there is no folder file:///nowhere"),
        ("C:\\models\\x", "there is no folder"),
        ("a\0b", "cannot be a path|unknown denoiser"),
        ("x" * 5000, "cannot be a path|unknown denoiser"),
    ],
)
def test_what_is_nowhere_is_not_looked_for_on_the_hub(monkeypatch, written: str, said: str) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("the hub was asked"))
    with pytest.raises(UserError, match=said) as caught:
        find_path(written)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_beside_others_is_not_looked_for_on_the_hub(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("the hub was asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match=r"there is no folder runs/missing \(runs is there\)"):
        find_path("runs/missing")


def test_a_home_a_file_address_and_a_folder_of_the_hubs_cache_are_read(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my models" / "x").mkdir(parents=True)
    assert find_path("~/my models/x") == tmp_path / "my models" / "x"
    assert find_path(f"file://{tmp_path}/my%20models/x") == tmp_path / "my models" / "x"
    cache = tmp_path / "models--a--b"
    for commit in ("111", "222"):
        (cache / "snapshots" / commit).mkdir(parents=True)
    with pytest.raises(UserError, match="cache with 2 snapshots and none is called the newest"):
        find_path(str(cache))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("222")
    assert find_path(str(cache)) == cache / "snapshots" / "222"
    assert find_path(f"{cache}/") == cache / "snapshots" / "222"
    assert find_path(str(cache / "snapshots" / "111")) == cache / "snapshots" / "111"
    (cache / "refs" / "main").write_text("../../../../etc")
    (cache / "snapshots" / "111").rmdir()
    assert find_path(str(cache)) == cache / "snapshots" / "222"
