"""`unmask compare`: two benches side by side, on the examples both have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unmask.cli.common import say, tell_json


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two benches on the examples both have: differences with intervals, and McNemar's exact test.

    A and B are folders that `unmask bench --out` wrote, or records files. What cannot be paired is left out and said
    on stderr. `unmask bench compare A B` is the same.

    example: unmask compare runs/before runs/after
    """

    first: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="A")]
    """The one that is compared with."""
    second: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="B")]
    """The one that may be ahead."""
    json: bool = False
    """Print one JSON object of rows and notes instead of the table."""

    def run(self) -> None:
        """Compare, print."""
        from unmask.evaluate.compare import compare, render_compared
        from unmask.evaluate.fitted import show

        found = compare(self.first, self.second)
        for note in found.notes:
            say(f"note: {note}")
        if self.json:
            rows = [row._asdict() for row in found.rows]
            files = {"first": str(self.first), "second": str(self.second)}
            tell_json({**files, "rows": rows, "notes": found.notes})
            return
        show(render_compared(found.rows), "stdout")
