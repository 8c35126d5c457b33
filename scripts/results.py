"""Write the tables of README.md and docs/results.md from the records under docs/records.

    python scripts/results.py            rewrites them
    python scripts/results.py --check    exits 1 if they do not say what the records say

A table stands between `<!-- results: NAME -->` and `<!-- end -->`, where docs/records/NAME holds one of
    table.json    with the first line of records.jsonl as header.json, from `unmask bench`
    exact.jsonl   from `unmask exact`
    record.json   from a script in benchmarks/ (`NAME:speed` and what else results_speed.py has)
`<!-- results: NAME:sentence -->` (or `:seconds`) takes one sentence of an exact.jsonl instead, `NAME:ahead` how far an
order of a table.json is ahead. No number is typed by hand.
"""

import json
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any

from unmask.exact.gap import Cell, summaries

sys.path.insert(0, str(Path(__file__).parent))
from results_ahead import ahead_sentence
from results_speed import (
    load_sentence,
    render_caches,
    render_head,
    render_independence,
    render_policy,
    render_precision,
    render_speed,
    render_vocabularies,
)

ROOT = Path(__file__).parents[1]
GUIDES = ("exact", "measuring", "speed", "big-denoisers", "checkpoints")
WITH_TABLES = ("README.md", "docs/results.md", *(f"docs/guides/{name}.md" for name in GUIDES))
PAGES = tuple(ROOT / page for page in WITH_TABLES)
SLOT = re.compile(r"(<!-- results: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def interval(row: dict[str, Any]) -> str:
    """`52.4 [48.0, 56.7]`, in percent."""
    return f"{100 * row['accuracy']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def line(row: dict[str, Any]) -> str:
    """One sampler's row; learned orders in bold."""
    name = f"**{row['sampler']}**" if row["learned"] else f"`{row['sampler']}`"
    versus = row["versus"]
    ahead = told(versus) if versus else ""
    steps = f"{row['steps_mean']:.2f} [{row['steps_min']}, {row['steps_max']}]"
    cells = (name, row["budget"], steps, f"{row['nfe']:.2f}", f"{row['tpf']:.1f}", interval(row), ahead)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def told(versus: dict[str, Any]) -> str:
    """How far the reference is ahead; with its interval and Holm's p in tables that hold them."""
    points, p = f"{versus['points']:+.1f}", f"p = {versus['p']:.2g}"
    if "holm" not in versus:
        return f"{points} ({p})"
    return f"{points} [{versus['low']:.1f}, {versus['high']:.1f}] ({p}, Holm {versus['holm']:.2g})"


def render(folder: Path) -> str:
    """A markdown table and the sentence that says where it comes from."""
    if (folder / "exact.jsonl").is_file():
        return render_exact(folder)
    if (folder / "record.json").is_file():
        return render_record(folder)
    return render_bench(folder)


def percent(share: float | None) -> str:
    """`98.9`, or nothing."""
    return "" if share is None else f"{100 * share:.1f}"


def source(header: dict[str, Any], folder: Path) -> str:
    """Where a table comes from."""
    return (
        f"commit `{header['commit']}`, torch {header['torch']} on {header['device']}; records: "
        f"`{folder.relative_to(ROOT)}`."
    )


def render_exact(folder: Path) -> str:
    """Gap closed by family."""
    first, *rest = (folder / "exact.jsonl").read_text(encoding="utf-8").splitlines()
    header, cells = json.loads(first), [Cell.from_dict(json.loads(row)) for row in rest]
    lines = [
        "| family | cells | with a gap | median closed, % | worst, % | to the deterministic optimum, % | near-best "
        "states, % | nats over the entropy | worse than a heuristic |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in summaries(cells):
        name = f"**{row.name}**" if row.name == "all" else row.name
        numbers = " | ".join(map(percent, (row.median, row.smallest, row.to_deterministic)))
        near = percent(row.near_best)
        lines.append(f"| {name} | {row.cells} | {row.counted} | {numbers} | {near} | {row.excess:.4f} | {row.lost} |")
    known = [cell for cell in cells if cell.family in ("gate", "hmm")]
    if known:
        least = min(known, key=lambda cell: cell.near_best)
        lines += ["", (
            f"Of the {len(known)} cells of gate and hmm the one with the fewest near-best states has "
            f"{percent(least.near_best)} % ({least.family} {least.number} at {least.steps} steps)."
        )]  # fmt: skip
    longest = max(cell.seconds for cell in cells)
    counts = sorted({cell.updates for cell in cells})
    lines += ["", (
        f"{len(cells)} cells, seed {header['settings']['seed']}, {', '.join(map(str, counts))} updates each, at most "
        f"{longest:.0f} s on a machine busy with other work; {source(header, folder)}"
    )]  # fmt: skip
    return "\n".join(lines) + "\n"


def exact_cells(folder: Path) -> list[Cell]:
    """All cells of a record."""
    rows = (folder / "exact.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    return [Cell.from_dict(json.loads(row)) for row in rows]


def exact_seconds(folder: Path) -> str:
    """How long learning takes."""
    cells = exact_cells(folder)
    longest = max(cells, key=lambda cell: cell.seconds)
    return (
        f"With a core to itself, the first instance of each family at {longest.steps} steps took at most "
        f"{longest.seconds:.0f} s\n({longest.family}; `{folder.relative_to(ROOT)}`, {longest.updates} updates, the "
        "same NLLs to the last digit).\n"
    )


def exact_sentence(folder: Path) -> str:
    """All families in a sentence."""
    every = summaries(exact_cells(folder))[-1]
    return (
        f"It closes {percent(every.median)} % of it in the median over {every.counted} cells with a gap, and "
        f"{percent(every.smallest)} % in the worst;\n{every.lost or 'none'} of all {every.cells} cells is worse than "
        "the best heuristic by more than 0.001 nats.\n"
    )


def over(rows: list[dict[str, Any]], name: str, base: str) -> list[float]:
    """Median ratio of an estimator's cost to that of another on the same texts, at each share of the training."""
    cost = {(row["family"], row["steps"], row["trained"], row["estimator"]): row["cost"] for row in rows}
    ratios: dict[float, list[float]] = {}
    for (family, steps, trained, estimator), own in cost.items():
        if estimator.startswith(name):
            ratios.setdefault(trained, []).append(own / cost[family, steps, trained, base])
    return [median(found) for _, found in sorted(ratios.items())]


def render_record(folder: Path) -> str:
    """The study of recipes, or the variance of estimators."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if "ratios" in record:
        lines = ["| estimator | at the start | after 10 % | after 50 % |", "|---|---|---|---|"]
        for name, row in record["ratios"].items():
            lines.append(f"| {name} | {' | '.join(f'{ratio:.2f}' for ratio in row.values())} |")
        shared = " / ".join(f"{ratio:.2f}" for ratio in over(record["rows"], "default", "K=2, one step"))
        lines += ["", f"Over `K=2, one step`, whose two orders share their step, the default's is {shared}."]
        told = f"median deviation from the enumerated gradient {record['deviation']:.2f} times the expected"
        return "\n".join([*lines, "", f"{told}; {source(record, folder)}"]) + "\n"
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in record["cells"]:
        found.setdefault(cell["recipe"], []).append(cell)
    lines = [
        "| recipe | cells with a gap | median closed, % | worst, % | worse than a heuristic |",
        "|---|---|---|---|---|",
    ]
    for name, cells in found.items():
        closed = [cell["closed"] for cell in cells if cell["closed"] is not None]
        lost = sum(not cell["passes"] for cell in cells)
        lines.append(f"| {name} | {len(closed)} | {percent(median(closed))} | {percent(min(closed))} | {lost} |")
    updates = record["settings"]["updates"]
    return "\n".join([*lines, "", f"{updates} updates each; {source(record, folder)}"]) + "\n"


def render_bench(folder: Path) -> str:
    """Samplers side by side."""
    rows = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    header = json.loads((folder / "header.json").read_text(encoding="utf-8"))
    config = header["config"]
    rows.sort(key=lambda row: (row["budget"], -row["accuracy"]))
    against = config.get("against")
    reference = f"`{against.partition('@')[0]}`" if against else "learned"
    names = ("sampler", "budget", "steps, mean [min, max]", "NFE", "tokens / pass", "accuracy, % [95 %]")
    lines = [
        f"| {' | '.join(names)} | {reference} ahead by |",
        "|---|---|---|---|---|---|---|",
        *(line(row) for row in rows),
        "",
        f"{rows[0]['n']} problems of `{config['task']}`, split `{config['split']}`; {source(header, folder)}",
    ]
    return "\n".join(lines) + "\n"


def first_step(folder: Path) -> str:
    """How much the bundled denoiser knows before it has written anything (benchmarks/first_step.py)."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    right, same = record["answers_right"], record["tokens_as_in_the_slow_decode"]
    count, once, slowly = record["settings"]["count"], percent(right["one step"]), right["one position per step"]
    return (
        f"On {count} validation problems it is right on {once} % when all is written in a single step, and on\n"
        f"{percent(slowly)} % at one position per step; {percent(same['end tokens included'])} % of the positions, "
        f"ends of text included, are then written alike, and\n"
        f"{percent(same['content'])} % of those before the end (`docs/records/{folder.name}`).\n"
    )


PARTS = {
    "": render,
    "sentence": exact_sentence,
    "seconds": exact_seconds,
    "ahead": ahead_sentence,
    "speed": render_speed,
    "caches": render_caches,
    "independence": render_independence,
    "precision": render_precision,
    "head": render_head,
    "vocabularies": render_vocabularies,
    "policy": render_policy,
    "load": load_sentence,
    "knows": first_step,
}


def rewrite(text: str) -> str:
    """The page with every table made anew."""

    def fill(match: re.Match[str]) -> str:
        name, _, part = match[2].partition(":")
        folder = ROOT / "docs" / "records" / name
        return match[1] + PARTS[part](folder) + match[4]

    return SLOT.sub(fill, text)


def main() -> int:
    """Rewrite, or check."""
    stale = []
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rewrite(before)
        if before != after:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(after, encoding="utf-8")
    if "--check" in sys.argv and stale:
        print(f"not what the records say: {', '.join(stale)}; run python scripts/results.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
