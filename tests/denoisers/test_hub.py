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
