"""At any width of a terminal: columns go, numbers and intervals stay whole, names break where options begin."""

import io

import pytest
from rich.console import Console

from unmask.cli.common import wrapped
from unmask.cli.list import samplers
from unmask.evaluate.compare import Compared, render_compared
from unmask.evaluate.fitted import broken, fitted
from unmask.evaluate.metrics import percentile
from unmask.evaluate.records import Record
from unmask.evaluate.table import Versus, render, table

LONG = "threshold:level=0.9,block=16,eot=defer"


def row(sampler: str, **more):
    records = [
        Record(sampler, 4, 0, f"x/{number}", "p", "7", "7", number % 2 == 0, 4, 4, 8, 6, 0.01 * (number + 1))
        for number in range(20)
    ]
    (found,) = table([records])
    versus = Versus("learned", 4, 12.5, 0.0123, 1.5, 20.5, 9, 1, 0.0456)
    return found._replace(versus=versus, retention=0.9, aup=123.0, **more)


def lines(sheet, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=max(width, 1000), color_system=None).print(fitted(sheet, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 72, 80, 100, 132, 170])
def test_a_bench_table_fits_and_no_interval_is_cut(width: int) -> None:
    shown = lines(render([row(LONG), row("iid")]), width)
    whole = "\n".join(shown)
    frame = [line for line in shown if line and line[0] in "\u2502\u2503\u250f\u2521\u2514"]
    if width >= 80:
        assert max(map(len, frame)) <= width
    for cell in ("50.0 [29.9, 70.1]", "4.00 [4, 4]", "+12.5 [1.5, 20.5]", *(["0.046"] if width >= 100 else [])):
        assert cell in whole
    assert "\u2026" not in whole


def test_at_eighty_columns_what_is_left_out_is_said_and_with_room_it_is_there() -> None:
    sheet = render([row(LONG), row("iid")])
    narrow, wide = ("\n".join(lines(sheet, width)) for width in (80, 300))
    for name in ("tok/s", "p99", "seconds", "AUP"):
        assert name in wide
        assert name not in narrow.partition("left out")[0]
    assert "left out, to fit the screen" in narrow
    assert "left out" not in wide
    assert LONG in wide


def test_two_files_compared_fit_eighty_columns() -> None:
    compared = Compared("threshold:level=0.9", 4, 0, 100, 0.5, 0.6, 10.0, 1.0, 19.0, 5, 15, 0.041, 0.082)
    shown = lines(render_compared([compared]), 80)
    assert "+10.0 [1.0, 19.0]" in "\n".join(shown)
    assert max(map(len, shown)) <= 80


def test_a_name_breaks_where_an_option_begins() -> None:
    assert broken(LONG, 20) == "threshold:level=0.9,\nblock=16,eot=defer"
    assert broken("iid", 2) == "iid"


@pytest.mark.parametrize("screen", [40, 60, 80, 120])
def test_the_list_of_samplers_breaks_between_words(screen: int) -> None:
    found = wrapped(list(samplers().items()), screen)
    assert " ".join(" ".join(found).split()) == " ".join(
        " ".join(f"{name} {about}" for name, about in samplers().items()).split()
    )
    longest = max(len(name) for name in samplers())
    assert max(map(len, found)) <= max(screen, longest)


def test_times_are_those_of_the_records() -> None:
    """Twenty answers of six tokens in 0.01, 0.02, ... 0.20 seconds: 2.1 in all."""
    found = row("iid")
    assert found.tokens_per_second == pytest.approx(120 / 2.1)
    assert (found.seconds_p50, found.seconds_p99) == (pytest.approx(0.10), pytest.approx(0.20))


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([3, 1, 2, 4], share) for share in (0, 25, 50, 51, 99, 100)] == [1, 1, 2, 3, 4, 4]
    with pytest.raises(ValueError, match="no value"):
        percentile([], 50)
