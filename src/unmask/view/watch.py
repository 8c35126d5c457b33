"""Watch texts being written, step by step, in a terminal; elsewhere a plain line for each step."""

import colorsys
import time
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from unmask.core.texts import one_line
from unmask.denoisers.codec import Codec
from unmask.samplers.decode import Step
from unmask.samplers.trace import pieces

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")  # of up to six steps; more are a rainbow
PAUSE = 0.25  # seconds a step stays to be seen
LINES_A_ROW = 5  # of the terminal, roughly, for a prompt and its response


@dataclass
class Row:
    """A response being written. columns: its positions in the canvas of its batch. revealed_at: 0 where masked."""

    columns: list[int]
    tokens: list[int]
    revealed_at: list[int]


@dataclass
class Watch:
    """`with Watch(codec, prompts) as watch: decode(..., on_step=watch)`. On stderr.

    name: of the sampler, where several are watched one after the other.
    """

    codec: Codec
    prompts: list[str]
    budget: int
    console: Console = field(default_factory=lambda: Console(stderr=True))
    pause: float = PAUSE
    name: str = ""

    def __post_init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None

    def __call__(self, step: Step) -> None:
        """Take note of a step and show it."""
        numbers = step.rows.tolist()
        for place, number in enumerate(numbers):
            if number not in self.rows:
                columns = step.before.masked[place].nonzero().squeeze(-1).tolist()
                self.rows[number] = Row(columns, [0] * len(columns), [0] * len(columns))
            row, taken = self.rows[number], int(step.after.step[place])
            new = (step.before.masked[place] & ~step.after.masked[place]).tolist()
            tokens = step.after.tokens[place].tolist()
            for position, column in enumerate(row.columns):
                if new[column]:
                    row.tokens[position], row.revealed_at[position] = tokens[column], taken
            if self.live is None:
                written = sum(at == taken for at in row.revealed_at)
                whose = f"{one_line(self.name)}, " if self.name else ""
                told = f"{whose}prompt {number + 1}, step {taken} of at most {self.budget}, {written} new: "
                self.console.print(told + self.text(number).plain, markup=False, highlight=False, soft_wrap=True)
        if self.live is not None:
            fits = max(1, self.console.height // LINES_A_ROW)
            lines = [line for number in numbers[:fits] for line in (self.prompt(number), self.text(number))]
            if len(numbers) > fits:
                lines.append(Text(f"and {len(numbers) - fits} more", style="dim"))
            self.live.update(Group(*lines), refresh=True)
            time.sleep(self.pause)

    def prompt(self, number: int) -> Text:
        """What is answered."""
        whose = f" ({one_line(self.name)})" if self.name else ""
        return Text(f"{number + 1}. {one_line(self.prompts[number])}{whose}", style="dim")

    def text(self, number: int) -> Text:
        """The response so far, each token in the colour of its step, those of the last step underlined."""
        row = self.rows[number]
        last = max(row.revealed_at)
        shown = Text()
        for token, text, at in zip(row.tokens, pieces(row.tokens, self.codec), row.revealed_at, strict=True):
            if not at:
                shown.append("_", style="dim")
            elif token not in self.codec.end_tokens:
                style = colour(at, self.budget)
                shown.append(one_line(text), style=f"bold underline {style}" if at == last else style)
        return shown

    def __enter__(self) -> "Watch":
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()


def colour(at: int, budget: int) -> str:
    """Of step `at` of at most `budget`: no two are the same, from blue at the first to red at the last."""
    if budget <= len(COLOURS):
        return COLOURS[at - 1]
    hue = 0.68 * (1 - (at - 1) / (budget - 1))
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.62, 0.8))
    return f"#{red:02x}{green:02x}{blue:02x}"
