"""`unmask view`: a trace or the records of a bench as a page for the browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unmask.cli.common import PATH, default, say, tell, tell_json
from unmask.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class View:
    """Turn a trace or the records of a bench into one HTML page that needs nothing else, and print its name.

    A trace (`unmask sample --trace`) is played step by step; records (`unmask bench`) become a report: table, accuracy
    against steps, heat maps, some playbacks.

    example: unmask view runs/bench

    example: unmask view trace.json --out order.html
    """

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """A trace, records.jsonl, table.json, or the folder they are in."""
    out: Annotated[Path | None, PATH, default("report.html beside records, FILE.html beside a trace")] = None
    """The page to write."""
    json: bool = False
    """Print a JSON object about the page instead of its name."""

    def run(self) -> None:
        """Read, write, print."""
        from unmask.samplers.trace import TraceFile
        from unmask.view.page import is_page, render, write_page
        from unmask.view.source import load

        source = load(self.file)
        out = self.out or page_path(self.file, isinstance(source, TraceFile))
        if out.is_dir():
            raise UserError(f"--out {out} is a folder; name a file, e.g. {out / 'report.html'}")
        if out.exists() and out.samefile(self.file):
            raise UserError(f"--out {out} would replace what it shows; choose another name")
        if self.out is None and out.exists() and not is_page(out):
            raise UserError(f"{out} was not written by unmask, so it is spared; say where the page is to go with --out")
        page = render(source, self.file.name or self.file.resolve().name)
        for note in page.notes:
            say(f"note: {note}")
        write_page(out, page)
        if self.json:
            kind = "trace" if isinstance(source, TraceFile) else "records"
            about = {"html": str(out), "kind": kind, "bytes": out.stat().st_size}
            tell_json(about | {"prompts": page.prompts, "notes": page.notes})
        else:
            tell(out)


def page_path(file: Path, trace: bool) -> Path:
    """Where the page goes unless told: beside what it shows."""
    if trace:
        return file.with_suffix(".html") if file.is_file() else file / "trace.html"
    return (file if file.is_dir() else file.parent) / "report.html"
