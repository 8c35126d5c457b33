"""What is left is told from how fast it goes now, not from how slowly it began."""

import re

import pytest

from unmask.train import line as module
from unmask.train.line import Line


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module.time, "monotonic", found.monotonic)
    return found


def minutes(said: str) -> list[float]:
    return [float(each) for each in re.findall(r"([\d.]+) min left", said)]


def test_a_minute_of_compiling_is_not_counted_for_ever(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """60 seconds for the first update and half a second for each of 400 more: 3 minutes, where 400 were told."""
    with Line("fit", 401) as line:
        for update in range(1, 300):
            clock.now += 60.0 if update == 1 else 0.5
            line.show(update, "loss 1")
    told = minutes(capsys.readouterr().err)
    assert told
    assert max(told) < 4
    assert told[-1] == pytest.approx((401 - 275) * 0.5 / 60, rel=0.5)


def test_a_second_shape_that_is_compiled_later_is_forgotten_too(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Line("fit", 1000) as line:
        for update in range(1, 600):
            clock.now += 100.0 if update in (1, 200) else 0.5
            line.show(update, "")
    assert minutes(capsys.readouterr().err)[-1] == pytest.approx(400 * 0.5 / 60, rel=0.3)


def test_nothing_is_told_before_there_is_a_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Line("fit", 100, start=50) as line:
        clock.now += 31
        line.show(51, "")
    assert "min left" not in capsys.readouterr().err
