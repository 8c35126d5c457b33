import pytest

from unmask.core.errors import UserError
from unmask.evaluate.bench import bench
from unmask.evaluate.records import read_records
from unmask.evaluate.verify import choose, verify


@pytest.fixture(scope="module")
def made(text_denoiser, task, tmp_path_factory):
    """Header and records of a small bench with draws in it, in batches; not to be changed."""
    out = tmp_path_factory.mktemp("made")
    bench(text_denoiser, task, "test", samplers=["iid", "margin"], budgets=[3], seeds=[0, 1], count=4, out=out, batch=2)
    file = read_records(out / "records.jsonl")
    return file.header, file.records


def test_the_choice_is_the_same_however_the_file_is_ordered(made):
    _, records = made
    chosen = choose(records, 5)
    assert len({record.key for record in chosen}) == 5
    assert choose(records[::-1], 5) == chosen
    assert choose(records, 5, seed=1) != chosen
    assert len(choose(records, 99)) == len(records)


@pytest.mark.slow
def test_records_come_out_again_and_a_changed_one_does_not(made, text_denoiser, task):
    header, records = made
    chosen = choose(records, 4)
    assert [replay.differences for replay in verify(text_denoiser, task, header, chosen)] == [[]] * 4
    spoiled = [chosen[0]._replace(text="other"), chosen[1]._replace(nfe=9, steps=8), chosen[2]]
    first, second, third = verify(text_denoiser, task, header, spoiled)
    assert first.differences == [f"text 'other' there, {chosen[0].text!r} here"]
    assert [words.partition(" there")[0] for words in second.differences] == ["steps 8", "nfe 9"]
    assert third.differences == []


@pytest.mark.slow
def test_a_learned_order_is_run_again_as_it_is(text_denoiser, task, thrifty, tmp_path):
    orders = {"ours": thrifty()}
    bench(text_denoiser, task, "test", orders=orders, budgets=[3], one_per_step=["ours"], count=1, out=tmp_path)
    file = read_records(tmp_path / "records.jsonl")
    assert {record.sampler for record in file.records} == {"ours", "ours:one-per-step"}
    found = verify(text_denoiser, task, file.header, file.records, orders)
    assert all(not replay.differences for replay in found)
    with pytest.raises(UserError, match="--orders ours=DIR"):
        verify(text_denoiser, task, file.header, file.records)
    with pytest.raises(UserError, match="`ours` is not the learned order of the records"):
        verify(text_denoiser, task, file.header, file.records, {"ours": thrifty(0.9)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"denoiser": "d2"}, "not the denoiser of the records: 'd2' there"),
        ({"data": "c2"}, "not the data of the records"),
        ({"config": {}}, "do not say which split"),
    ],
)
def test_another_denoiser_or_other_data_are_refused(made, text_denoiser, task, change, message):
    header, records = made
    with pytest.raises(UserError, match=message):
        verify(text_denoiser, task, header | change, records[:1])
    with pytest.raises(UserError, match="another prompt now"):
        verify(text_denoiser, task, header, [records[0]._replace(prompt="x")])
