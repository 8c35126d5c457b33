"""Flags of other programs are answered with what to type instead, and lists may be written with commas."""

import shlex

import pytest

from unmask.cli.common import flags, parse, spread
from unmask.cli.elsewhere import FLAGS, SHORT, elsewhere
from unmask.cli.main import VERBS

LIKE_OTHERS = [
    ("sample", "--steps 16", "`--budget 16`"),
    ("bench", "--steps 16", "`--budgets 4 8`"),
    ("fit", "--steps 16", "`--updates 16`"),
    ("sample", "--gen-length 64", "`--response-length 64`"),
    ("sample", "--gen_length=64", "`--response-length 64`"),
    ("sample", "--max-new-tokens 64", "`--response-length 64`"),
    ("bench", "--max-new-tokens 64", "There is none"),
    ("sample", "--block-length 32", "`--sampler top-prob:block=32`"),
    ("sample", "--block-size 32", "`--sampler top-prob:block=32`"),
    ("bench", "--block-size 32", "`--samplers top-prob:block=32`"),
    ("sample", "--cfg-scale 1.5", "There is none"),
    ("sample", "--top-p 0.9", "--temperature 0"),
    ("sample", "--top_k 5", "--temperature 0"),
    ("sample", "--remasking low_confidence", "`low_confidence` is `top-prob`"),
    ("sample", "--alg topk_margin", "`topk_margin` is `margin`"),
    ("sample", "--alg=origin", "`origin` is `iid`"),
    ("sample", "--alg-temp 0.1", "`--sampler entropy:alg_temp=0.1`"),
    ("sample", "--threshold 0.9", "`--sampler threshold:level=0.9`"),
    ("sample", "--model x", "`--denoiser NAME`"),
    ("fit", "--model x", "`--init NAME`"),
    ("inspect", "--model x", "`unmask inspect NAME`"),
    ("sample", "--prompt hello", "prompts stand by themselves"),
    ("bench", "--batch-size 4", "`--batch 4`"),
    ("fit", "--batch-size 4", "`--rows 4`"),
    ("learn", "--lr 0.1", "`--rate 0.001`"),
    ("bench", "--limit 10", "`--count 10`"),
    ("sample", "-d wordprob", "`--denoiser`"),
    ("bench", "-n 10", "`--count`"),
    ("fit", "-o x", "`--out`"),
    ("bench", "-b 4", "`--budgets`"),
]


@pytest.mark.parametrize(("verb", "words", "instead"), LIKE_OTHERS, ids=[f"{v} {w}" for v, w, _ in LIKE_OTHERS])
def test_a_flag_of_another_program_is_answered_with_ours(refused, verb: str, words: str, instead: str) -> None:
    told = refused(verb, *shlex.split(words))
    assert instead in told
    assert "Did you mean `--stop`" not in told


def test_no_flag_of_the_table_is_ours_in_every_verb_and_every_answer_can_be_typed() -> None:
    for verb, kind in VERBS.items():
        known = flags(kind)
        for flag in FLAGS:
            if flag in known:
                continue
            told = elsewhere(verb, flag, None, known)
            assert told is None or told.startswith("There is none: ") or told.split("`")[1].split()[0] in known
    every = {flag for kind in VERBS.values() for flag in flags(kind)}
    answers = [each for found in (*FLAGS.values(), *SHORT.values()) for each in found if each.startswith("--")]
    assert [each for each in answers if each.split()[0] not in every] == []


@pytest.mark.parametrize(
    ("verb", "typed", "meant"),
    [
        ("bench", "--budgets 4,8", "--budgets 4 8"),
        ("bench", "--budgets 4,8 16", "--budgets 4 8 16"),
        ("bench", "--budgets=4,8", "--budgets 4 8"),
        ("bench", "--seeds 0,1,2", "--seeds 0 1 2"),
        ("bench", "--samplers margin,iid", "--samplers margin iid"),
        ("bench", "--samplers margin,klass:kl=0.7,eot=defer,iid@4", "--samplers margin klass:kl=0.7,eot=defer iid@4"),
        ("bench", "--samplers threshold:level=0.7,block=32", "--samplers threshold:level=0.7,block=32"),
        ("bench", "--one-per-step iid,margin", "--one-per-step iid margin"),
        ("learn", "--budgets 2,4", "--budgets 2 4"),
        ("exact", "--families gate,hmm --steps 2,3", "--families gate hmm --steps 2 3"),
        ("sample", "--beside iid,margin 'One, two'", "--beside iid --beside margin 'One, two'"),
        ("sample", "--budget 4 '4,8'", "--budget 4 '4,8'"),
        ("sample", "-- --budgets 4,8", "-- --budgets 4,8"),
    ],
)
def test_lists_may_be_written_with_commas(verb: str, typed: str, meant: str) -> None:
    assert spread(VERBS[verb], shlex.split(typed)) == shlex.split(meant)


def test_commas_reach_the_command() -> None:
    words = "--denoiser wordprob --task wordprob --out x --budgets 4,8 --samplers margin,iid"
    command = parse(VERBS["bench"], "bench", words.split())
    assert (command.budgets, command.samplers) == ((4, 8), ("margin", "iid"))
