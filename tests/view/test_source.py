"""What can be shown is found; what cannot is named with what is wrong."""

import json
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.view.source import Bench, load


def test_a_folder_a_file_and_a_table_are_found(bench: Path, trace: Path) -> None:
    assert load(bench)._replace(steps={}) == load(bench / "records.jsonl")._replace(steps={})
    assert len(load(trace).traces) == 4
    assert load(trace.parent) == load(trace)


def test_a_table_alone_is_shown_with_the_header_beside_it() -> None:
    source = load(Path(__file__).parents[2] / "docs" / "records" / "demo")
    assert isinstance(source, Bench)
    assert source.header["config"]["task"] == "wordprob"
    assert source.rows[0].learned
    assert source.records == []


@pytest.mark.parametrize("cut", [3, 40, 200])
def test_records_cut_in_their_last_line_are_shown_without_it(bench: Path, cut: int) -> None:
    path = bench / "records.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    source = load(path)
    assert sum(row.n for row in source.rows) == 79
    assert "is cut off and left out" in source.notes[0]
    assert "n is from 19 to 20" in source.notes[1]


def test_records_that_stand_twice_count_once(bench: Path) -> None:
    path = bench / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[-1]]) + "\n")
    source = load(path)
    assert sum(row.n for row in source.rows) == 80
    assert "1 records twice" in source.notes[0]


def test_records_without_steps_are_shown_without_pictures_of_them(bench: Path) -> None:
    path = bench / "records.jsonl"
    header, *rest = map(json.loads, path.read_text().splitlines())
    old = [{key: row[key] for key in row if key not in ("revealed_at", "shown")} for row in rest]
    path.write_text("\n".join(map(json.dumps, [header, *old])) + "\n")
    assert len(load(path).rows) == 4


def spoiled(bench: Path, text: bytes) -> Path:
    (bench / "records.jsonl").write_bytes(text)
    return bench


def test_a_file_that_cannot_be_shown_is_named(bench: Path, tmp_path: Path) -> None:
    whole = (bench / "records.jsonl").read_bytes()
    lines = whole.split(b"\n")
    second = lines[0].replace(b'"wordprob"', b'"mwp"')
    cases = [
        (b"", "is empty"),
        (b"  \n ", "is empty"),
        (whole[:50], "no whole record yet"),
        (lines[0] + b"\n", "no whole record yet"),
        (b"PK\x03\x04\x00\xff", "is neither a trace nor records"),
        (b'{"a": 1}', "is neither a trace nor records"),
        (lines[0].replace(b'"version": 1', b'"version": 8') + b"\n", "version 8, this unmask reads versions 1 and 2"),
        (b"\n".join([*lines[:5], lines[5][:30], *lines[6:]]), "line 6 of .* is damaged"),
        (b"\n".join([*lines[:5], second, *lines[5:]]), "a second run .task 'wordprob' before, 'mwp' after"),
        (b"[]", "has no rows"),
        (b"[1]", "row 1 of .* is not a row"),
        (b'[{"sampler": "iid"}]', "row 1 of .* is not a row"),
        (b"[{", "is damaged"),
        (b"\n".join([lines[0], lines[1].replace(b'"nfe": 2', b'"nfe": 0')]) + b"\n", "no denoiser call"),
    ]
    for text, said in cases:
        with pytest.raises(UserError, match=said) as caught:
            load(spoiled(bench, text))
        assert str(bench / "records.jsonl") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_where_there_is_nothing_what_is_near_is_named(bench: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*Did you mean .*bench"):
        load(tmp_path / "bnch")
    with pytest.raises(UserError, match=r"nothing to view in .*Did you mean .*bench"):
        load(tmp_path)
