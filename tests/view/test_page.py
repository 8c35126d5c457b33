"""The page is whole in itself, says what the records say, and trusts no text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from unmask.samplers.trace import read_traces
from unmask.view.page import asset, played, render, safe_json
from unmask.view.source import load

from .conftest import HARM, make_records


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def data(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize("kind", ["bench", "trace"])
def test_no_text_can_become_a_tag(request, kind: str) -> None:
    html = render(load(request.getfixturevalue(kind)), f"name {HARM}").html
    tags = Tags(html).found
    assert [tag for tag, _ in tags].count("script") == 2
    assert not [attributes for _, attributes in tags if any(name.startswith("on") for name in attributes)]
    assert all((attributes.get("src") or "data:").startswith("data:") for _, attributes in tags)
    assert HARM not in html
    assert HARM in "".join(data(html)["prompts"])


@pytest.mark.parametrize("kind", ["bench", "trace"])
def test_the_page_refers_to_nothing_outside(request, kind: str) -> None:
    html = render(load(request.getfixturevalue(kind)), "x").html
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|url\(|<link", html)


def test_the_script_builds_no_html() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", asset("page.js"))


def test_json_in_a_script_cannot_end_it() -> None:
    value = {"a": ["</script>", "<!--", "\u2028", "é"]}
    assert "<" not in safe_json(value)
    assert json.loads(safe_json(value)) == value


def test_the_table_and_the_provenance_are_those_of_the_records(bench: Path) -> None:
    source = load(bench)
    html = render(source, "bench").html
    assert len(source.rows) == 4
    for row in source.rows:
        assert f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]" in html
    assert html.count('<tr class="learned">') == 2
    for word in ("c0ffee", "2.13.0", "wordprob", "<dt>seeds</dt><dd>0</dd>"):
        assert word in html
    assert html.count("data:image/png") == 4 + 1, "a map for each cell, and the scale"


def test_all_prompts_are_played_where_there_is_room_and_some_where_not(trace: Path, monkeypatch) -> None:
    traces = read_traces(trace).traces
    assert played(traces)[1:] == (2, 0)
    monkeypatch.setattr("unmask.view.page.EMBEDDED", 10)
    assert played(traces)[1:] == (1, 1)
    assert "1 of 2 prompts can be played here" in render(load(trace), "x").notes[0]


@pytest.mark.slow
def test_a_thousand_problems_of_eight_samplers_stay_small(tmp_path: Path) -> None:
    make_records(tmp_path, 1000, [f"sampler{number}" for number in range(8)], (2, 4, 8))
    assert len(render(load(tmp_path), "x").html.encode()) < 3_000_000
