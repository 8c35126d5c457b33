"""One page, whole in itself: the report of a bench, or the playback of a trace. No network, no fonts, no libraries.

Style and script are files in `assets`. Everything that a model, a task or a person wrote is escaped here, or
handed to the script as JSON that cannot end its element, and put into the page as text there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from unmask.core.files import write_text
from unmask.evaluate.table import TableRow, Versus, reference
from unmask.samplers.trace import Trace, TraceFile, to_json
from unmask.view import plot
from unmask.view.heat import Heat, data_url, heat_of
from unmask.view.source import Bench, shown
from unmask.view.style import series

EMBEDDED = 1_000_000  # characters of traces a page may carry; what is more is left out, and said
MAPS = 60  # heat maps a page may carry
GENERATOR = b'<meta name="generator" content="unmask">'
LONGEST = 20_000  # characters of a prompt that are shown
TIMED = (
    " Times are of the machine that measured: tokens/s over all answers; ms of an answer, its share of its batch's "
    "wall time (at a batch of 1 its latency)."
)
TESTED = (
    " Ahead: points on the same problems, with Newcombe's interval; p is McNemar's exact test, corrected by Holm "
    "for all tests of the table."
)


class Page(NamedTuple):
    """A page and what the person should know of it. prompts: how many can be played."""

    html: str
    notes: list[str]
    prompts: int


class Played(NamedTuple):
    """What the script plays. left_out: prompts there was no room for."""

    json: str
    prompts: int
    left_out: int


@cache
def asset(name: str) -> str:
    """A file of `assets`."""
    return (files("unmask.view") / "assets" / name).read_text(encoding="utf-8")


def safe_json(value: Any) -> str:
    """JSON that is inert inside a <script>: no `<` in it, so no tag and no comment can begin."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def write_page(path: Path, page: Page) -> None:
    """Replace `path` by the page. A half character, which some tokens are, becomes a question mark."""
    write_text(path, page.html.encode("utf-8", "replace").decode())


def is_page(path: Path) -> bool:
    """Whether a file is a page that unmask wrote; earlier ones are known by their title."""
    with open(path, "rb") as file:
        start = file.read(2048)
    return GENERATOR in start or b"<title>unmask: " in start


def render(source: Bench | TraceFile, name: str) -> Page:
    """The page of what `load` found; `name` is of the file, for the title."""
    return report(source, name) if isinstance(source, Bench) else playback(source, name)


# ---- the two pages


def playback(source: TraceFile, name: str) -> Page:
    """The traces of a file, to be played."""
    play = played(source.traces)
    samplers = list(dict.fromkeys(trace.sampler for trace in source.traces))
    lead = f"{_count(play.prompts + play.left_out, 'prompt')}, written by {', '.join(samplers)}."
    notes = _left_out(play)
    body = [*_notes(notes), asset("player.html"), provenance(source.about)]
    return _page(f"unmask: {name}", lead, body, play, notes)


def report(source: Bench, name: str) -> Page:
    """The table, the plot, heat maps, some playbacks, and where it all comes from."""
    config = source.header.get("config")
    config = config if isinstance(config, dict) else {}
    what = f"{config['task']}, split {config.get('split')}" if "task" in config else name
    play, maps = played(shown(source.records)), heat_maps(source)
    most = max(row.n for row in source.rows)
    samplers = _count(len({row.sampler for row in source.rows}), "sampler")
    lead = f"{samplers} on {_count(most, 'problem')}, the same for each."
    if len({row.n for row in source.rows}) > 1:
        lead = f"{samplers} on up to {_count(most, 'problem')}."
    notes = [*source.notes, *_left_out(play)]
    body = [*_notes(notes), accuracy_plot(source.rows), table(source.rows), maps]
    if play.prompts:
        body.append(asset("player.html"))
    else:
        body.append('<p class="caption">These records hold no tokens, so nothing can be played; '
                    "<code>unmask sample --trace</code> and newer records do.</p>")  # fmt: skip
    return _page(f"unmask: {what}", lead, [*body, provenance(source.header)], play, notes)


