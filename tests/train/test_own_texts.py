"""Texts that the denoiser writes itself: which are kept, and that a killed start goes on to the same ones."""

import json
from dataclasses import dataclass, replace

import pytest

from unmask.core.errors import UserError
from unmask.samplers.generate import decode
from unmask.tasks import make_task
from unmask.tasks.base import Task
from unmask.train import learn as learn_module
from unmask.train import own_texts as module
from unmask.train.own_texts import Written, own_texts

SAMPLER = "threshold:level=0.5"


@dataclass(frozen=True)
class Lenient:
    """A task that calls every second example right, whatever is written."""

    task: Task

    def __getattr__(self, name):
        return getattr(self.task, name)

    def correct(self, text, example):
        return int(example.id.rpartition("/")[2].rpartition(":")[2]) % 2 == 0


@pytest.fixture
def task(data):
    return Lenient(make_task("jsonl", data))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)


@pytest.mark.slow
def test_right_answers_take_the_place_of_the_responses(make_denoiser, task, tmp_path):
    denoiser = make_denoiser()
    seen = []
    found = own_texts(denoiser, task, tmp_path / "texts.jsonl", count=10, sampler=SAMPLER, progress=seen.append)
    examples = [task.examples("train")[i] for i in range(10)]
    wanted = [example for example in examples if task.correct("", example)]
    written = decode(
        denoiser, [example.prompt for example in examples], sampler=SAMPLER, budget=denoiser.response_length
    )
    texts = {example.id: generation.text for example, generation in zip(examples, written, strict=True)}
    assert 0 < len(wanted) < 10
    assert [(e.id, e.prompt, e.answer) for e in found] == [(e.id, e.prompt, e.answer) for e in wanted]
    assert [example.response for example in found] == [texts[example.id] for example in found]
    assert seen[-1] == Written(10, len(wanted), 10)
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [example.id for example in examples]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [0, 20])
def test_a_killed_start_goes_on_to_the_same_file(make_denoiser, task, tmp_path, monkeypatch, cut):
    denoiser, whole, broken = make_denoiser(), tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    expected = own_texts(denoiser, task, whole, count=11, sampler=SAMPLER)
    calls = []

    def dying(*args, **options):
        calls.append(len(args[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(*args, **options)

    monkeypatch.setattr(module, "decode", dying)
    with pytest.raises(KeyboardInterrupt):
        own_texts(denoiser, task, broken, count=11, sampler=SAMPLER)
    if cut:  # killed while writing: the second chunk is one line and a bit short
        broken.write_bytes(broken.read_bytes()[:-cut])
    assert own_texts(denoiser, task, broken, count=11, sampler=SAMPLER) == expected
    assert broken.read_bytes() == whole.read_bytes()
    assert calls == ([4, 4, 3, 4, 3] if cut else [4, 4, 3, 3])
    calls.clear()
    own_texts(denoiser, task, broken, count=11, sampler=SAMPLER)
    assert calls == []


def test_too_few_right_answers_are_refused(make_denoiser, data, tmp_path):
    with pytest.raises(UserError, match=r"right on 0 of 8 training prompts, too few.*--texts data"):
        own_texts(make_denoiser(), make_task("jsonl", data), tmp_path / "texts.jsonl", count=8, sampler=SAMPLER)


def test_prompts_that_do_not_fit_are_passed_over(make_denoiser, task, tmp_path):
    denoiser = make_denoiser()
    lengths = [len(denoiser.codec.encode_prompt(task.examples("train")[i].prompt)) for i in range(20)]
    room = sorted(lengths)[10]
    tight = replace(denoiser, response_length=denoiser.context - room)
    own_texts(tight, task, tmp_path / "texts.jsonl", count=8, sampler="top-prob", budget=2)
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    fitting = [task.examples("train")[i].id for i in range(20) if lengths[i] <= room]
    assert [line["id"] for line in lines] == fitting[:8]
    full = replace(denoiser, response_length=denoiser.context - 1)
    with pytest.raises(UserError, match="no training prompt fits: a prompt may have 1 tokens"):
        own_texts(full, task, tmp_path / "none", count=8, sampler="iid")


@pytest.mark.slow
def test_learning_on_own_texts_goes_on_bit_for_bit(make_denoiser, learn_config, task, tmp_path, monkeypatch):
    def short(*args, **options):  # an untrained denoiser never ends a text
        return [generation._replace(text=generation.text[:6]) for generation in decode(*args, **options)]

    monkeypatch.setattr(learn_module, "make_task", lambda name, data: task)
    monkeypatch.setattr(module, "decode", short)
    config = replace(learn_config, texts="own", own_count=10, own_sampler=SAMPLER)
    learn_module.learn(make_denoiser(), config, tmp_path / "whole")

    def dying(*args, **options):
        raise KeyboardInterrupt

    for name, owner in (("decode", module), ("policy_loss", learn_module)):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, dying)
            with pytest.raises(KeyboardInterrupt):
                learn_module.learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=1)
    learn_module.learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=1)
    for path in ("order/model.safetensors", "log.jsonl", "texts.jsonl"):
        assert (tmp_path / "broken" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes(), path


def test_an_own_sampler_that_is_none_is_refused_before_a_folder_is_made(make_denoiser, learn_config, tmp_path):
    with pytest.raises(UserError, match="Did you mean `threshold`"):
        learn_module.learn(
            make_denoiser(), replace(learn_config, texts="own", own_sampler="treshold"), tmp_path / "run"
        )
    with pytest.raises(UserError, match="own_count must be at least 1 prompt, got 0"):
        learn_module.learn(make_denoiser(), replace(learn_config, texts="own", own_count=0), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
