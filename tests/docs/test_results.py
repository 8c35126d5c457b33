"""The tables people read are the ones the records give."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", ROOT / "scripts" / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GUIDES = ("exact", "measuring", "speed", "big-denoisers", "checkpoints")


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", *(f"docs/guides/{name}.md" for name in GUIDES)])
def test_tables_say_what_the_records_say(results: ModuleType, page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert results.rewrite(text) == text


def test_a_changed_number_is_put_right(results: ModuleType) -> None:
    for page in results.PAGES:
        text = page.read_text(encoding="utf-8")
        for match in results.SLOT.finditer(text):
            lines = match[3].splitlines()
            row = lines[2] if len(lines) > 2 else lines[0]  # of a table, below the header and its rule
            spoiled = text.replace(row, re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), row, count=1))
            assert spoiled != text
            assert results.rewrite(spoiled) == text


def test_old_tables_and_new_ones_are_read(results: ModuleType) -> None:
    old = {"points": 5.84, "p": 0.00064}
    assert results.told(old) == "+5.8 (p = 0.00064)"
    new = old | {"low": 2.31, "high": 9.38, "holm": 0.0032}
    assert results.told(new) == "+5.8 [2.3, 9.4] (p = 0.00064, Holm 0.0032)"