def _page(title: str, lead: str, body: Iterable[str], play: Played, notes: list[str]) -> Page:
    html = Template(asset("page.html")).substitute(
        title=escape(title),
        css=asset("page.css"),
        js=asset("heat.js") + asset("page.js"),
        lead=f"<p>{escape(lead)}</p>",
        body="\n".join(body),
        data=play.json,
    )
    return Page(html, notes, play.prompts)


def _notes(notes: Iterable[str]) -> list[str]:
    return [f'<p class="note">{escape(note)}</p>' for note in notes]


def _left_out(play: Played) -> list[str]:
    total = play.prompts + play.left_out
    return [f"{play.prompts} of {total} prompts can be played here; the others would make the page too large"] * bool(
        play.left_out
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


# ---- its parts


def accuracy_plot(rows: Sequence[TableRow]) -> str:
    """Accuracy against steps, drawn for a wide screen and for a phone."""
    lines = series(rows)
    seeds = sorted({row.seed for row in rows})
    only = f" Seed {rows[0].seed} only; the table has the others." if len(seeds) > 1 else ""
    return (
        "<section><h2>Accuracy against steps</h2>"
        f"{plot.draw(lines, 760, 400)}{plot.draw(lines, 340, 320)}{plot.legend(lines)}"
        '<p class="caption">Bars are 95 % intervals (Wilson). Learned orders: thick, whole lines, filled marks. '
        f"Points at the same steps are set a little apart.{only}</p></section>"
    )


def table(rows: Sequence[TableRow]) -> str:
    """All rows with all numbers."""
    seeds, compared = len({row.seed for row in rows}) > 1, any(row.versus for row in rows)
    names = ["sampler", "budget", *(["seed"] if seeds else []), "steps, mean [min, max]", "NFE", "TPF"]
    timed = any(row.tokens_per_second is not None for row in rows)
    names += [*(["tokens/s", "ms, p50 / p99"] if timed else []), "accuracy, % [95 %]", "n"]
    names += [f"{escape(reference(rows))} ahead by [95 %], Holm p"] if compared else []
    lines = []
    for row in rows:
        cells = [
            row.budget,
            *([row.seed] if seeds else []),
            f"{row.steps_mean:.2f} [{row.steps_min}, {row.steps_max}]",
            f"{row.nfe:.2f}",
            f"{row.tpf:.2f}",
            *(times(row) if timed else []),
            f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
            row.n,
        ]
        if compared:
            cells.append(ahead(row.versus) if row.versus else "")
        kind = ' class="learned"' if row.learned else ""
        values = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr{kind}><th scope="row">{escape(row.sampler)}</th>{values}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        '<section><h2 id="table">Table</h2><div class="scroll" tabindex="0" role="region" aria-labelledby="table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="caption">NFE: denoiser passes an example took. TPF: tokens a pass, end tokens not counted. '
        f"Learned orders in bold.{TIMED if timed else ''}{TESTED if compared else ''}</p></section>"
    )


def times(row: TableRow) -> list[str]:
    """Tokens a second, and an answer's time in milliseconds: the median and the 99th percentile."""
    if row.tokens_per_second is None or row.seconds_p50 is None or row.seconds_p99 is None:
        return ["", ""]
    return [f"{row.tokens_per_second:.0f}", f"{1000 * row.seconds_p50:.1f} / {1000 * row.seconds_p99:.1f}"]


def ahead(versus: Versus) -> str:
    """`+3.1 [1.8, 4.5], p = 0.0098`: p corrected for all the tests of the table."""
    return f"{versus.points:+.1f} [{versus.low:.1f}, {versus.high:.1f}], p = {versus.holm:.2g}"


