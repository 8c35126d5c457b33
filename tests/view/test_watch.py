"""Texts are shown as they are written, and nothing in them can steer the terminal."""

import io

import pytest
import torch
from rich.console import Console
from rich.style import Style

from unmask.core.canvas import Canvas
from unmask.core.texts import one_line
from unmask.denoisers.codec import Codec
from unmask.samplers.base import Selection
from unmask.samplers.decode import Step
from unmask.view.watch import Watch, colour

CODEC = Codec.train(["1 + 2"], 300)


def steps(watch: Watch) -> None:
    """Two tokens and an end, the middle one last."""
    tokens = torch.tensor([[*CODEC.encode("12"), CODEC.end_token]])
    canvas = Canvas.make(torch.zeros_like(tokens), torch.ones_like(tokens, dtype=torch.bool), budget=2)
    for number, places in enumerate(([True, False, True], [False, True, False]), start=1):
        positions = torch.tensor([places])
        after = canvas.reveal(positions, tokens)
        watch(Step(number, torch.tensor([0]), canvas, after, Selection(positions, positions.float()), tokens, None))  # type: ignore[arg-type]
        canvas = after


def test_on_a_terminal_tokens_appear_in_the_colour_of_their_step() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", width=60, height=20)
    with Watch(CODEC, ["How [bold]much?"], 2, console, pause=0) as watch:
        steps(watch)
    shown = file.getvalue()
    assert "How [bold]much?" in shown
    first, last = shown.index("\x1b[1;4;36m1"), shown.index("\x1b[1;4;32m2")
    assert first < last, "the newest is underlined: cyan at step 1, green at step 2"
    assert "\x1b[36m1" in shown, "what is older is not underlined"


def test_elsewhere_each_step_is_a_line() -> None:
    file = io.StringIO()
    with Watch(CODEC, ["a"], 2, Console(file=file, width=20), pause=0) as watch:
        steps(watch)
    assert file.getvalue().splitlines() == [
        "prompt 1, step 1 of at most 2, 2 new: 1_",
        "prompt 1, step 2 of at most 2, 1 new: 12",
    ]


def test_a_text_cannot_steer_the_terminal() -> None:
    assert one_line("a\x1b[2J\nb\x07") == "a�[2J b�"


def test_a_sampler_that_is_one_of_several_is_named() -> None:
    file = io.StringIO()
    with Watch(CODEC, ["a"], 2, Console(file=file, width=20), pause=0, name="iid") as watch:
        steps(watch)
    assert file.getvalue().splitlines()[0] == "iid, prompt 1, step 1 of at most 2, 2 new: 1_"
    file = io.StringIO()
    with Watch(CODEC, ["How?"], 2, Console(file=file, force_terminal=True, width=60), pause=0, name="iid") as watch:
        steps(watch)
    assert "How? (iid)" in file.getvalue()


@pytest.mark.parametrize("budget", [1, 2, 6, 7, 8, 16, 48])
def test_no_two_steps_have_one_colour(budget: int) -> None:
    """The seventh was as the first."""
    found = [colour(at, budget) for at in range(1, budget + 1)]
    assert len(set(found)) == budget
    for name in found:
        Style.parse(name)


def test_a_step_is_printed_as_a_line() -> None:
    """Of tensors alone it was pages."""
    printed = []
    canvas = Canvas.make(torch.zeros(10, 4, dtype=torch.long), torch.ones(10, 4, dtype=torch.bool), budget=2)
    positions = torch.tensor([[True, False, True, False]] * 10)
    after = canvas.reveal(positions, torch.ones(10, 4, dtype=torch.long))
    step = Step(3, torch.arange(10), canvas, after, Selection(positions, positions.float()), canvas.tokens, None)  # type: ignore[arg-type]
    printed.append(f"{step}")
    (line,) = printed[0].splitlines()
    assert line.startswith("Step 3; row 0: [0, 2] written, 2 left; row 1: ")
    assert line.endswith("; and 2 rows more")
