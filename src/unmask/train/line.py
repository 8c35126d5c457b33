"""What people watch while something runs: a bar on a terminal, else a plain line now and then. On stderr."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unmask.core.texts import one_line

PLAIN_EVERY = 30.0  # seconds between lines when nobody watches a terminal


class Line:
    """`with Line("bench") as line: line.show(done, "margin @4", total)`.

    total: how much there is to do; None if it is not known yet. start: how much an earlier start had done.
    """

    def __init__(self, title: str, total: int | None = None, start: int = 0) -> None:
        self.title, self.total, self.start = title, total, start
        self.began = self._last_plain = time.monotonic()
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False), TimeRemainingColumn(),
            console=self.console, transient=True,
        )  # fmt: skip
        self._bar = self.progress.add_task(title, total=total, completed=start, note="")
        if self.console.is_terminal:
            self.progress.start()

    def show(self, done: int, note: str, total: int | None = None) -> None:
        """`done` of `total` (of what was said before if None), and a few words."""
        self.total, note = self.total if total is None else total, one_line(note)
        self.progress.update(self._bar, completed=done, total=self.total, note=note)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last_plain > PLAIN_EVERY:
            self._last_plain = now
            print(
                f"{self.title} {done}/{self.total or '?'}  {note}{self._left(done, now)}", file=sys.stderr, flush=True
            )

    def _left(self, done: int, now: float) -> str:
        """How long the rest takes at the rate so far, in words; nothing while that cannot be said."""
        if self.total is None or done <= self.start or self.total <= done:
            return ""
        seconds = (now - self.began) / (done - self.start) * (self.total - done)
        return f"  {seconds / 60:.1f} min left"

    def close(self) -> None:
        """Put the terminal back."""
        if self.console.is_terminal:
            self.progress.stop()

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
