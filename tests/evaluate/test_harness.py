"""The lm-eval model: likelihoods held to enumeration, and lm-eval's own report to our bench."""

import json
from dataclasses import dataclass, replace
from math import log

import pytest
import torch

pytest.importorskip("lm_eval")

from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.config.task import TaskConfig
from lm_eval.tasks import TaskManager
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from unmask.core.errors import UserError
from unmask.denoisers.chat import ChatTemplate
from unmask.denoisers.codec import Codec
from unmask.denoisers.table import TableDenoiser
from unmask.evaluate.bench import bench
from unmask.evaluate.harness.__main__ import PLAIN, main
from unmask.evaluate.harness.local_task import task_file, write_local_task
from unmask.evaluate.harness.model import UnmaskLM
from unmask.evaluate.harness.requests import Asked, asked
from unmask.evaluate.records import read_records
from unmask.samplers.generate import decode
from unmask.tasks import make_task

from ..denoisers.families.entries import TINY
from ..denoisers.families.tiny import rewrite
from ..exact.problems import random_joint

LETTERS = "abc"


def letters(template: str = "{prompt}") -> Codec:
    """A token per letter, whose numbers are those of a table's tokens."""
    names = [*LETTERS, "<|end|>", "<|mask|>", "<|pad|>"]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<|pad|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return Codec(tokenizer, template=template)


@dataclass(frozen=True)
class Lettered:
    """A table of texts of four letters as a text denoiser."""

    table: TableDenoiser
    codec: Codec
    response_length: int = 2
    context: int = 4
    device: str = "cpu"

    def __call__(self, canvas):
        return self.table(canvas)


@pytest.fixture
def joint():
    return random_joint(3, 4, 3)


@pytest.fixture
def lettered(joint):
    return Lettered(TableDenoiser.of(joint), letters())


def ask(kind, *arguments, document=None):
    return Instance(kind, {}, arguments, 0, metadata=("task", document, 1))


def exact(joint, context: str, text: str) -> float:
    """log p(text | context): what follows the text is summed out."""
    digits = [LETTERS.index(letter) for letter in context + text]
    above, below = float(joint[tuple(digits)].sum()), float(joint[tuple(digits[: len(context)])].sum())
    return log(above / below)


# ---- likelihood


@pytest.mark.parametrize("kind", ["loglikelihood", "loglikelihood_rolling", "generate_until"])
def test_logits_that_are_not_numbers_are_refused(lettered, kind):
    lettered.table.log_conditionals[..., 1] = torch.nan
    request = {"loglikelihood": ("a", "bc"), "loglikelihood_rolling": ("abc",), "generate_until": ("a", {"until": []})}
    with pytest.raises(UserError, match=r"NaN logits .* at step 1"):
        getattr(UnmaskLM(lettered, mc_samples=4), kind)([ask(kind, *request[kind], document=0)])


@pytest.mark.parametrize(("context", "text"), [("ab", "ca"), ("", "bac"), ("c", "a"), ("a", "bbc")])
def test_the_likelihood_is_the_exact_one_within_four_standard_errors(lettered, joint, context, text) -> None:
    """The conditionals are those of one joint distribution, so the bound is tight."""
    model = UnmaskLM(lettered, mc_samples=16)
    found = torch.tensor([model.loglikelihood([ask("loglikelihood", context, text, document=row)])[0][0]
                          for row in range(60)])  # fmt: skip
    standard_error = float(found.std()) / len(found) ** 0.5
    assert abs(float(found.mean()) - exact(joint, context, text)) < 4 * standard_error + 1e-6


def test_a_single_token_has_its_exact_probability(lettered, joint) -> None:
    ((found, _),) = UnmaskLM(lettered, mc_samples=1).loglikelihood([ask("loglikelihood", "ab", "c")])
    assert found == pytest.approx(exact(joint, "ab", "c"))


