import json
import shutil
import subprocess

import pytest
import torch

from unmask.core.digest import digest
from unmask.core.errors import UserError
from unmask.denoisers.digest import denoiser_digest
from unmask.denoisers.folder import load_folder, save_denoiser
from unmask.evaluate.records import Record, Records, commit, make_header, read_records, read_usable
from unmask.samplers import DecodeRule, Learned, Threshold

HEADER = {
    "format": "unmask-records",
    "version": 1,
    "config": {"task": "wordprob", "split": "test", "response_length": 12, "temperature": 0.0, "count": 5},
    "denoiser": "d1",
    "data": "c1",
}


def a_record(number=0, **other):
    values = {"sampler": "margin", "budget": 4, "seed": 0, "id": f"wordprob/test/{number}", "prompt": "ab"}
    values |= {"text": "«7» #### 7", "answer": "7", "correct": True, "steps": 4, "nfe": 4, "written": 12}
    return Record(**values | {"content": 5, "seconds": 0.25} | other)


def test_what_is_added_is_read_back(tmp_path):
    path = tmp_path / "runs" / "records.jsonl"
    with Records(path, HEADER) as records:
        records.add([a_record(0), a_record(1, answer=None, correct=False)])
        assert path.read_text().count("\n") == 3  # on disk before the file is closed
        records.add([a_record(0, text="another"), a_record(2)])  # what is known is not added again
    header, found, complete = read_records(path)
    assert header == HEADER
    assert found == [a_record(0), a_record(1, answer=None, correct=False), a_record(2)]
    assert complete == path.stat().st_size
    with Records(path, HEADER) as again:
        assert list(again.done.values()) == found


def test_how_a_text_was_written_is_kept_and_may_be_missing(tmp_path):
    path = tmp_path / "records.jsonl"
    written = [a_record(0, revealed_at="1 3 2", shown={"prompt": "ab", "tokens": ["a"]}), a_record(1)]
    with Records(path, HEADER) as records:
        records.add(written)
    assert read_records(path).records == written
    assert written[0].steps_by_position == [1, 3, 2]
    assert written[1].steps_by_position is None
    older = set(Record._fields) - {"revealed_at", "shown", "reference"}
    assert set(json.loads(path.read_text().splitlines()[2])) == older


def test_half_a_line_at_the_end_is_dropped_wherever_it_was_cut(tmp_path):
    path = tmp_path / "records.jsonl"
    with Records(path, HEADER) as records:
        records.add(a_record(number) for number in range(3))
    whole = path.read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    beside_ends = {end + by for end in ends for by in (-1, 0, 1, 2)}
    for cut in sorted({*range(0, len(whole) + 1, 29), *beside_ends} - {len(whole) + 1}):
        path.write_bytes(whole[:cut])
        with Records(path, HEADER) as records:
            complete = max(0, sum(end < cut for end in ends) - 1)
            assert len(records.done) == complete
            records.add(a_record(number) for number in range(3))
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"denoiser": "d2"}, "denoiser 'd1' there, 'd2' here"),
        ({"data": "c2"}, "data 'c1' there"),
        ({"config": HEADER["config"] | {"task": "mwp"}}, "task 'wordprob' there, 'mwp' here"),
        ({"config": HEADER["config"] | {"split": "train"}}, "split 'test' there"),
    ],
)
def test_records_of_another_run_are_refused_and_kept(tmp_path, change, message):
    path = tmp_path / "records.jsonl"
    with Records(path, HEADER) as records:
        records.add([a_record()])
    before = path.read_bytes()
    with pytest.raises(UserError, match=message) as caught:
        Records(path, HEADER | change)
    assert str(path) in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert path.read_bytes() == before
    with Records(path, HEADER | change, overwrite=True) as records:
        assert not records.done
    assert read_records(path).header == HEADER | change


