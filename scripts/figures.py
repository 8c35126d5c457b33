"""Draw the figures of docs/figures from the records under docs/records, one claim each.

    python scripts/figures.py            all of them
    python scripts/figures.py exact      those whose name has `exact` in it
"""

import sys
from pathlib import Path

from unmask.view import fig_accuracy, fig_exact

ROOT = Path(__file__).parents[1]
RECORDS, FIGURES = ROOT / "docs" / "records", ROOT / "docs" / "figures"


def accuracy(name: str) -> None:
    """Accuracy against steps of the bench in docs/records/NAME, for the page and for print."""
    fig_accuracy.draw(RECORDS / name, *(FIGURES / f"accuracy-{name}.{kind}" for kind in ("svg", "pdf")))


def exact() -> None:
    """What the enumerable suite says."""
    fig_exact.draw(RECORDS / "exact", RECORDS / "exact-study", FIGURES / "exact.svg")


DRAWN = {"accuracy-demo": lambda: accuracy("demo"), "exact": exact}


def main() -> None:
    """Draw."""
    for name, draw in DRAWN.items():
        if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
            draw()
            print(f"drew {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
