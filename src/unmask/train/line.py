"""What people watch while something runs: a bar on a terminal, else a plain line now and then. On stderr."""

import sys
import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from unmask.core.texts import one_line

PLAIN_EVERY = 30.0  # seconds between lines when nobody watches a terminal
WINDOW = 60.0  # seconds that the rate is measured over
FEWEST = 8  # looks that it is measured over at least, however long they took


class Line:
    """`with Line("bench") as line: line.show(done, "margin @4", total)`.

    total: how much there is to do; None if it is not known yet. start: how much an earlier start had done. How long the
    rest takes is told from the rate of the last minute, so that compiling and warming up do not count for ever.
    """

    def __init__(self, title: str, total: int | None = None, start: int = 0) -> None:
        self.title, self.total, self.start = title, total, start
        self._last_plain = time.monotonic()
        self._looks: deque[tuple[float, int]] = deque()  # when how much was done
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}{task.fields[left]}", markup=False), console=self.console, transient=True,
        )  # fmt: skip
        self._bar = self.progress.add_task(title, total=total, completed=start, note="", left="")
        if self.console.is_terminal:
            self.progress.start()

    def show(self, done: int, note: str, total: int | None = None) -> None:
        """`done` of `total` (of what was said before if None), and a few words."""
        self.total, note = self.total if total is None else total, one_line(note)
        now = time.monotonic()
        left = self._left(done, now)
        self.progress.update(self._bar, completed=done, total=self.total, note=note, left=left)
        if not self.console.is_terminal and now - self._last_plain > PLAIN_EVERY:
            self._last_plain = now
            print(
                f"{self.title} {done}/{self.total or '?'}  {note}{left}", file=sys.stderr, flush=True
            )

    def _left(self, done: int, now: float) -> str:
        """How long the rest takes at the rate of late, in words; nothing while that cannot be said."""
        if self._looks and done < self._looks[-1][1]:  # something else began
            self._looks.clear()
        self._looks.append((now, done))
        while len(self._looks) > FEWEST and now - self._looks[0][0] > WINDOW:
            self._looks.popleft()
        then, before = self._looks[0]
        if self.total is None or done <= before or self.total <= done:
            return ""
        return f"  {(now - then) / (done - before) * (self.total - done) / 60:.1f} min left"

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
