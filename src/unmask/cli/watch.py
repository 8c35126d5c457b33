"""What people watch while something runs: a bar on a terminal, else a plain line now and then. On stderr."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unmask.cli.common import say

PLAIN_EVERY = 20.0  # seconds between lines when nobody watches a terminal


class Watch:
    """`with Watch("bench") as watch: watch.show("margin @4", done, total)`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(), console=self._console, transient=True,
        )  # fmt: skip
        self._bar = self._progress.add_task(title, total=None, note="")
        self._last = time.monotonic()

    def show(self, note: str, done: int, total: int) -> None:
        """`done` of `total`, and a few words."""
        self._progress.update(self._bar, completed=done, total=total, note=note)
        if not self._console.is_terminal and time.monotonic() - self._last > PLAIN_EVERY:
            self._last = time.monotonic()
            say(f"{self.title} {done}/{total}  {note}")

    def __enter__(self) -> "Watch":
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()