def test_what_only_informs_may_differ(tmp_path):
    path = tmp_path / "records.jsonl"
    with Records(path, HEADER):
        pass
    with Records(path, HEADER | {"commit": "f00", "config": HEADER["config"] | {"count": 9}}):
        pass
    assert read_records(path).header == HEADER


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"format": "other"}'], "not a records file of unmask"),
        (['{"format": "unmask-records", "version": 7}'], "version 7, this unmask reads versions 1 and 2"),
        ([json.dumps(HEADER), json.dumps(a_record()._asdict() | {"steps": "4"})], "steps cannot be '4'"),
        ([json.dumps(HEADER), json.dumps(a_record()._asdict() | {"revealed_at": "1 x"})], "revealed_at cannot be"),
        ([json.dumps(HEADER), json.dumps(HEADER | {"data": "c2"})], "a second run .data 'c1' before, 'c2' after."),
        (["hello"], "line 1 of .* is damaged"),
        (["[1]"], "line 1 of .* is no JSON object"),
        ([json.dumps(HEADER), "{", "{}"], "line 2 of .* is damaged"),
        ([json.dumps(HEADER), '{"sampler": "margin"}'], "line 2 of .* is not a record"),
        ([json.dumps(HEADER), json.dumps(a_record()._replace(correct=1)._asdict())], "correct cannot be 1"),
        ([json.dumps(HEADER), json.dumps(a_record()._replace(nfe=True)._asdict())], "nfe cannot be True"),
        ([json.dumps(HEADER), json.dumps(HEADER)], "line 2 of .* begins a second run .the same."),
        ([json.dumps(HEADER), "[1]"], "line 2 of .* is no JSON object"),
        ([json.dumps(HEADER), "9" * 5000], "line 2 of .* is damaged"),
        ([json.dumps(HEADER), "[" * 100_000], "line 2 of .* is damaged"),
        ([json.dumps(HEADER), json.dumps(a_record()._replace(steps=10**30)._asdict())], "steps cannot be 1000"),
        ([json.dumps(HEADER), json.dumps(a_record(seconds=float("nan"))._asdict())], "seconds cannot be nan"),
        ([json.dumps(HEADER), json.dumps(a_record()._replace(seconds=10**400)._asdict())], "seconds cannot be 1000"),
        ([json.dumps(HEADER), json.dumps(a_record()._asdict() | {"more": 1})], "it has an unknown more"),
        ([json.dumps(HEADER), json.dumps(a_record()._replace(text=None)._asdict())], "text cannot be None"),
        ([json.dumps(HEADER), json.dumps(a_record()._replace(shown=[])._asdict())], "shown cannot be"),
        ([json.dumps(HEADER | {"version": [1]})], "of version .1., this unmask reads"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_with_its_line(tmp_path, lines, message):
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=message) as caught:
        Records(path, HEADER)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("text", ["my diary", "my\ndiary\n", '{"format": "theirs"}\n', '{"format": "unmask-rec-ords'])
def test_a_file_of_somebody_else_is_spared(tmp_path, text, overwrite):
    path = tmp_path / "records.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=r"records\.jsonl"):
        Records(path, HEADER, overwrite)
    assert path.read_text() == text


def test_a_run_whose_file_goes_away_says_so(tmp_path):
    path = tmp_path / "run" / "records.jsonl"
    with Records(path, HEADER) as records:
        records.add([a_record(0)])
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(UserError, match="was removed or replaced while the run went on"):
            records.add([a_record(1)])
    assert not path.exists()


def test_two_at_once_do_not_write_into_one_file(tmp_path):
    path = tmp_path / "records.jsonl"
    with Records(path, HEADER) as records:
        records.add([a_record(0)])
        for overwrite in (False, True):
            with pytest.raises(UserError, match="in use by another process"):
                Records(path, HEADER, overwrite)
    assert len(read_records(path).records) == 1


def test_what_is_left_of_a_damaged_file_can_be_used(tmp_path):
    path = tmp_path / "records.jsonl"
    with Records(path, HEADER) as records:
        records.add(a_record(number) for number in range(4))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "{", *lines[3:]]) + '\n{"sampl')
    file, problems = read_usable(tmp_path)
    assert [record.id for record in file.records] == ["wordprob/test/0", "wordprob/test/2", "wordprob/test/3"]
    assert [problem.partition(" (")[0] for problem in problems] == [
        f"line 3 of {path} is damaged",
        f"{path} ends in the middle of a line",
    ]
    with pytest.raises(UserError, match="line 3 of"):
        read_records(path)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path):
    with pytest.raises(UserError, match="could not read"):
        read_records(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="could not write"):
        Records(tmp_path / "file" / "records.jsonl", HEADER)


def test_the_digest_is_of_the_weights_and_the_codec(text_denoiser, tmp_path):
    save_denoiser(text_denoiser, tmp_path / "denoiser")
    loaded = load_folder(tmp_path / "denoiser")
    assert denoiser_digest(loaded) == denoiser_digest(text_denoiser)
    with torch.no_grad():
        next(loaded.network.parameters()).view(-1)[0] += 1e-6
    assert denoiser_digest(loaded) != denoiser_digest(text_denoiser)


def test_the_digest_of_an_order_sees_its_weights_and_its_rule():
    def order(weight=1.0, level=0.5):
        policy = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(policy.weight, weight)
        return Learned(policy, DecodeRule("threshold", level))

    assert digest(order()) == digest(order())
    found = {digest(order()), digest(order(weight=2.0)), digest(order(level=0.4)), digest(Threshold(0.5))}
    assert len(found) == 4
    assert digest([["a"], "b"]) != digest(["a", ["b"]])
    assert digest(torch.ones(2, dtype=torch.bfloat16)) != digest(torch.ones(2))


def test_the_header_says_what_was_measured_with_what(text_denoiser):
    header = make_header(text_denoiser, {"task": "wordprob"}, "c1")
    assert header["torch"] == torch.__version__
    assert header["device"] == "cpu"
    assert header["config"] == {"task": "wordprob"}
    assert json.loads(json.dumps(header)) == header


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_ours_or_none(tmp_path, monkeypatch):
    """A copy inside a repository that does not know it has no commit; a committed one has."""

    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    copy = tmp_path / "records.py"
    copy.write_text("x = 1\n")
    git("init")
    monkeypatch.setattr("unmask.evaluate.records.__file__", str(copy))
    assert commit() is None
    git("add", ".")
    git("commit", "-m", "first")
    clean = commit()
    assert len(clean) == 40
    copy.write_text("x = 2\n")
    assert commit() == clean + "-dirty"
