from collections import Counter
from itertools import pairwise

import pytest
import torch

from unmask import load_denoiser
from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.tasks import make_task
from unmask.tasks.base import Example
from unmask.train.batches import Batches, pad_left
from unmask.train.own_texts import own_texts

from ..denoisers.families.tiny_dream import TINY_DREAM
from ..denoisers.families.tiny_llada import TINY_LLADA

LENGTH = 56


def make(examples, codec, rows=5, pool=4, seed=0, context=400, length=LENGTH, pad_to=8):
    return Batches(examples, codec, rows, length, context, seed, pool=pool, pad_to=pad_to)


def same(one, two):
    return one.examples == two.examples and all(
        torch.equal(getattr(one.canvas, name), getattr(two.canvas, name)) for name in Canvas.__dataclass_fields__
    )


def ids(batches, updates):
    return [example.id for update in updates for example in batches.batch(update).examples]


# ---- which examples


def test_a_batch_is_a_function_of_seed_and_update_alone(examples, codec):
    forwards, backwards = make(examples, codec), make(examples, codec)
    there = [forwards.batch(update) for update in range(20)]
    back = [backwards.batch(update) for update in reversed(range(20))][::-1]
    assert all(same(one, two) for one, two in zip(there, back, strict=True))
    assert same(make(examples, codec).batch(13), there[13])
    assert not same(make(examples, codec, seed=1).batch(13), there[13])


