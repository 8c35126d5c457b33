"""The figure of accuracy against steps is made from records alone, and is the same every time."""

from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.view.fig_accuracy import draw

DEMO = Path(__file__).parents[2] / "docs" / "records" / "demo"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_the_same_records_give_the_same_file(tmp_path: Path, kind: str) -> None:
    draw(DEMO, tmp_path / f"a.{kind}", tmp_path / f"b.{kind}")
    first = (tmp_path / f"a.{kind}").read_bytes()
    assert first == (tmp_path / f"b.{kind}").read_bytes()
    if kind == "svg":
        assert all(name in first.decode() for name in ("learned", "top-prob", "threshold:level=0.9", "steps, mean"))


def test_what_has_no_accuracy_is_refused(bench: Path, trace: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a trace"):
        draw(trace, tmp_path / "a.svg")
    with pytest.raises(UserError, match=r"cannot write a figure as `a.docx`; let its name end in .svg, .pdf, .png"):
        draw(bench, tmp_path / "a.docx")