def test_what_closes_every_canvas_is_seen_by_a_likelihood_too(lettered, joint) -> None:
    """As BERT's [SEP] is: here the letter `b`, so that p(c | a, b at the end) is known."""
    framed = replace(lettered, codec=letters("{prompt}{response}b"), context=3)
    ((found, _),) = UnmaskLM(framed, mc_samples=1).loglikelihood([ask("loglikelihood", "a", "c")])
    of_three = joint.sum(dim=-1)  # the table has a fourth letter, which is not on the canvas
    assert found == pytest.approx(log(of_three[0, 2, 1] / of_three[0, :, 1].sum()))


def test_exactly_the_text_that_is_decoded_one_position_a_step_is_greedy(lettered) -> None:
    codec = replace(letters(), template="{prompt}")
    written = decode(lettered, ["ab"], budget=2, response_length=2, codec=codec)[0].text
    pairs = [a + b for a in LETTERS for b in LETTERS]
    found = UnmaskLM(lettered, mc_samples=1).loglikelihood([ask("loglikelihood", "ab", pair) for pair in pairs])
    assert [pair for pair, (_, greedy) in zip(pairs, found, strict=True) if greedy] == [written]


def test_neither_batch_nor_order_nor_other_requests_change_a_likelihood(lettered) -> None:
    asked_for = [("ab", "ca"), ("a", "bbc"), ("", "cc"), ("cb", "a")]
    requests = [ask("loglikelihood", *pair, document=row) for row, pair in enumerate(asked_for)]
    found = UnmaskLM(lettered, mc_samples=8).loglikelihood(requests)
    assert UnmaskLM(lettered, mc_samples=8, batch_size=3).loglikelihood(requests) == found
    assert UnmaskLM(lettered, mc_samples=8).loglikelihood(requests[::-1]) == found[::-1]
    assert UnmaskLM(lettered, mc_samples=8).loglikelihood(requests[2:3]) == found[2:3]
    assert UnmaskLM(lettered, mc_samples=8, seed=1).loglikelihood(requests) != found


def test_spaces_at_the_joint_go_where_they_belong(lettered) -> None:
    """In a template of its own lm-eval's delimiter is taken off; bare, it is part of what is scored."""
    templated = UnmaskLM(replace(lettered, codec=letters("{prompt}c")))._pair("ab", " a", 0)
    assert (templated.context, templated.text) == ([0, 1, 2], [0])
    bare = UnmaskLM(lettered)._pair("ab ", "a", 0)
    assert (bare.context, bare.text) == ([0, 1], [5, 0])


def test_a_rolling_likelihood_of_a_short_text_is_that_given_nothing_and_a_long_one_is_cut(lettered, joint) -> None:
    model = UnmaskLM(lettered, mc_samples=400)
    requests = [ask("loglikelihood_rolling", text) for text in ("ba", "abcab", "b")]
    short, long, tail = model.loglikelihood_rolling(requests)
    assert short == pytest.approx(exact(joint, "", "ba"), abs=0.2)
    head = model.loglikelihood([ask("loglikelihood", "", "abca")])[0][0]
    assert long - head == pytest.approx(exact(joint, "", "b"), abs=0.5)
    assert tail == pytest.approx(exact(joint, "", "b"))


def test_what_is_too_long_is_refused_by_name_before_anything_is_scored(lettered, monkeypatch) -> None:
    model = UnmaskLM(lettered)
    monkeypatch.setattr(model, "_bound", lambda pair: pytest.fail("scored"))
    pairs = [("a", "b"), ("abc", "ab"), ("c", "abca")]
    with pytest.raises(UserError, match=r"request 2 of 3 \(`abc`\) is too long: .* 5 tokens and this denoiser reads 4, "
                                        r"and so are 1 more; ask with fewer examples"):  # fmt: skip
        model.loglikelihood([ask("loglikelihood", *pair) for pair in pairs])


def test_a_continuation_that_is_blank_is_scored_and_not_passed_over(lettered) -> None:
    for template in ("{prompt}", "{prompt}c"):
        model = UnmaskLM(replace(lettered, codec=letters(template)), mc_samples=1)
        assert model._pair("ab", " ", 0).text == letters().encode(" ")