def test_every_epoch_holds_each_example_exactly_once_in_an_order_of_its_own(examples, codec):
    batches = make(examples, codec)  # 40 examples: two pools of 4 batches of 5
    epochs = [ids(batches, range(8 * epoch, 8 * epoch + 8)) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(example.id for example in examples)
    first_pools = {frozenset(epoch[:20]) for epoch in epochs}
    assert len(first_pools) == 3


def test_where_epochs_end_inside_a_pool_no_example_falls_behind(examples, codec):
    batches = make(examples[:7], codec, rows=3, pool=2)  # 6 a pool, 7 an epoch
    counts = Counter(ids(batches, range(14)))  # 42 examples: six epochs
    assert set(counts.values()) == {6}


def test_every_taking_of_an_example_has_draws_of_its_own(examples, codec):
    batches = make(examples[:7], codec)
    rows = [row for update in range(30) for row in batches.batch(update).canvas.row.tolist()]
    assert len(set(rows)) == len(rows)


def test_an_endless_split_is_never_repeated_and_never_shared_between_seeds(codec):
    train = make_task("wordprob").examples("train")
    one, two = (ids(make(train, codec, seed=seed), range(8)) for seed in (0, 1))
    assert len(set(one)) == len(one)
    assert not set(one) & set(two)


def test_what_does_not_fit_is_left_out_and_others_take_its_place(examples, codec):
    longest = sorted(examples, key=lambda example: len(codec.encode_prompt(example.prompt)))[-3:]
    context = len(codec.encode_prompt(longest[0].prompt)) - 1 + LENGTH
    unfit = {example.id for example in longest}
    unfit |= {e.id for e in examples if len(codec.encode_prompt(e.prompt)) + LENGTH > context}
    batches = make(examples, codec, context=context)
    found = ids(batches, range(8))
    assert len(found) == 40
    assert set(found) == {example.id for example in examples} - unfit
    assert all(len(batches.batch(update).examples) == 5 for update in range(8))


def test_a_response_that_is_too_long_is_left_out(examples, codec):
    longer = Example("longer", "Why?", "<<1+1=2>> " * 12, "2")
    found = ids(make([*examples[:10], longer], codec), range(8))
    assert "longer" not in found
    assert set(found) == {example.id for example in examples[:10]}


def test_where_little_fits_it_is_repeated_with_draws_of_its_own(examples, codec):
    unfit = [Example(f"unfit {i}", "Why?", "1 " * 99, "1") for i in range(9)]
    batches = make([*unfit, examples[0]], codec, rows=5, pool=4)
    rows = [row for update in range(8) for row in batches.batch(update).canvas.row.tolist()]
    assert set(ids(batches, range(8))) == {examples[0].id}
    assert len(set(rows)) == len(rows) == 40


def test_where_nothing_fits_it_says_so_with_the_numbers(examples, codec):
    with pytest.raises(UserError, match=r"no training example fits.* response of 56 .*context of 60"):
        make(examples, codec, context=60).batch(0)
    with pytest.raises(UserError, match="there are no training examples"):
        make([], codec)


# ---- the canvas


def test_a_batch_is_a_clean_canvas_of_its_examples(examples, codec):
    batches = make(examples, codec)
    for update in range(8):
        canvas, chosen = batches.batch(update)
        assert canvas.tokens.shape[1] % 8 == 0
        for row, example in enumerate(chosen):
            valid, masked = canvas.valid[row], canvas.masked[row]
            assert canvas.tokens[row, masked].tolist() == codec.encode_response(example.response, LENGTH)
            assert canvas.tokens[row, valid & ~masked].tolist() == codec.encode_prompt(example.prompt)
            assert (canvas.tokens[row, ~valid] == codec.pad_token).all()
            assert masked[-LENGTH:].all()


def test_prompts_of_similar_length_share_a_batch(examples, codec):
    batches = make(examples, codec, rows=5, pool=8)
    spans = []
    for update in range(8):
        lengths = (batches.batch(update).canvas.valid.sum(-1) - LENGTH).tolist()
        spans.append((min(lengths), max(lengths)))
    ordered = sorted(spans)
    assert all(before[1] <= after[0] for before, after in pairwise(ordered))
    assert spans != ordered  # but the batches come in no such order


def test_padding_to_a_multiple_adds_nothing_but_padding_on_the_left():
    tokens = torch.arange(10).view(2, 5)
    masked = torch.tensor([[False, True, True, False, True]] * 2)
    canvas = Canvas.make(tokens, masked, 3, row=torch.tensor([4, 6]))
    padded = pad_left(canvas, 4, 9)
    assert padded.tokens.tolist() == [[9, 9, 9, 0, 1, 2, 3, 4], [9, 9, 9, 5, 6, 7, 8, 9]]
    assert torch.equal(padded.masked[:, 3:], masked)
    assert padded.valid.tolist() == [[False] * 3 + [True] * 5] * 2
    assert not padded.masked[:, :3].any()
    assert padded.row.tolist() == [4, 6]
    assert pad_left(padded, 4, 9) is padded
    assert pad_left(canvas, 1, 9) is canvas


# ---- made ahead by other processes


def test_batches_made_ahead_are_the_same_ones(examples, codec):
    ahead, alone = make(examples, codec), make(examples, codec)
    ahead.prefetch(5, 15, workers=2)  # from the middle of a pool to the middle of another
    for update in (*range(5, 15), 15, 16, 3, 40):  # and others, which are made when asked for
        assert same(ahead.batch(update), alone.batch(update)), update


def test_batches_made_ahead_are_not_made_here(examples, codec, monkeypatch):
    ahead = make(examples, codec)
    ahead.prefetch(0, 12, workers=1)
    ahead.batch(0)
    monkeypatch.setattr(ahead, "_make_pool", lambda pool: pytest.fail(f"pool {pool} was made here"))
    assert [len(ahead.batch(update).examples) for update in range(12)] == [5] * 12


def test_what_is_passed_over_does_not_end_what_is_made_ahead(examples, codec, monkeypatch):
    ahead, alone = make(examples, codec), make(examples, codec)
    ahead.prefetch(4, 16, workers=1)
    assert same(ahead.batch(1), alone.batch(1))  # before the first: made here
    wanted = alone.batch(9)
    monkeypatch.setattr(ahead, "_make_pool", lambda pool: pytest.fail(f"pool {pool} was made here"))
    assert same(ahead.batch(9), wanted)


def test_large_batches_are_sorted_by_length_few_at_a_time(examples, codec):
    sizes = {rows: make(examples, codec, rows=rows, pool=None).pool for rows in (1, 64, 256, 512, 1024, 4096)}
    assert sizes == {1: 16, 64: 16, 256: 16, 512: 8, 1024: 4, 4096: 4}


# ---- special tokens in data


@pytest.mark.parametrize("name", ["<|mask|>", "<|end|>", "<|pad|>"])
def test_a_special_tokens_name_in_a_row_is_letters(examples, codec, name):
    rows = [Example(f"jsonl/train/{n}", f"What is {name}?", f"a {name} #### 7", "7") for n in range(4)]
    batch = make(rows, codec, rows=4).batch(0)
    special = {codec.mask_token, codec.end_token, codec.pad_token}
    for tokens, masked, valid in zip(batch.canvas.tokens, batch.canvas.masked, batch.canvas.valid, strict=True):
        assert special.isdisjoint(tokens[valid & ~masked].tolist())
        response = tokens[masked].tolist()
        end = response.index(codec.end_token)
        assert special.isdisjoint(response[:end])
        assert set(response[end:]) == {codec.end_token}
        assert codec.decode(response) == f"a {name} #### 7"


def test_a_row_without_a_prompt_is_text_from_nothing(examples, codec):
    batch = make([Example("jsonl/train/1", "", "#### 7", "7")], codec, rows=1).batch(0)
    assert batch.canvas.tokens[batch.canvas.valid & ~batch.canvas.masked].tolist() == codec.encode(" ->")


# ---- checkpoints that speak in turns


@pytest.fixture(params=[TINY_LLADA, TINY_DREAM], ids=["llada", "dream"])
def instructed(request, tmp_path):
    folder = tmp_path / "Instruct"
    folder.mkdir()
    return load_denoiser(request.param.write(folder), dtype=torch.float32)


@pytest.mark.slow
def test_in_a_chat_the_response_begins_after_the_header_and_ends_its_turn(instructed):
    """In batches of prompts of different lengths, and where validation measures."""
    codec = instructed.codec
    some = [Example(str(n), "Why? " * n + "<|eot_id|>", f"<|im_end|>{n}", str(n)) for n in range(1, 6)]
    batches = Batches(some, codec, 5, 24, 250, 0, pool=1)
    canvas, chosen = batches.batch(0)
    clean = codec.clean_canvas([e.prompt for e in chosen], [codec.encode_response(e.response, 24) for e in chosen],
                               canvas.row.tolist())  # fmt: skip
    (turn_end,) = (codec.special[name] for name in codec.stops)
    for row, example in enumerate(chosen):
        before = canvas.tokens[row, canvas.valid[row] & ~canvas.masked[row]].tolist()
        response = canvas.tokens[row, canvas.masked[row]].tolist()
        assert before == codec.encode_prompt(example.prompt, codec.special)
        turns = [{"role": "user", "content": example.prompt}]
        assert codec.tokenizer.decode(before, skip_special_tokens=False) == codec.chat.render(turns)
        answer = codec.encode(example.response, codec.special)
        rest = 24 - len(answer) - 1
        assert response == [*answer, turn_end, *[codec.end_token] * rest]
        assert rest > 0
        assert turn_end not in answer
        assert clean.tokens[row, clean.masked[row]].tolist() == response
        assert clean.tokens[row, clean.valid[row] & ~clean.masked[row]].tolist() == before


def test_what_a_denoiser_writes_as_a_turn_is_what_it_learns_from(instructed, tmp_path):
    codec = instructed.codec
    answer = [*codec.encode("#### 7"), *codec.turn_end]
    length = len(answer) + 4
    written = torch.tensor([*answer, *[codec.end_token] * 4])

    class Speaks:
        def __init__(self):
            self.codec, self.response_length, self.context, self.device = codec, length, 250, "cpu"

        def __call__(self, canvas):
            place = canvas.masked.nonzero()[:, 1] - (canvas.tokens.shape[1] - length)
            logits = torch.full((len(place), codec.vocabulary), -9.0)
            logits[torch.arange(len(place)), written[place]] = 9
            return Denoised.from_logits(canvas, logits)

    (tmp_path / "train.jsonl").write_text('{"prompt": "Why?", "response": "So it is. #### 7"}\n')
    task = make_task("jsonl", tmp_path)
    found = own_texts(Speaks(), task, tmp_path / "texts", count=1, sampler="top-prob")
    canvas = Batches(found, codec, 1, length, 250, 0, pool=1).batch(0).canvas
    assert canvas.tokens[canvas.masked].tolist() == written.tolist()
