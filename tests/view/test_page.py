"""The page is whole in itself, says what the records say, and trusts no text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from unmask.evaluate.table import TableRow, Versus
from unmask.samplers.trace import read_traces
from unmask.view.page import asset, played, provenance, render, safe_json
from unmask.view.source import Bench, load

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


def made(*rows: TableRow) -> Bench:
    """A bench of a table alone."""
    return Bench({}, list(rows), [], [])


def test_records_are_shown_against_what_the_bench_was_asked_to_test_against(bench: Path) -> None:
    """`unmask bench --against iid`: its summary says so, and the page has the column that the terminal had."""
    assert "order ahead by" in render(load(bench), "x").html, "the learned order unless told otherwise"
    (bench / "summary.json").write_text(json.dumps({"against": "iid@4", "tested_seed": 0, "learnings": []}))
    html = render(load(bench), "x").html
    assert "iid ahead by" in html
    rows = load(bench).rows
    assert [row.versus is None for row in rows] == [(row.sampler, row.budget) == ("iid", 4) for row in rows]


@pytest.mark.parametrize("summary", ['{"against": 5}', "{", '{"against": "@x", "learnings": [1, {"labels": [[]]}]}'])
def test_a_summary_that_cannot_be_read_is_no_reason_to_show_nothing(bench: Path, summary: str) -> None:
    (bench / "summary.json").write_text(summary)
    assert "order ahead by" in render(load(bench), "x").html


def test_a_table_is_named_after_its_reference_and_shows_holms_p() -> None:
    versus = Versus("threshold:level=0.8", 48, 5.0, 0.01, 1.0, 9.0, 8, 2, 0.04)
    row = TableRow("iid", 4, 4.0, 4, 4, 4.0, 3.0, 0.5, 0.4, 0.6, 100, 1.0, 0, versus=versus)
    html = render(made(row), "x").html
    assert "threshold:level=0.8 ahead by [95 %], Holm p" in html
    assert "+5.0 [1.0, 9.0], p = 0.04" in html
    assert "learned ahead" not in html


def test_playback_begins_with_the_learned_order(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "e")
    make_records(tmp_path, 4, (*names, "learned"), (2, 4, 8))
    first = data(render(load(tmp_path), "x").html)["first"]
    assert first[0][0] == "learned"


def test_the_right_answer_can_be_played_along_with_the_others(bench: Path) -> None:
    lines = (bench / "records.jsonl").read_text().splitlines()
    changed = [lines[0], *(json.dumps(json.loads(line) | {"reference": "42"}) for line in lines[1:])]
    (bench / "records.jsonl").write_text("".join(line + "\n" for line in changed))
    assert {trace["reference"] for trace in data(render(load(bench), "x").html)["traces"]} == {"42"}


def test_provenance_is_in_words() -> None:
    about = {"config": {"learning_seeds": {"learned": 0}, "seeds": [0, 1], "tuned": True}, "asked": {"orders": ["a"]}}
    told = provenance(about)
    assert "<dd>learned: 0</dd>" in told
    assert "<dd>0, 1</dd>" in told
    assert "<dd>yes</dd>" in told
    assert "<dd>orders: a</dd>" in told
    assert not re.search(r"[{}]|&#x27;|\[", told)