def test_heads_of_no_known_use_are_left_out_where_asked_for(tmp_path) -> None:
    path = TINY["llada"].write(tmp_path)
    rewrite(path, lambda weights: weights.update({"aux.proj.weight": torch.ones(2)}))
    with pytest.raises(UserError, match=r"aux\.proj\.weight is left over"):
        UnmaskLM(str(path))
    with pytest.warns(UserWarning, match=r"left out of .*aux\.proj\.weight"):
        UnmaskLM(str(path), ignore_extra=True)


# ---- text


def test_a_text_is_cut_before_until_and_no_longer_than_asked(text_denoiser) -> None:
    model = UnmaskLM(text_denoiser, budget=4)
    whole, short, cut = model.generate_until(
        [
            ask("generate_until", "How many pens?", {}),
            ask("generate_until", "How many pens?", {"max_gen_toks": 5}),
            ask("generate_until", "How many pens?", {"max_gen_toks": 10_000, "until": ["o"]}),
        ]
    )
    assert short == decode(text_denoiser, ["How many pens?"], budget=4, response_length=5)[0].text
    assert whole == decode(text_denoiser, ["How many pens?"], budget=4)[0].text
    assert cut == whole.partition("o")[0]


def test_a_context_that_does_not_fit_is_refused_or_answered_with_nothing(text_denoiser, capsys) -> None:
    requests = [ask("generate_until", "How many pens? " * 99, {}), ask("generate_until", "How many pens?", {})]
    with pytest.raises(UserError, match="passes the context"):
        UnmaskLM(text_denoiser, budget=2).generate_until(requests)
    found = UnmaskLM(text_denoiser, budget=2, skip_too_long=True).generate_until(requests)
    assert found == ["", decode(text_denoiser, ["How many pens?"], budget=2)[0].text]
    assert capsys.readouterr().err == "1 of 2 contexts do not fit and are answered with nothing\n"


def test_repeats_of_a_document_are_drawn_anew_and_the_batch_changes_nothing(text_denoiser) -> None:
    sampled = ask("generate_until", "How many pens?", {"do_sample": True, "temperature": 1.0}, document=3)
    other = ask("generate_until", "How many?", {"do_sample": True, "temperature": 1.0}, document=4)
    found = UnmaskLM(text_denoiser).generate_until([sampled, sampled, other])
    assert found[0] != found[1]
    assert UnmaskLM(text_denoiser, batch_size=1).generate_until([other, sampled, sampled]) == [found[2], *found[:2]]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({}, Asked((), 16, 0.0, 0)),
        ({"until": "Q", "max_new_tokens": 4}, Asked(("Q",), 4, 0.0, 0)),
        ({"until": ["", "Q"], "temperature": 0.5}, Asked(("Q",), 16, 0.5, 0)),
        ({"temperature": 0.5, "do_sample": False, "top_p": 1.0, "top_k": 0}, Asked((), 16, 0.0, 0)),
        ({"max_gen_toks": 99, "do_sample": True}, Asked((), 16, 0.0, 0)),
    ],
)
def test_generation_arguments_are_read_as_lm_eval_means_them(arguments, wanted) -> None:
    assert asked(arguments, 16) == wanted


