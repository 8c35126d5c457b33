"""benchmarks/record.py keeps what a job left, and says what is wrong with a file it cannot read."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from unmask.core.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def record():
    spec = importlib.util.spec_from_file_location("record", ROOT / "benchmarks" / "record.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def keep(record, monkeypatch, tmp_path: Path):
    """`keep()`: one more start of a job whose run is in tmp_path/run."""

    def call() -> dict:
        words = ["--out", tmp_path / "kept", "--job", "x", "--status", 0, "--seconds", 2, "--run", tmp_path / "run"]
        monkeypatch.setattr(sys, "argv", ["record.py", *map(str, words)])
        record.main()
        return json.loads((tmp_path / "kept" / "record.json").read_text())

    (tmp_path / "run").mkdir()
    return call


def test_starts_add_up_and_what_is_cut_of_the_log_is_left_out(keep, tmp_path: Path) -> None:
    (tmp_path / "run" / "log.jsonl").write_text('{"update": 1, "loss": 3}\n[1]\n{"update": 2}\n{"update": 3')
    (tmp_path / "run" / "table.json").write_text('[{"sampler": "iid"}]')
    keep()
    found = keep()
    assert (found["seconds"], len(found["starts"])) == (4.0, 2)
    assert found["numbers"]["last"] == {"update": 2, "loss": 3}
    assert found["numbers"]["table"] == [{"sampler": "iid"}]


@pytest.mark.parametrize("text", ["{", "{}", "3", "\x00"])
def test_a_table_that_is_none_is_named_and_no_start_is_lost(keep, tmp_path: Path, text: str) -> None:
    keep()
    before = (tmp_path / "kept" / "record.json").read_bytes()
    (tmp_path / "run" / "table.json").write_text(text)
    with pytest.raises(UserError, match=r"table\.json"):
        keep()
    assert (tmp_path / "kept" / "record.json").read_bytes() == before


@pytest.mark.parametrize("starts", [None, 3, [3], [{}], [{"seconds": "2"}], [{"seconds": float("nan")}]])
def test_an_earlier_record_that_is_damaged_is_spared(keep, tmp_path: Path, starts: object) -> None:
    path = tmp_path / "kept" / "record.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"starts": starts}))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"record\.json is damaged: a start"):
        keep()
    assert path.read_bytes() == before
