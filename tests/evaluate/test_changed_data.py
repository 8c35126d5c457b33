"""Data that changed under an unchanged name: no number of the old ones is given out for the new."""

import json

import pytest

from unmask.core.errors import UserError
from unmask.evaluate.bench import bench
from unmask.evaluate.records import Record, read_records
from unmask.evaluate.slow import measure_slow, read_slow
from unmask.evaluate.tune import tune
from unmask.evaluate.verify import verify
from unmask.tasks import make_task

ROWS = 206  # more than the 200 that the checksum in a header is of


def write(path, change=()):
    """Sums as rows; those in `change` have another right answer, or another question."""
    rows = [{"prompt": f"Mia has {n} pens.", "response": f"#### {n}"} for n in range(ROWS)]
    for number, entries in dict(change).items():
        rows[number] |= entries
    path.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    for split in ("train", "validation", "test"):
        (path / f"{split}.jsonl").write_text(text)
    return make_task("jsonl", path)


@pytest.fixture
def measure(text_denoiser, tmp_path):
    """`measure(task)`: always the same command."""

    def run(task, **options):
        options = {"samplers": ["iid"], "budgets": [1], "count": ROWS, "batch": 128, "out": tmp_path / "out"} | options
        return bench(text_denoiser, task, "test", **options)

    return run


ANSWER = {203: {"response": "#### 7"}}
QUESTION = {203: {"prompt": "Mia has many pens."}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [(ANSWER, r"another right answer \('7', not '203'\)|another right answer \('7'\)"), (QUESTION, "another prompt")],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_row_beyond_the_checksum_counts_too(measure, text_denoiser, tmp_path, change, said, version):
    measure(write(tmp_path / "data"))
    path = tmp_path / "out" / "records.jsonl"
    if version == 1:  # judged right, so that another right answer turns it
        header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
        del lines[0]["reference"]
        for line in lines:
            line.pop("reference", None)
            if line["id"].endswith("/204"):
                line |= {"text": "#### 203", "correct": True}
        path.write_text("".join(json.dumps(each) + "\n" for each in [header | {"version": 1}, *lines]))
    before = path.read_bytes()
    measure(write(tmp_path / "data"))
    assert path.read_bytes() == before
    changed = write(tmp_path / "data", change)
    with pytest.raises(UserError, match=said) as caught:
        measure(changed)
    assert "jsonl/test/204" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert path.read_bytes() == before
    header, records, _ = read_records(path)
    with pytest.raises(UserError, match=said):
        verify(text_denoiser, changed, header, [each for each in records if each.id == "jsonl/test/204"])


@pytest.mark.slow
def test_what_was_tuned_on_other_data_is_refused(text_denoiser, tmp_path):
    options = {"target_steps": 1, "max_steps": 1, "count": 3, "first": 2, "keep": 1, "out": tmp_path / "out"}
    tune(text_denoiser, write(tmp_path / "data"), ["random"], **options)
    with pytest.raises(UserError, match=r"examples '.*' there, '.*' here"):
        tune(text_denoiser, write(tmp_path / "data", ANSWER), ["random"], **options)


@pytest.mark.slow
def test_what_was_best_on_other_data_is_measured_again_and_not_read(text_denoiser, tmp_path):
    out = tmp_path / "out"

    def examples():
        return json.loads((out / "one-per-step.json").read_text())["examples"]

    first, changed = write(tmp_path / "data"), write(tmp_path / "changed", ANSWER)
    measure_slow(text_denoiser, first, ["iid"], {}, count=2, out=out)
    before = examples()
    with pytest.raises(UserError, match="its examples is"):
        read_slow(out, text_denoiser, changed)
    measure_slow(text_denoiser, changed, ["iid"], {}, count=2, out=out)
    assert examples() != before
    (out / "one-per-step.json").write_text('{"mine": 1}')
    with pytest.raises(UserError, match="not written by unmask, so it is spared"):
        measure_slow(text_denoiser, changed, ["iid"], {}, count=2, out=out)


@pytest.mark.slow
def test_the_records_say_what_was_right(measure, tmp_path):
    measure(write(tmp_path / "data"), count=4)
    found = read_records(tmp_path / "out" / "records.jsonl").records
    assert {record.id: record.reference for record in found} == {f"jsonl/test/{n + 1}": str(n) for n in range(4)}
    assert isinstance(found[0], Record)


@pytest.mark.slow
def test_files_that_no_bench_left_are_spared(measure, tmp_path):
    out, task = tmp_path / "out", write(tmp_path / "data")
    out.mkdir()
    for name in ("table.json", "summary.json"):
        (out / name).write_text("mine")
        for overwrite in (False, True):
            with pytest.raises(UserError, match=f"holds {name} but no records.jsonl, so nothing in it is touched"):
                measure(task, count=2, overwrite=overwrite)
        assert [each.name for each in out.iterdir()] == [name]
        (out / name).unlink()
    (out / "thesis.tex").write_text("mine")
    measure(task, count=2)
    measure(task, count=2, overwrite=True)
    assert (out / "thesis.tex").read_text() == "mine"