def test_what_would_change_the_law_of_the_tokens_is_refused() -> None:
    with pytest.raises(UserError, match=r"asks for top_p=0\.9"):
        asked({"top_p": 0.9}, 16)
    for value in ("inf", 1e-320, "nan"):
        with pytest.raises(UserError, match="temperature must be"):
            asked({"temperature": value}, 16)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"order": "somewhere", "sampler": "iid"}, "not both"),
        ({"template": "Q:"}, "where the context goes"),
        ({"budget": 0}, "budget must be a whole number"),
        ({"mc_samples": 0}, "mc_samples must be"),
        ({"dtype": "float99"}, "unknown dtype"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_bad_arguments_are_one_sentence(text_denoiser, arguments, said) -> None:
    with pytest.raises(UserError, match=said):
        UnmaskLM(text_denoiser, **arguments)


# ---- lm-eval itself


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Where the `datasets` library may write."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def problems(tmp_path):
    """Twenty-four word problems in the format of GSM8K."""
    examples = make_task("wordprob").examples("test")[:24]
    rows = [{"question": example.prompt, "answer": example.response} for example in examples]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("sampler", ["top-prob", "random"])
def test_lm_evals_report_for_gsm8k_equals_our_bench(problems, tmp_path, sampler: str) -> None:
    """Its own task file and strict-match filter, on the same questions: the same texts, so the same accuracy."""
    path = write_local_task(tmp_path / "gsm8k.yaml", problems, overrides=PLAIN)
    model = UnmaskLM("wordprob", sampler=sampler, budget=3)
    report = simple_evaluate(model, tasks=[str(path)], task_manager=TaskManager(include_defaults=False),
                             bootstrap_iters=0)  # fmt: skip
    (row,) = bench(model.denoiser, make_task("wordprob"), "test", samplers=[sampler], budgets=[3], count=24,
                   out=tmp_path / "bench")  # fmt: skip
    assert 0 < row.accuracy < 1
    assert report["results"]["gsm8k"]["exact_match,strict-match"] == row.accuracy
    texts = {sample["doc_id"]: sample["resps"][0][0] for sample in report["samples"]["gsm8k"]}
    ours = {record.id: record.text for record in read_records(tmp_path / "bench" / "records.jsonl").records}
    names = [example.id for example in make_task("wordprob").examples("test")[:24]]
    assert [texts[number] for number in range(24)] == [ours[name] for name in names]
    assert report["config"]["sampler"] == sampler


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_lm_evals_multiple_choice_runs_on_likelihoods(lettered, tmp_path) -> None:
    rows = [{"given": "ab", "choices": ["ca", "bb"], "right": 0}, {"given": "c", "choices": ["a", "b"], "right": 1}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "letters.yaml").write_text(
        f"task: letters\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path / 'test.jsonl'}}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{given}}'\ndoc_to_choice: '{{choices}}'\n"
        "doc_to_target: right\ntarget_delimiter: ''\nmetric_list: [{metric: acc}]\n"
    )
    report = simple_evaluate(UnmaskLM(lettered, mc_samples=200), tasks=[str(tmp_path / "letters.yaml")],
                             task_manager=TaskManager(include_defaults=False), bootstrap_iters=0)  # fmt: skip
    joint = lettered.table.joint
    right = [exact(joint, "ab", "ca") > exact(joint, "ab", "bb"), exact(joint, "c", "b") > exact(joint, "c", "a")]
    assert report["results"]["letters"]["acc,none"] == sum(right) / 2


def test_the_task_file_is_lm_evals_own_with_the_data_replaced(problems, tmp_path) -> None:
    import yaml

    path = write_local_task(tmp_path / "out.yaml", problems, overrides=PLAIN)
    config = yaml.safe_load(path.read_text())
    assert config["include"] == str(task_file("gsm8k"))
    assert task_file("gsm8k").parts[-3:] == ("tasks", "gsm8k", "gsm8k.yaml")
    assert config["dataset_kwargs"] == {"data_files": {"test": str(tmp_path / "test.jsonl")}}
    assert "metric_list" not in config
    assert "filter_list" not in config


def test_what_is_wrong_with_a_local_task_is_said(tmp_path, problems) -> None:
    with pytest.raises(UserError, match=r"no test\.jsonl"):
        write_local_task(tmp_path / "x.yaml", tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"end in \.yaml"):
        write_local_task(tmp_path / "x.json", problems)


def test_the_command_says_what_is_wrong_in_a_line(capsys) -> None:
    assert main(["local-task", "gsm8k"]) == 2
    assert capsys.readouterr().err.startswith("error: usage: ")


def test_what_lm_eval_itself_refuses_is_a_line_too(monkeypatch, capsys) -> None:
    """As it does where a task's file has such a temperature."""

    def evaluate() -> None:
        TaskConfig(task="x", output_type="generate_until", generation_kwargs={"temperature": "abc", "until": []})

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", evaluate)
    assert main([]) == 2
    assert capsys.readouterr().err == "error: lm-eval says: could not convert string to float: 'abc'\n"


def test_our_own_mistakes_keep_their_traceback(monkeypatch) -> None:
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        main([])


# ---- conversations

CHAT = (
    "{{ bos_token }}{% for turn in messages %}<{{ turn.role }}>{{ turn.content | trim }}{% endfor %}"
    "{{ '>>' if add_generation_prompt }}"
)


@pytest.fixture
def speaker(text_denoiser):
    """A denoiser with a chat template, whose start token is the padding token."""
    codec = replace(text_denoiser.codec, chat=ChatTemplate(CHAT, (("bos_token", "<|pad|>"),)))
    return replace(text_denoiser, codec=codec)


def chat_task(folder, **entries):
    rows = [{"question": f"How many pens has {name}?", "answer": f"#### {n}"} for n, name in enumerate(("Ana", "Bo"))]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "task": "chatty", "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "test.jsonl")}},
        "test_split": "test", "fewshot_split": "test", "num_fewshot": 1, "output_type": "generate_until",
        "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}", "metric_list": [{"metric": "exact_match"}],
        "generation_kwargs": {"until": ["\n"]}, **entries,
    }  # fmt: skip
    (folder / "chatty.yaml").write_text(json.dumps(config))
    return str(folder / "chatty.yaml")


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("multiturn", [False, True])
def test_lm_evals_conversations_are_written_by_the_chat_template_and_read_as_they_are(
    speaker, tmp_path, multiturn
) -> None:
    report = simple_evaluate(
        UnmaskLM(speaker, budget=2), tasks=[chat_task(tmp_path)], task_manager=TaskManager(include_defaults=False),
        apply_chat_template=True, fewshot_as_multiturn=multiturn, system_instruction="Be brief.", bootstrap_iters=0,
    )  # fmt: skip
    for sample in report["samples"]["chatty"]:
        (arguments,) = sample["arguments"]
        context = arguments[0]
        assert context.startswith("<|pad|><system>Be brief.<user>How many pens has ")
        assert context.count("<assistant>") == multiturn
        assert context.endswith(f"How many pens has {('Ana', 'Bo')[sample['doc_id']]}?>>")
        ids = speaker.codec.encode(context)
        assert ids.count(speaker.codec.pad_token) == 1
        (wanted,) = decode(speaker, [ids], budget=2, stop=["\n"], rows=[sample["doc_id"]])
        assert sample["resps"][0][0] == wanted.text


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_what_an_assistant_has_begun_is_left_open(speaker, tmp_path) -> None:
    report = simple_evaluate(
        UnmaskLM(speaker, budget=2), tasks=[chat_task(tmp_path, gen_prefix="It is", num_fewshot=0)],
        task_manager=TaskManager(include_defaults=False), apply_chat_template=True, bootstrap_iters=0,
    )  # fmt: skip
    contexts = [sample["arguments"][0][0] for sample in report["samples"]["chatty"]]
    assert [context.partition("?")[2] for context in contexts] == ["<assistant>It is"] * 2


