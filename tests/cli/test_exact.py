"""`unmask exact`: table, records, going on, and what is refused."""

import json

import pytest

WORDS = ("exact", "--families", "pairs", "--steps", "2", "--instances", "2", "--updates", "3")


@pytest.mark.slow
def test_prints_a_table_and_keeps_records_that_a_second_start_reads(run, tmp_path) -> None:
    done = run(*WORDS, "--out", tmp_path)
    assert done.code == 0, done.err
    assert "pairs" in done.out
    assert "all" in done.out
    header, *cells = (tmp_path / "exact.jsonl").read_text().splitlines()
    assert json.loads(header)["settings"]["updates"] == 3
    assert [json.loads(cell)["number"] for cell in cells] == [0, 1]
    before = (tmp_path / "exact.jsonl").stat().st_mtime_ns
    assert run(*WORDS, "--out", tmp_path).out == done.out
    assert (tmp_path / "exact.jsonl").stat().st_mtime_ns == before


@pytest.mark.slow
def test_json_is_a_list_of_cells_on_stdout(run) -> None:
    cells = json.loads(run(*WORDS, "--json").out)
    assert [(cell["family"], cell["steps"]) for cell in cells] == [("pairs", 2)] * 2
    assert all(cell["learned"] >= cell["randomised"] - 1e-4 for cell in cells)


@pytest.mark.slow
def test_a_record_cut_in_the_middle_is_measured_again(run, tmp_path) -> None:
    run(*WORDS, "--out", tmp_path)
    path = tmp_path / "exact.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-40])
    done = run(*WORDS, "--out", tmp_path)
    assert done.code == 0
    assert "line 3 is damaged" in done.err
    again = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    known = [json.loads(line) for line in whole.splitlines()[1:]]
    assert [cell | {"seconds": 0} for cell in again] == [cell | {"seconds": 0} for cell in known]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(run, tmp_path) -> None:
    alone = json.loads(run(*WORDS, "--json").out)
    side_by_side = json.loads(run(*WORDS, "--json", "--jobs", "2").out)
    assert [cell | {"seconds": 0} for cell in alone] == [cell | {"seconds": 0} for cell in side_by_side]


@pytest.mark.slow
def test_records_of_other_settings_and_strange_files_are_refused(run, refused, tmp_path) -> None:
    run(*WORDS, "--out", tmp_path)
    assert "other settings" in refused(*WORDS, "--seed", "1", "--out", tmp_path)
    (tmp_path / "exact.jsonl").write_text("hello\n")
    assert "no record of `unmask exact`" in refused(*WORDS, "--out", tmp_path)


def test_wrong_families_and_numbers_are_refused(refused) -> None:
    assert "Did you mean `gate`" in refused("exact", "--families", "gat")
    assert "--steps must be from 1 to 4, got 5" in refused("exact", "--steps", "5")
    assert "--instances must be from 1 to 1000, got 0" in refused("exact", "--instances", "0")
    assert "--seconds must be at least 0.1" in refused("exact", "--seconds", "0")
