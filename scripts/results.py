"""Write the tables of README.md and docs/results.md from the records under docs/records.

    python scripts/results.py            rewrites them
    python scripts/results.py --check    exits 1 if they do not say what the records say

A table stands between `<!-- results: NAME -->` and `<!-- end -->`, where docs/records/NAME holds the table.json and the
first line of the records.jsonl (as header.json) that `unmask bench` left. No number is typed by hand.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
SLOT = re.compile(r"(<!-- results: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def interval(row: dict[str, Any]) -> str:
    """`52.4 [48.0, 56.7]`, in percent."""
    return f"{100 * row['accuracy']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def line(row: dict[str, Any]) -> str:
    """One sampler's row; learned orders in bold."""
    name = f"**{row['sampler']}**" if row["learned"] else f"`{row['sampler']}`"
    versus = row["versus"]
    ahead = f"{versus['points']:+.1f} (p = {versus['p']:.2g})" if versus else ""
    steps = f"{row['steps_mean']:.2f} [{row['steps_min']}, {row['steps_max']}]"
    cells = (name, row["budget"], steps, f"{row['nfe']:.2f}", f"{row['tpf']:.1f}", interval(row), ahead)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def render(folder: Path) -> str:
    """A markdown table and the sentence that says where it comes from."""
    rows = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    header = json.loads((folder / "header.json").read_text(encoding="utf-8"))
    config = header["config"]
    rows.sort(key=lambda row: (row["budget"], -row["accuracy"]))
    lines = [
        "| sampler | budget | steps, mean [min, max] | NFE | tokens / pass | accuracy, % [95 %] | learned ahead by |",
        "|---|---|---|---|---|---|---|",
        *(line(row) for row in rows),
        "",
        f"{rows[0]['n']} problems of `{config['task']}`, split `{config['split']}`; commit `{header['commit']}`, torch "
        f"{header['torch']} on {header['device']}; records: `{folder.relative_to(ROOT)}`.",
    ]
    return "\n".join(lines) + "\n"


def rewrite(text: str) -> str:
    """The page with every table made anew."""

    def fill(match: re.Match[str]) -> str:
        return match[1] + render(ROOT / "docs" / "records" / match[2]) + match[4]

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
