"""Bad rows are skipped, counted and shown; a file full of them is refused."""

import warnings
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.tasks.lines import numbered_lines, parse_rows, read_text

PATH = Path("rows.txt")


def read(line: int, text: str) -> int:
    return int(text)


def test_good_rows_pass_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_rows(PATH, [(1, "5"), (2, "6")], read) == ([5, 6], 0)


def test_few_bad_rows_are_skipped_counted_and_the_first_is_shown() -> None:
    rows = [(line, "x" if line in (7, 9) else str(line)) for line in range(1, 41)]  # 2 of 40 are 5 %
    with pytest.warns(UserWarning, match=r"skipped 2 of 40 rows; the first is rows.txt:7: invalid literal"):
        parsed = parse_rows(PATH, rows, read)
    assert parsed.skipped == 2
    assert len(parsed.rows) == 38


def test_many_bad_rows_are_refused() -> None:
    rows = [(line, "x" if line in (7, 9, 11) else str(line)) for line in range(1, 41)]
    with pytest.raises(UserError, match=r"3 of 40 rows of rows.txt cannot be used; the first is rows.txt:7"):
        parse_rows(PATH, rows, read)


def test_no_rows_is_an_error() -> None:
    with pytest.raises(UserError, match=r"rows.txt has no rows"):
        parse_rows(PATH, [], read)


def test_errors_that_are_ours_are_not_swallowed() -> None:
    def broken(line: int, text: str) -> int:
        raise KeyError(text)

    with pytest.raises(KeyError):
        parse_rows(PATH, [(1, "5")], broken)


def test_lines_are_numbered_from_1_and_blank_ones_dropped() -> None:
    assert numbered_lines("a\n\n  \nb\n") == [(1, "a"), (4, "b")]
    assert numbered_lines("a\u2028b") == [(1, "a\u2028b")]  # not a line end in JSON


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(UserError, match=r"empty.txt is empty"):
        read_text(empty, "jsonl")
    with pytest.raises(UserError, match=r"cannot read .*missing.txt: No such file"):
        read_text(tmp_path / "missing.txt", "jsonl")
    with pytest.raises(UserError, match=r"cannot read"):
        read_text(tmp_path, "jsonl")


def test_a_mark_says_how_to_read_and_bad_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes("aé".encode(encoding))
        assert read_text(path, "jsonl") == "aé"
    path.write_bytes(b"\xef\xbb\xbfa\xff")
    with pytest.raises(UserError, match=r"rows\.txt is not UTF-8: byte 0xff in line 1"):
        read_text(path, "jsonl")