def test_a_rendered_context_is_scored_as_it_is(speaker) -> None:
    model = UnmaskLM(speaker)
    context = model.apply_chat_template([{"role": "user", "content": "Why?"}])
    assert context == "<|pad|><user>Why?>>"
    pair = model._pair(context, "So.", 0)
    assert pair.context + pair.text == speaker.codec.encode(context + "So.")
    assert pair.context == speaker.codec.encode(context)


def test_the_chat_template_is_named_and_shown(speaker, text_denoiser) -> None:
    model = UnmaskLM(speaker)
    assert model.chat_template(True) == model.chat_template("default") == CHAT
    assert model.chat_template(False) is None
    assert model.tokenizer_name == UnmaskLM(speaker, template="bare").tokenizer_name
    assert model.tokenizer_name.startswith("unmask-")
    with pytest.raises(UserError, match="not read by name: got `rag`"):
        model.chat_template("rag")
    without = UnmaskLM(text_denoiser)
    for ask_for in (lambda: without.tokenizer_name, lambda: without.chat_template(True),
                    lambda: without.apply_chat_template([{"role": "user", "content": "Why?"}])):  # fmt: skip
        with pytest.raises(UserError, match="has no chat template: leave out --apply_chat_template"):
            ask_for()


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"budgte": 4}, "unknown model argument of unmask `budgte`. Did you mean `budget`"),
        ({"pretrained": "x"}, "unknown model argument of unmask `pretrained`"),
        ({"denoiser": 5}, "denoiser must be a name, got 5"),
        ({"order": True}, "order must be a name, got True"),
        ({"sampler": 0.5}, r"sampler must be a name, got 0\.5"),
        ({"sampler": "margn"}, "Did you mean `margin`"),
        ({"sampler": "threshold:level=2"}, "level must be"),
        ({"budget": "four"}, "budget must be a whole number of at least 1, got 'four'"),
        ({"budget": 2.5}, "budget must be a whole number"),
        ({"response_length": 0}, "response_length must be"),
        ({"mc_samples": "many"}, "mc_samples must be"),
        ({"seed": -1}, "seed must be"),
        ({"seed": "x"}, "seed must be"),
        ({"device": "gpu0"}, "no device `gpu0`"),
        ({"batch_size": "all"}, "batch_size must be"),
        ({"batch_size": -1}, "batch_size must be"),
        ({"cache": "prefix"}, "unknown cache `prefix`"),
        ({"cache": 5}, "cache must be a name"),
        ({"skip_too_long": "yes"}, "skip_too_long must be true or false, got yes"),
        ({"template": "chat"}, "no chat template"),
        ({"ignore_extra": "yes"}, "ignore_extra must be true or false, got yes"),
    ],
)
def test_a_model_argument_that_cannot_be_is_one_sentence(text_denoiser, arguments, said) -> None:
    with pytest.raises(UserError, match=said) as caught:
        UnmaskLM(**({"denoiser": text_denoiser} | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_gen_toks": "x"}, "max_gen_toks must be a whole number"),
        ({"max_gen_toks": 0}, "max_gen_toks must be a whole number of at least 1, got 0"),
        ({"max_tokens": 2.5}, "max_tokens must be a whole number"),
        ({"temperature": -1}, "temperature must be"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"temperature": "hot"}, "temperature must be"),
        ({"until": 5}, "until=5, which should be a text or a list of texts"),
        ({"until": ["a", None]}, "should be a text or a list of texts"),
        ({"do_sample": "yes"}, "do_sample='yes', which should be true or false"),
        ({"top_k": 5}, r"asks for top_k=5, .* --gen_kwargs top_k=0"),
        ({"min_p": 0.1}, "asks for min_p"),
        ({"num_beams": 4}, "asks for num_beams"),
        ({"no_repeat_ngram_size": 3}, "asks for no_repeat_ngram_size"),
        ({"num_return_sequences": 2}, "asks for num_return_sequences"),
        ({"suppress_tokens": [5]}, "asks for suppress_tokens"),
        ({"whatever": 1}, "asks for whatever=1"),
    ],
)
def test_a_generation_argument_that_cannot_be_is_one_sentence(arguments, said) -> None:
    with pytest.raises(UserError, match=said):
        asked(arguments, 16)


