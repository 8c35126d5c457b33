"""`unmask sample`."""

import io
import json
from pathlib import Path

import pytest
import torch

from unmask.samplers.trace import read_traces, written

from ..denoisers.families.tiny_llada import TINY_LLADA


def test_one_line_per_prompt_on_stdout_and_a_summary_on_stderr(run, denoiser: Path) -> None:
    code, out, err = run("sample", "--denoiser", denoiser, "--budget", 3, "What is 1 plus 2?", "What is 3 plus 3?")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "2 responses in 3.00 [3, 3] steps each" in err


def test_json_says_what_was_written_where_and_when(run, denoiser: Path, order: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--order", order, "--budget", 4, "--json", "--log-probs"]
    found = json.loads(run(*command, "What is 1 plus 2?").out)
    assert found["prompt"] == "What is 1 plus 2?"
    assert found["steps"] == max(found["revealed_at"]) <= 4
    assert len(found["tokens"]) == len(found["revealed_at"]) == len(found["probability"]) == found["written"]
    assert found["log_prob"] < 0


def test_a_dash_reads_prompts_from_stdin(run, denoiser: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 1 plus 2?\n\nWhat is 2 plus 2?\n"))
    found = run("sample", "--denoiser", denoiser, "--budget", 1, "--json", "What is 5 plus 5?", "-")
    prompts = [json.loads(line)["prompt"] for line in found.out.splitlines()]
    assert prompts == ["What is 5 plus 5?", "What is 1 plus 2?", "What is 2 plus 2?"]


def test_infilling_keeps_the_text_around_the_mask(run, denoiser: Path) -> None:
    out = run("sample", "--denoiser", denoiser, "--infill", "--budget", 2, "What is 1 <|mask:2|> 2? -> 3").out
    assert out.startswith("What is 1 ")
    assert out.endswith(" 2? -> 3\n")


def test_same_seed_same_text_and_another_seed_another(run, denoiser: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 4, "--temperature", 1, "What is 1 plus 2?"]
    first, again, other = (run(*command, "--seed", seed).out for seed in (0, 0, 1))
    assert first == again != other


def test_a_budget_above_the_length_is_not_used_up(run, denoiser: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 10_000, "--json", "What is 1 plus 2?"]
    found = json.loads(run(*command).out)
    assert found["steps"] == found["written"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_denoiser_runs_in_the_dtype_asked_for(run, denoiser: Path, dtype: str) -> None:
    assert run("sample", "--denoiser", denoiser, "--budget", 2, "--dtype", dtype, "What is 1 plus 2?").code == 0


def test_slow_bfloat16_is_said_and_not_forbidden(run, denoiser: Path, monkeypatch) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 2, "--dtype", "bfloat16", "What is 1 plus 2?"]
    for fast in (True, False):
        monkeypatch.setattr("unmask.train.precision.multiplies_bfloat16", lambda device, fast=fast: fast)
        code, _, err = run(*command)
        assert code == 0
        assert ("no instructions for bfloat16" in err) != fast


def test_an_approximate_cache_is_taken_and_a_wrong_name_answered(run, denoiser: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 3, "What is 1 plus 2?", "--cache"]
    assert run(*command, "dual-approximate:window=4,refresh=1").out == run(*command[:-1]).out
    code, _, err = run(*command, "prefix")
    assert code == 2
    assert "unknown cache `prefix`. Did you mean `prefix-approximate`?" in err


def test_exact_answers_are_those_of_each_prompt_by_itself(run, denoiser: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 3, "--exact", "--json", "--log-probs"]
    command += ["--dtype", "bfloat16"]
    prompts = ["What is 1 plus 2?", "What is 1 plus 2, and how many pens has Ana, who had 3 and bought 4?"]
    alone = "".join(run(*command, prompt).out for prompt in prompts)
    assert run(*command, *prompts).out == alone


def test_a_trace_has_every_prompt_with_every_sampler(run, denoiser: Path, order: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    command = ["sample", "--denoiser", denoiser, "--order", order, "--budget", 3, "--json", "--log-probs"]
    command += ["--trace", path, "--beside", "iid", "--beside", "margin:block=4", "What is 1 plus 2?", "What is 3?"]
    code, out, err = run(*command)
    assert code == 0
    assert f"unmask view {path}" in err
    about, traces = read_traces(path)
    assert about["torch"] == torch.__version__
    samplers = ["learned", "iid", "margin:block=4"]
    assert [(trace.prompt, trace.sampler) for trace in traces] == [
        (prompt, name) for prompt in ("What is 1 plus 2?", "What is 3?") for name in samplers
    ]
    assert [trace.learned for trace in traces] == [True, False, False] * 2
    printed = [json.loads(line) for line in out.splitlines()]
    for found, trace in zip(printed, traces[::3], strict=True):
        assert (found["text"], found["revealed_at"]) == (trace.text, trace.revealed_at)
        assert found["probability"] == pytest.approx(trace.probability, abs=1e-4)


def test_a_trace_takes_the_place_of_no_other_file(run, denoiser: Path, tmp_path: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 2, "What is 1 plus 2?", "--trace"]
    (tmp_path / "thesis.tex").write_text("years of work")
    code, out, err = run(*command, tmp_path / "thesis.tex")
    assert (code, out) == (2, "")
    assert "thesis.tex would replace a file that is no trace of unmask, so it is spared" in err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    code, out, err = run(*command, tmp_path)
    assert (code, out) == (2, "")
    assert "is a folder; name a file" in err
    (tmp_path / "empty.json").touch()
    for _ in range(2):
        assert run(*command, tmp_path / "empty.json").code == 0


def test_a_trace_says_how_probable_what_was_drawn_is(run, denoiser: Path, tmp_path: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 2, "--temperature", 1, "--trace", tmp_path / "t.json"]
    assert run(*command, "What is 1 plus 2?").code == 0
    (trace,) = read_traces(tmp_path / "t.json").traces
    assert all(p is not None and 0 < p < 1 for p in trace.probability)


def test_a_trace_of_an_infilled_text_keeps_what_was_given(run, denoiser: Path, tmp_path: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 2, "--trace", tmp_path / "t.json", "--infill"]
    assert run(*command, "What is 1 <|mask:2|> 2? -> 3").code == 0
    (trace,) = read_traces(tmp_path / "t.json").traces
    assert trace.around == ["What is 1 ", "", " 2? -> 3"]
    assert written(trace, 0) == "What is 1 __ 2? -> 3"


def test_watching_tells_each_step_in_a_line_where_there_is_no_terminal(run, denoiser: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 3, "What is 1 plus 2?", "What is 3 plus 3?"]
    plain = run(*command)
    watched = run(*command, "--watch")
    assert watched.out == plain.out
    lines = [line for line in watched.err.splitlines() if line.startswith("prompt ")]
    assert len(lines) == 6
    blanks = [line.count("_") for line in lines if line.startswith("prompt 1, ")]
    assert blanks == sorted(blanks, reverse=True)
    assert blanks[-1] == 0 < blanks[0]
    assert "\x1b" not in watched.err


# ---- templates and special tokens


def test_a_template_says_how_the_prompt_is_written(run, denoiser: Path) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 4, "--json", "--log-probs"]
    found = {
        template: json.loads(run(*command, "--template", template, "What is 1 plus 2?").out)
        for template in ("bare", "{prompt} ->", "Q: {prompt} ->")
    }
    assert found["{prompt} ->"] == json.loads(run(*command, "What is 1 plus 2?").out)
    assert len({each["log_prob"] for each in found.values()}) == 3
    assert json.loads(run(*command, "--template", "bare", "").out)["prompt"] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--template", "Q:", "Why?"], "a template is bare, chat, or a text with {prompt} in it"),
        (["--template", "chat", "Why?"], "this denoiser has no chat template"),
        (["1 plus <|mask|>"], "has a mark, which stands for what is to be written: add --infill"),
        (["Why?", "1 plus <|mask:3|>"], "prompt 2 has a mark"),
        (["--infill", "1 plus <|mask:20000000|>"], "20,000,000 positions to write"),
        (["--infill", "1 plus <|mask:0|>"], "`<|mask:0|>` marks nothing"),
        ([""], "the prompt is empty"),
        (["--response-length", "100000", "Why?"], "choose a response length (--response-length) of at most"),
    ],
)
def test_what_cannot_be_written_is_one_sentence_and_nothing_on_stdout(run, denoiser: Path, arguments, said) -> None:
    code, out, err = run("sample", "--denoiser", denoiser, "--budget", 2, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_how_a_nameless_checkpoint_is_prompted_is_told_on_stderr(run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    TINY_LLADA.write(folder)
    config = json.loads((folder / "config.json").read_text()) | {"_name_or_path": None}
    (folder / "config.json").write_text(json.dumps(config))
    command = ["sample", "--denoiser", folder, "--budget", 2, "--response-length", 4, "Why?"]
    code, _, err = run(*command)
    assert code == 0
    assert "prompts are written as turns of one; for the text as it is, give the template bare (--template bare)" in err
    assert "--template" not in run(*command, "--template", "bare").err
    assert "--template" not in run(*command, "--template", "chat").err
