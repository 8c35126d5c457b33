"""Every link of README and of the docs leads somewhere, and every page can be reached from README."""

import re
from pathlib import Path

import pytest

from .test_guides import FENCE, PAGES, README, ROOT

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
OUTSIDE = ("http://", "https://", "mailto:")


def links(text: str) -> list[str]:
    """What the links of a page point to, in the order they stand in; code is no link."""
    return LINK.findall(re.sub(r"`[^`\n]*`", "code", FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """What can be pointed to in a page: its headings, as GitHub makes addresses of them."""
    heads = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def leads_nowhere(page: Path, link: str) -> bool:
    """Whether a link of a page points to no file of this repository, or to no heading of it."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return True
    return bool(anchor) and anchor not in anchors(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    inside = [link for link in links(page.read_text(encoding="utf-8")) if not link.startswith(OUTSIDE)]
    assert [link for link in inside if leads_nowhere(page, link)] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        inside = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")))
        for target in ((page.parent / link).resolve() for link in inside if link and not link.startswith(OUTSIDE)):
            waiting += [target] if target.suffix == ".md" else sorted(target.glob("*.md"))
    assert [page for page in PAGES if page not in reached] == []


def test_a_planted_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# What it does, `here`\n[a](page.md) [b](#what-it-does-here) [c](nowhere.md) [d](#other) `[e](code.md)`\n"
        "[![f](badge.svg)](page.md)\n```\n[g](fenced.md)\n```\n[h](../up.md) [i](https://elsewhere.org)\n"
    )
    found = links(page.read_text())
    assert [link for link in found if not link.startswith(OUTSIDE) and leads_nowhere(page, link)] == (
        ["nowhere.md", "#other", "../up.md"]
    )