def test_what_asks_for_nothing_is_taken() -> None:
    neutral = {"top_p": 1, "num_beams": 1, "repetition_penalty": 1.0, "min_p": 0, "top_k": -1, "use_cache": True,
               "max_gen_toks": 8.0, "temperature": None, "do_sample": None, "stop_strings": None}  # fmt: skip
    assert asked(neutral, 16) == Asked((), 8, 0.0, 0)


@pytest.mark.parametrize("given", [{"sampler": "iid"}, {"budget": 2}, {}])
def test_that_no_sampler_counts_in_a_likelihood_is_said_once_where_one_was_given(lettered, capsys, given) -> None:
    model = UnmaskLM(lettered, mc_samples=2, **given)
    for _ in range(2):
        model.loglikelihood([ask("loglikelihood", "ab", "c")])
        model.loglikelihood_rolling([ask("loglikelihood_rolling", "ab")])
    assert capsys.readouterr().err.count("likelihoods are the masked-diffusion bound over all orders") == bool(given)


def test_a_context_too_long_is_named(text_denoiser) -> None:
    requests = [ask("generate_until", text, {}) for text in ("Why?", "How many pens? " * 99)]
    with pytest.raises(UserError, match=r"prompt 2 of 2 \(`How many pens\? How"):
        UnmaskLM(text_denoiser, budget=2).generate_until(requests)
