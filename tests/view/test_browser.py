"""The pages in a real browser: they play, keys and slider work, nothing overflows and nothing complains."""

import time
from pathlib import Path

import pytest

from unmask.evaluate.records import read_records
from unmask.view.page import render, write_page
from unmask.view.source import load

from .browser import Browser, find_chromium
from .conftest import make_records

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: `apt-get install chromium`, or Chrome on the PATH"),
]
WRITTEN = "document.querySelectorAll('.panel:first-child .token:not(.masked)').length"
STEP = "Number(document.getElementById('step').value)"
WIDE = """[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest('.scroll, .text, svg')).map(e => e.tagName + '.' + e.className)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert CHROMIUM is not None
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def pages(bench: Path, trace: Path, tmp_path: Path) -> dict[str, Path]:
    """Both kinds of page."""
    found = {}
    for name, source in (("report", bench), ("trace", trace)):
        found[name] = tmp_path / f"{name}.html"
        write_page(found[name], render(load(source), name))
    return found


@pytest.mark.parametrize(("name", "ends"), [("trace", 2), ("report", 1)])
def test_every_token_that_ends_a_text_is_a_sign_and_no_word(
    browser: Browser, pages: dict[str, Path], name: str, ends: int
) -> None:
    """The records of the report are older and know one."""
    browser.open(pages[name], 1280)
    shown = browser.run("[...document.querySelectorAll('.panel:first-child .token.end')].map(e => e.textContent)")
    assert shown == ["\u220e"] * ends


def test_a_trace_plays_step_by_step_with_keys_slider_and_buttons(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["trace"], 1280, fragment="#step=0")
    counts = [browser.run(WRITTEN)]
    for _ in range(4):
        browser.press("ArrowRight")
        counts.append(browser.run(WRITTEN))
    assert counts == [0, 2, 4, 6, 12], "the first sampler's reveals, step by step"
    browser.press("ArrowRight")
    assert browser.run(STEP) == 4, "there is no step after the last"
    browser.press("ArrowLeft")
    assert browser.run(WRITTEN) == 6
    slide = "s = document.getElementById('step'); s.value = 1; s.dispatchEvent(new Event('input'));"
    browser.run(slide)
    assert browser.run(WRITTEN) == 2
    browser.run("document.getElementById('step').focus()")
    browser.press("ArrowRight")
    assert browser.run(WRITTEN) == 4, "the slider itself moves by keys too, and by one"
    browser.run("document.activeElement.blur(); document.getElementById('back').click()")
    assert browser.run(WRITTEN) == 2
    assert "step 1 of 4, 2 of 12 written" in browser.run("document.querySelector('.state').textContent")
    assert browser.complaints() == []


def test_the_play_button_and_the_space_key_play_to_the_end(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["trace"], 1280, fragment="#step=0")
    browser.press(" ")
    assert browser.run("document.getElementById('play').textContent") == "Pause"
    seen, until = [0], time.monotonic() + 20
    while seen[-1] < 12 and time.monotonic() < until:
        seen.append(browser.run(WRITTEN))
        time.sleep(0.05)
    assert sorted(set(seen)) == [0, 2, 4, 6, 12]
    assert seen == sorted(seen)
    assert browser.run("document.getElementById('play').textContent") == "Play"
    browser.run("document.getElementById('play').focus()")
    browser.press(" ")
    assert browser.run("document.getElementById('play').textContent") == "Pause", "once, not twice"
    assert browser.run(WRITTEN) == 0, "from the start again"


def test_a_token_tells_its_step_and_probability_by_pointer_and_by_keyboard(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["trace"], 1280)
    detail = "document.getElementById('detail').textContent"
    browser.run("document.querySelector('.token').focus()")
    told = browser.run(detail)
    assert "position 1 of 12, written at step 1 of 4, probability then 0.123" in told
    browser.press("ArrowDown")
    assert "position 2 of 12" in browser.run(detail)
    assert browser.run("document.querySelectorAll('.panel:first-child [tabindex=\"0\"]').length") == 1
    browser.press("ArrowLeft")
    assert browser.run(STEP) == 3
    box = "JSON.parse(JSON.stringify(document.querySelectorAll('.token')[2].getBoundingClientRect()))"
    at = browser.run(box)
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=at["x"] + 3, y=at["y"] + 3)
    assert "position 3 of 12" in browser.run(detail)
    labels = browser.run("[...document.querySelectorAll('.panel:first-child .token')].map(t => t.ariaLabel)")
    assert all("position" in label for label in labels)


def test_another_prompt_and_other_samplers_can_be_chosen(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["trace"], 1280)
    panels = "document.querySelectorAll('.panel').length"
    assert browser.run(panels) == 2
    for left in (1, 0):
        browser.run("document.querySelector('#samplers input:checked').click()")
        assert browser.run(panels) == left
    assert browser.run("document.getElementById('play').disabled") is True
    browser.run("document.querySelector('#samplers input').click()")
    browser.run("w = document.getElementById('which'); w.value = '1'; w.dispatchEvent(new Event('change'))")
    assert browser.run("document.getElementById('prompt').textContent") == "And now?"
    assert browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["report", "trace"])
def test_nothing_overflows_complains_or_does_harm(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    browser.open(pages[name], width, scheme=scheme)
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert browser.run(WIDE) == []
    assert browser.run("window.harmed === undefined") is True
    assert browser.complaints() == []
    body = "getComputedStyle(document.body)"
    ground, ink = browser.run(f"[{body}.backgroundColor, {body}.color]")
    assert (contrast(ground, ink) > 7, ground == "rgb(255, 255, 255)") == (True, scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_print_and_tokens_have_contrast(browser: Browser, pages: dict[str, Path], scheme: str) -> None:
    """At least 4.5 to 1, against the ground drawn to a canvas, as oklch has no other way to sRGB."""
    browser.open(pages["report"], 1280, scheme=scheme)
    pairs = browser.run("""(() => {
      const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
      const rgb = (colour) => { context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
        return 'rgb(' + [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).join(', ') + ')'; };
      const ground = rgb(getComputedStyle(document.body).backgroundColor);
      const style = (e) => getComputedStyle(e);
      const tokens = [...document.querySelectorAll('.token:not(.masked)')].map(
        (e) => ['token', rgb(style(e).backgroundColor), rgb(style(e).color)]);
      const soft = [...document.querySelectorAll('.caption, dt, .state')].map(
        (e) => ['soft', ground, rgb(style(e).color)]);
      const lines = [...document.querySelectorAll('.legend .line')].map((e) => ['line', ground, rgb(style(e).stroke)]);
      return [...tokens, ...soft, ...lines];
    })()""")
    assert {kind for kind, _, _ in pairs} == {"token", "soft", "line"}
    assert [(pair, contrast(*pair[1:])) for pair in pairs if contrast(*pair[1:]) < 4.5] == []


def test_a_cell_of_a_heat_map_is_read_by_pointer_and_by_keyboard(browser: Browser, bench: Path, tmp_path: Path) -> None:
    """Every cell is held to counts made from the records."""
    source = load(bench)
    write_page(tmp_path / "report.html", render(source, "report"))
    browser.open(tmp_path / "report.html", 1280)
    name = browser.run("document.querySelector('.maps figcaption').textContent")
    sampler, _, budget = name.rpartition(" \u2264 ")
    seed = source.rows[0].seed
    told = [
        record.steps_by_position
        for record in read_records(bench / "records.jsonl").records
        if (record.sampler, record.budget, record.seed) == (sampler, int(budget), seed)
    ]
    positions, steps = max(map(len, told)), max(map(max, told))
    read = "document.querySelector('.map output').textContent"
    browser.run("document.querySelector('.map img').focus()")
    found = []
    for row in range(steps):
        for _ in range(positions):
            browser.press("ArrowLeft")
        for column in range(positions):
            here = [steps_of[column] for steps_of in told if steps_of[column]]
            share = round(100 * here.count(row + 1) / len(here))
            text = browser.run(read)
            assert text.startswith(f"position {column + 1}, step {row + 1}: ")
            assert abs(int(text.split(": ")[1].split(" %")[0]) - share) <= 1
            found.append(share)
            browser.press("ArrowRight")
        browser.press("ArrowDown")
    assert len(set(found)) > 2, "or the test shows nothing"
    browser.run("""(() => { const image = document.querySelector('.map img'), box = image.getBoundingClientRect();
      image.dispatchEvent(new PointerEvent('pointermove', {clientX: box.right - 1, clientY: box.bottom - 1})) })()""")
    assert browser.run(read).startswith(f"position {positions}, step {steps}: ")
    assert browser.complaints() == []


def test_a_report_of_eight_thousand_answers_opens_at_once(browser: Browser, tmp_path: Path) -> None:
    make_records(tmp_path, 1000, [f"sampler{number}" for number in range(8)], (4,), shown=8)
    write_page(tmp_path / "report.html", render(load(tmp_path), "x"))
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
    assert min(browser.open(tmp_path / "report.html", 1280) for _ in range(3)) < 2
    assert browser.complaints() == []


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours written `rgb(1, 2, 3)`."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_prompts_where_the_samplers_differ_can_be_picked(browser: Browser, bench: Path, tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", render(load(bench), "x"))
    browser.open(tmp_path / "report.html", 1280)
    shown = "[...document.querySelectorAll('#which option')].filter(o => !o.hidden).length"
    told = "document.getElementById('differ-count').textContent"
    apart, total = map(int, browser.run(told).split(" of "))
    assert browser.run(shown) == total
    browser.run("document.getElementById('differ').click()")
    assert browser.run(shown) == apart
    headings = browser.run("[...document.querySelectorAll('.panel h3')].map(h => h.textContent)")
    if apart:
        assert {"\u2713" in heading for heading in headings} == {True, False}
    assert browser.complaints() == []


def test_on_a_phone_a_token_is_told_in_its_panel_and_nothing_covers_it(browser: Browser, trace: Path) -> None:
    page = trace.with_suffix(".html")
    write_page(page, render(load(trace), "x"))
    browser.open(page, 360)
    browser.run("document.querySelector('.panel .token').click()")
    assert "position 1 of 12" in browser.run("document.querySelector('.panel .told').textContent")
    assert browser.run("getComputedStyle(document.getElementById('detail')).position") == "static"