def heat_maps(source: Bench) -> str:
    """Reveal step by position for every sampler and budget of the first seed; nothing where it was not recorded."""
    learned = {row.sampler for row in source.rows if row.learned}
    found = [(name, budget, heat_of(steps), steps.examples) for (name, budget), steps in source.steps.items()]
    kept = sorted((cell for cell in found if cell[2] is not None), key=lambda cell: (cell[1], cell[0] not in learned))
    if not kept:
        return ""
    maps = [heat_map(name, budget, made, n, name in learned) for name, budget, made, n in kept[:MAPS] if made]
    more = f" {len(kept) - MAPS} more are left out." if len(kept) > MAPS else ""
    scale = data_url([[step / 32 for step in range(33)]])
    return (
        "<section><h2>Which position at which step</h2>"
        '<p class="caption">Each column is a position of the response, each line a step, from the first on top; the '
        "stronger the colour, the more examples had that position written at that step. Point at a cell, or move "
        f"through a map with the arrow keys, to read it.{more}</p>"
        f'<p class="scale"><span>no example</span><img alt="" src="{scale}"><span>all examples</span></p>'
        f'<div class="maps">{"".join(maps)}</div></section>'
    )


def heat_map(name: str, budget: int, made: Heat, n: int, learned: bool) -> str:
    """One of them, its gist in words for those who cannot see it."""
    first, middle, last = made.thirds
    told = (
        f"{name}, budget {budget}: mean step {first:.1f} in the first third of the positions, {middle:.1f} in the "
        f"middle, {last:.1f} in the last"
    )
    kind = ' class="learned"' if learned else ""
    return (
        f"<figure><figcaption{kind}>{escape(name)} &le; {budget}</figcaption>"
        f'<div class="map"><div class="up"><span>step 1</span><span>{made.steps}</span></div>'
        f'<img src="{data_url(made.share)}" alt="{escape(told)}, n = {n}" tabindex="0" data-steps="{made.steps}" '
        f'data-positions="{made.positions}" data-examples="{n:,}">'
        f'<div class="across"><span>position 1</span><span>{made.positions}</span></div>'
        f'<output class="across">mean step {first:.1f}, {middle:.1f}, {last:.1f} by thirds</output></div></figure>'
    )


def played(traces: Sequence[Trace]) -> Played:
    """As many prompts as there is room for, with all their traces; the first at any rate, cut where it is endless.

    first: samplers to show at once, learned orders before the others, each at its budget nearest the middle.
    """
    by_prompt: dict[str, list[Trace]] = {}
    for trace in traces:
        by_prompt.setdefault(trace.prompt, []).append(trace)
    prompts: list[str] = []
    entries: list[dict[str, Any]] = []
    room = EMBEDDED
    for prompt, group in by_prompt.items():
        made = [to_json(trace) | {"prompt": len(prompts)} for trace in group]
        size = sum(len(safe_json(entry)) for entry in made) + min(len(prompt), LONGEST)
        if size > room and prompts:
            break
        room -= size
        text = prompt if len(prompt) <= LONGEST else prompt[:LONGEST] + "…"
        prompts.append(text)
        entries += [{key: entry[key] for key in entry if key != "text"} for entry in made]
    budgets = sorted({trace.budget for trace in traces})
    middle = budgets[(len(budgets) - 1) // 2] if budgets else 0
    chosen = sorted(traces, key=lambda trace: (not trace.learned, abs(trace.budget - middle)))
    nearest: dict[str, int] = {}
    for trace in chosen:
        nearest.setdefault(trace.sampler, trace.budget)
    first = list(nearest.items())
    value = {"prompts": prompts, "traces": entries, "first": first}
    return Played(safe_json(value), len(prompts), len(by_prompt) - len(prompts))


def words(value: Any) -> str:
    """A value of JSON as people write it: `margin, iid`; `learned: 0, other: 1`; yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')}: {words(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value))
    return "none" if value is None else str(value)


def provenance(about: Mapping[str, Any]) -> str:
    """What it was made with: everything the file says of itself."""
    config = about.get("config")
    flat = {**(config if isinstance(config, dict) else {}), **{key: about[key] for key in about if key != "config"}}
    lines = []
    for key, value in flat.items():
        if key in ("format", "version") or value is None or value in ([], {}):
            continue
        lines.append(f"<dt>{escape(str(key).replace('_', ' '))}</dt><dd>{escape(words(value))}</dd>")
    if not lines:
        return ""
    return f"<section><h2>Where this comes from</h2><dl>{''.join(lines)}</dl></section>"
