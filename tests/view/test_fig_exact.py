"""The figure of the exact suite is made from its records, and from nothing else."""

import json
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.view.fig_exact import draw, grouped, read_cells


@pytest.fixture
def records(tmp_path: Path) -> tuple[Path, Path]:
    suite, study = tmp_path / "suite", tmp_path / "study"
    for folder in (suite, study):
        folder.mkdir()
    values = (("gate", 2, 0.9), ("hmm", 3, -4.0), ("hmm", 4, None))
    cells = [{"family": family, "steps": steps, "closed": closed} for family, steps, closed in values]
    (suite / "exact.jsonl").write_text("\n".join(map(json.dumps, [{}, *cells])) + "\n")
    (study / "record.json").write_text(json.dumps({"cells": [{"recipe": "coins", "steps": 2, "closed": 0.5}]}))
    return suite, study


def test_cells_without_a_gap_are_left_out(records: tuple[Path, Path]) -> None:
    assert grouped(read_cells(records[0]), lambda cell: cell.family) == {"gate": [(2, 90.0)], "hmm": [(3, -400.0)]}
    assert grouped(read_cells(records[1]), lambda cell: cell.recipe) == {"coins": [(2, 50.0)]}


@pytest.mark.slow
def test_the_same_records_give_the_same_file(records: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw(*records, tmp_path / name)
    first = (tmp_path / "a.svg").read_bytes()
    assert first == (tmp_path / "b.svg").read_bytes()
    for word in ("gate", "hmm", "coins", "3 steps", "median of the row", "off the scale", "prefers-color-scheme: dark"):
        assert word in first.decode()


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither exact.jsonl nor record.json"):
        read_cells(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 of .* is damaged"),
        ("[1]", "line 2 of .* is no cell .it is a list"),
        ('{"steps": 2}', "no cell .it has no closed"),
        ('{"steps": 7, "closed": 0.5, "family": "gate"}', "steps cannot be 7"),
        ('{"steps": 2, "closed": NaN, "family": "gate"}', "closed cannot be nan"),
        ('{"steps": 2, "closed": "0.5", "family": "gate"}', "closed cannot be '0.5'"),
        ('{"steps": 2, "closed": 0.5, "family": ["gate"]}', "family cannot be"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "exact.jsonl").write_text("{}\n" + line + "\n")
    with pytest.raises(UserError, match=said):
        read_cells(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cells": 3}', '{"cells": [3]}'])
def test_a_damaged_study_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(UserError, match=r"record\.json"):
        read_cells(tmp_path)


def test_half_a_line_is_left_out(records: tuple[Path, Path]) -> None:
    path = records[0] / "exact.jsonl"
    whole = len(read_cells(records[0]))
    path.write_text(path.read_text() + '{"family": "ga')
    assert len(read_cells(records[0])) == whole
