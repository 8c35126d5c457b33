"""What goes along with a release says the same as the package."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

import unmask

ROOT = Path(__file__).parents[2]


@pytest.fixture
def api():
    spec = importlib.util.spec_from_file_location("api", ROOT / "scripts" / "api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_public_names_says_what_the_docstrings_say(api):
    made = api.page()
    assert api.PAGE.read_text(encoding="utf-8") == made, "run python scripts/api.py"
    for name in unmask.__all__:
        assert name.startswith("__") or f"## `{name}`" in made


def test_every_public_name_says_what_it_is():
    for name in unmask.__all__:
        value = getattr(unmask, name)
        assert name.startswith("__") or len(value.__doc__) > 20, name


def test_the_citation_is_of_this_version_and_has_what_the_format_asks_for():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == unmask.__version__
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    for entry in (cited, *cited["references"]):
        for author in entry["authors"]:
            assert author.keys() <= {"name", "family-names", "given-names", "orcid"}
            assert author.keys()
    assert "2602.23968" in str(cited["references"])


def test_the_changelog_has_the_version_or_says_that_it_is_being_prepared():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads[0] == "Unreleased" or heads[0].startswith(unmask.__version__)
    assert unmask.__version__ in text


@pytest.mark.slow
def test_a_module_of_a_program_that_is_not_installed_is_left_out(api, monkeypatch):
    """SGLang is on few machines, and `make docs` ended in its ImportError."""
    monkeypatch.setitem(sys.modules, "sglang", None)
    monkeypatch.delitem(sys.modules, "unmask.serve.sglang_algorithm", raising=False)
    assert "unmask.serve.sglang_algorithm" not in api.modules()
    assert "unmask.serve.sglang_plugin" in api.modules()


@pytest.mark.slow
def test_pages_of_modules_can_be_built(api, tmp_path):
    pytest.importorskip("pdoc")
    assert {"unmask", "unmask.samplers.halton", "unmask.cli.bench"} <= set(api.modules())
    api.build(tmp_path, ["unmask", "unmask.serve", "unmask.samplers.halton"])
    assert (tmp_path / "unmask.html").is_file()
    assert "low-discrepancy" in (tmp_path / "unmask" / "samplers" / "halton.html").read_text(encoding="utf-8")
