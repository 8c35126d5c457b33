import json

import pytest

from unmask.core.errors import UserError
from unmask.evaluate.compare import compare
from unmask.evaluate.paired import newcombe
from unmask.evaluate.records import Record, Records

HEADER = {
    "format": "unmask-records",
    "version": 1,
    "config": {"task": "wordprob", "split": "test", "response_length": 12, "temperature": 0.0},
    "denoiser": "d1",
    "data": "c1",
    "commit": "1f0c" * 10 + "-dirty",
}


def cell(right, sampler="margin", budget=4, seed=0, prompts=None):
    return [
        Record(sampler, budget, seed, f"e/{i}", (prompts or {}).get(i, "p"), "t", "1", bool(r), 4, 4, 12, 6, 0.5)
        for i, r in enumerate(right)
    ]


@pytest.fixture
def written(tmp_path):
    """`written("a", cell(...), header)`: a folder with these records."""

    def write(name, records, header=HEADER):
        with Records(tmp_path / name / "records.jsonl", header) as file:
            file.add(records)
        return tmp_path / name

    return write


def test_a_comparison_by_hand(written):
    """Of eight, A alone gets one and B alone five: 50 points, p = 2 (1 + 6) / 64."""
    first = written("a", cell([1, 1, 0, 0, 0, 0, 0, 0]))
    second = written("b", cell([1, 0, 1, 1, 1, 1, 1, 0]))
    rows, notes = compare(first, second / "records.jsonl")
    low, high = newcombe(1, 5, 1, 1)
    assert rows == [("margin", 4, 0, 8, 0.25, 0.75, 50.0, 100 * low, 100 * high, 1, 5, 14 / 64, 14 / 64)]
    assert notes == []


def test_examples_are_paired_by_id_and_prompt_and_the_rest_is_said(written):
    """e/0 has another prompt, e/3 is in A only: e/1 and e/2 are left, one gained."""
    first = written("a", cell([1, 0, 1, 1]))
    second = written("b", cell([0, 1, 1], prompts={0: "q"}), HEADER | {"data": "c2", "denoiser": "d2"})
    (row,), notes = compare(first, second)
    assert (row.n, row.first, row.second, row.only_first, row.only_second, row.p) == (2, 0.5, 1.0, 0, 1, 1.0)
    said = "\n".join(notes)
    assert "the data differ (checksum 'c1' and 'c2')" in said
    assert "denoiser: d1 and d2" in said
    assert "examples with the same id but another prompt, left out: 1" in said
    assert f"examples only in {first / 'records.jsonl'}, left out: 1" in said


def test_cells_of_one_file_are_named_and_only_the_declared_seed_is_tested(written):
    first = written("a", [*cell([0] * 8), *cell([0] * 8, seed=1), *cell([1], "iid"), *cell([0] * 8, "entropy")])
    second = written("b", [*cell([1] * 8), *cell([1] * 8, seed=1), *cell([1], "iid", 5), *cell([1] * 8, "entropy")])
    rows, notes = compare(first, second)
    assert [(row.sampler, row.seed, row.p, row.holm) for row in rows] == [
        ("margin", 0, 2 / 256, 4 / 256),
        ("margin", 1, None, None),
        ("entropy", 0, 2 / 256, 4 / 256),
    ]
    assert any("records.jsonl has iid @4" in note for note in notes)
    assert any("records.jsonl has iid @5" in note for note in notes)


@pytest.mark.parametrize(
    ("records", "config", "message"),
    [
        (cell([1]), {"task": "mwp"}, "is of task 'wordprob' and .* of task 'mwp'"),
        (cell([1]), {"split": "validation"}, "is of split 'test' and .* of split 'validation'"),
        (cell([1], "iid", 9), {}, "no sampler, budget and seed is in both files: .* margin @4, .* iid @9"),
        (cell([1], prompts={0: "q"}), {}, "no example in common"),
        ([], {}, "holds no record"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(written, records, config, message):
    first = written("a", cell([1]))
    second = written("b", records, HEADER | {"config": HEADER["config"] | config})
    with pytest.raises(UserError, match=message) as caught:
        compare(first, second)
    assert "\n" not in str(caught.value)


def test_the_usable_rest_of_a_damaged_file_is_used(written):
    first, second = written("a", cell([1, 1, 0, 0])), written("b", cell([1, 1, 1, 1]))
    path = second / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:30], *lines[3:], lines[1][:20]]))
    (row,), notes = compare(first, second)
    assert row.n == 3
    assert any("line 3 of" in note and "is damaged" in note for note in notes)
    assert any("ends in the middle of a line" in note for note in notes)
    other = json.dumps(HEADER | {"config": HEADER["config"] | {"task": "mwp"}})
    path.write_text("\n".join([*lines[:4], other, *lines[4:]]) + "\n")
    (row,), notes = compare(first, second)
    assert row.n == 3
    assert any("begins a second run (task 'wordprob' before, 'mwp' after)" in note for note in notes)
    path.write_text(json.dumps(HEADER | {"version": 9}) + "\n" + lines[1] + "\n")
    with pytest.raises(UserError, match="version 9, this unmask reads versions 1 and 2"):
        compare(first, second)
    path.write_text("")
    with pytest.raises(UserError, match="holds no record"):
        compare(first, second)


def test_two_orders_under_one_label_are_said(written):
    one = [record._replace(order="o1") for record in cell([1, 0], "ours")]
    other = [record._replace(order="o2") for record in cell([1, 1], "ours")]
    notes = compare(written("a", [*one, *cell([1])]), written("b", [*other, *cell([1])])).notes
    assert [note for note in notes if "order" in note] == ["`ours` @4 is not the same learned order in both files"]
    assert compare(written("c", one), written("d", one)).notes == []
