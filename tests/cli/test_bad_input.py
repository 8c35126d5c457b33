"""What the user gets wrong: exit code 2 and one sentence with the value, the choices and a next step."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file


def words(text: str, **places: Path) -> list[str]:
    """A command line; `{denoiser}` and the like are filled in."""
    return [word.format(**places) for word in text.split()]


COMMANDS = [
    ("fti", "unknown verb `fti`. Did you mean `fit`?"),
    ("fit --task wordprb --out {out}", "unknown task `wordprb`. Did you mean `wordprob`?"),
    ("fit --task wordprob --preset tny --out {out}", "unknown preset `tny`. Did you mean `tiny`?"),
    ("fit --task wordprob", "missing --out; hint: `unmask fit --help`"),
    ("fit --task wordprob --uot {out}", "has no flag `--uot`. Did you mean `--out`?"),
    ("fit --task wordprob --out {out} --updates many", "--updates: expected a whole number, got `many`"),
    ("fit --task wordprob --out {out} --updates 0", "--updates must be at least 1, got 0"),
    ("fit --task wordprob --out {out} --rate 2", "--rate must be from 0 to 1, got 2"),
    ("fit --task wordprob --out {out} --vocabulary 100", "--vocabulary must be at least 260, got 100"),
    ("fit --task wordprob --out {out} --device cdua", "no device `cdua` on this machine; found cpu"),
    ("fit --task wordprob --out {out} --dtype float31", "unknown dtype `float31`. Did you mean `float32`?"),
    ("fit --task wordprob --out {out} --threads 0", "--threads must be at least 1, got 0"),
    ("fit --task jsonl --out {out}", "task `jsonl` needs data"),
    ("fit --task jsonl --data {out}/none.jsonl --out {out}", "none.jsonl"),
    ("fit --task jsonl --data {sums} --preset tiny --context 8 --out {out}", "no training example fits"),
    ("fit --task jsonl --data {sums} --preset tiny --width 33 --out {out}", "width 33 does not split into 2 heads"),
    ("fit --task jsonl --data {sums} --preset tiny --init wordprb --out {out}", "Did you mean `wordprob`?"),
    ("fit --task wordprob --preset tiny --mix arithmetic=lots --out {out}", "cannot read `arithmetic=lots`"),
    ("fit --task wordprob --preset tiny --mix arthmetic=0.5 --out {out}", "Did you mean `arithmetic`?"),
    ("learn --denoiser {denoiser} --task jsonl --data {sums} --budgets 0 --out {out}", "--budgets must be at least 1"),
    ("learn --denoiser {denoiser} --task jsonl --data {sums} --samples 1 --out {out}", "--samples must be at least 2"),
    ("learn --denoiser {denoiser} --task jsonl --data {sums} --denoiser-update thawed --out {out}", "frozen, joint"),
    ("sample --denoiser wordprb --budget 2 hi", "unknown denoiser `wordprb`. Did you mean `wordprob`?"),
    ("sample --denoiser ./nowhere --budget 2 hi", "there is no folder ./nowhere"),
    ("sample --denoiser {denoiser} --budget 0 hi", "--budget must be at least 1, got 0"),
    ("sample --denoiser {denoiser} --budget 99999999999999999999 hi", "at most 9223372036854775807"),
    ("sample --denoiser {denoiser} --budget 2 hi --sampler margin:block=99999999999999999999", "at most 92233720"),
    ("sample --denoiser {denoiser} --budget 2 hi --sampler margin:block=8,block=9", "has the option `block` twice"),
    ("sample --denoiser {denoiser} --budget 2 hi --sampler MARGIN", "Did you mean `margin`?"),
    ("sample --denoiser {denoiser} --budget 2 hi --device meta", "device `meta` holds shapes and computes nothing"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --seeds -1 --out {out}", "--seeds must be at least 0"),
    ("sample --denoiser {denoiser} --budget x hi", "--budget: expected a whole number, got `x`"),
    ("sample --denoiser {denoiser} --budget 2", "there is no prompt"),
    ("sample --denoiser {denoiser} --budget 2 hi --sampler margn", "unknown sampler `margn`. Did you mean `margin`?"),
    ("sample --denoiser {denoiser} --budget 2 hi --sampler threshold:lvel=1", "Did you mean `level`?"),
    ("sample --denoiser {denoiser} --budget 2 hi --sampler threshold:level=7", "level must be a number from 0 to 1"),
    ("sample --denoiser {denoiser} --budget 2 hi --sampler margin --order {order}", "--order or --sampler, not both"),
    ("sample --denoiser {denoiser} --budget 2 hi --order {out}", "there is no learned order at"),
    ("sample --denoiser {denoiser} --budget 2 hi --beside iid", "give --trace FILE"),
    ("sample --denoiser {denoiser} --budget 2 hi --trace {out} --beside idi", "Did you mean `iid`?"),
    ("sample --denoiser {denoiser} --budget 2 hi --trace {out} --beside top-prob", "would have `top-prob` twice"),
    ("sample --denoiser {denoiser} --budget 2 hi --temperature -1", "--temperature must be at least 0"),
    ("sample --denoiser {denoiser} --budget 2 hi --temperature inf", "--temperature must be a finite number, got inf"),
    ("sample --denoiser {denoiser} --budget 2 hi --temperature nan", "--temperature must be at least 0, got nan"),
    ("sample --denoiser {denoiser} --budget 2 hi --temperature 1e-320", "--temperature must be 0 (the most"),
    ("sample --denoiser {denoiser} --budget 2 hi --response-length 0", "response_length must be"),
    ("sample --denoiser {denoiser} --budget 2 hi --infill", "nothing to infill"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --split tset --out {out}", "Did you mean `test`?"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --budgets 0 --out {out}", "at least 1"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --count 0 --out {out}", "--count must be at least 1"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --samplers margn --out {out}", "Did you mean `margin`?"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums}", "missing --out; hint: `unmask bench --help`"),
    ("bench --task jsonl --data {sums} --out {out}", "missing --denoiser; hint: `unmask bench --help`"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --sweep threshold.levl=1 --out {out}", "mean `level`?"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --sweep threshold.level=1:0:1 --out {out}", "never gets"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --against margn --out {out}", "Did you mean `margin`?"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --retention-from {out} --out {out}", "there is no"),
    ("sample --denoiser {denoiser} --budget 2 --json=true hi", "--json takes no value, got `true`"),
    ("sample --denoiser {denoiser} --budget 2 --json=false hi", "--json takes no value, got `false`"),
    ("exact --jobs 100000 --families gate", "--jobs must be from 1 to "),
    ("bench --verify {out}", "there is no"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --orders =x --out {out}", "--orders `=x`: write DIR or"),
    ("bench --denoiser {denoiser} --task jsonl --data {sums} --orders x= --out {out}", "--orders `x=`: write DIR or"),
    ("compare {sums} {out}", "there is no"),
    ("view {out}", "there is no"),
    ("view {sums}", "there is nothing to view in"),
    ("view {sums}/test.jsonl", "is neither a trace nor records of unmask"),
    ("view", "missing FILE"),
    ("list smaplers", "Did you mean `samplers`?"),
    ("list", "missing KIND"),
    ("demo --count 0", "--count must be at least 1, got 0"),
    ("demo --preset dmeo --out {out}", "unknown preset `dmeo`. Did you mean `demo`?"),
]


@pytest.mark.parametrize(("command", "said"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_wrong_command_is_answered_in_one_sentence(
    refused, command: str, said: str, sums: Path, denoiser: Path, order: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert said in refused(*words(command, sums=sums, denoiser=denoiser, order=order, out=out))
    assert not out.exists(), "something was left half-written"


def test_no_verb_shows_the_usage_and_fails(run) -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert "usage: unmask VERB" in err
    assert "error: no verb given" in err


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "--task", "wordprob", "--preset", "tiny", "--out", ""],
        ["fit", "--task", "wordprob", "--preset", "tiny", "--out="],
        ["bench", "--denoiser", "wordprob", "--task", "wordprob", "--out", ""],
        ["exact", "--quick", "--out", ""],
        ["sample", "--denoiser", "", "--budget", "2", "hi"],
        ["sample", "--denoiser", "wordprob", "--budget", "2", "--order", "", "hi"],
        ["learn", "--denoiser", "wordprob", "--task", "jsonl", "--data", "", "--out", "x"],
    ],
)
def test_a_variable_of_the_shell_that_is_not_set_is_not_the_folder_one_is_in(
    refused, tmp_path: Path, monkeypatch, command: list[str]
) -> None:
    """`--out "$OUT"` without OUT was `.`, and an empty folder was filled."""
    monkeypatch.chdir(tmp_path)
    assert "is given an empty text; is it a variable of the shell that is not set?" in refused(*command)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prompt", ["", "  "])
def test_an_empty_prompt_is_refused(refused, denoiser: Path, prompt: str) -> None:
    assert "the prompt is empty" in refused("sample", "--denoiser", denoiser, "--budget", 2, prompt)


def test_a_prompt_longer_than_the_context_is_refused_with_the_room_there_is(refused, denoiser: Path) -> None:
    said = refused("sample", "--denoiser", denoiser, "--budget", 2, "What is 1 plus 2? " * 60)
    assert "passes the context of 320; shorten it to" in said


@pytest.fixture
def copy(denoiser: Path, tmp_path: Path) -> Path:
    """A denoiser's folder to spoil."""
    return Path(shutil.copytree(denoiser, tmp_path / "copy"))


def spoil_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spoil_truncated(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def spoil_foreign_bytes(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04 something else altogether")


def spoil_foreign_tensors(folder: Path) -> None:
    save_file({"conv.weight": torch.zeros(3)}, folder / "model.safetensors")


def spoil_shape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"norm.weight": torch.ones(7)}, folder / "model.safetensors")


def edit_config(folder: Path, **entries: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))


def spoil_version(folder: Path) -> None:
    edit_config(folder, version=99)


def spoil_format(folder: Path) -> None:
    edit_config(folder, format="llama")


def spoil_json(folder: Path) -> None:
    (folder / "config.json").write_text('{"format": ')


def spoil_tokenizer(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    size = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] |= {f"extra{number}": size + number for number in range(3)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def spoil_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def spoil_codec(folder: Path) -> None:
    names = json.loads((folder / "codec.json").read_text())
    (folder / "codec.json").write_text(json.dumps(names | {"mask": "[MASK]"}))


SPOILED = [
    (spoil_missing, "there is no model.safetensors in"),
    (spoil_truncated, "model.safetensors is damaged"),
    (spoil_foreign_bytes, "model.safetensors is damaged or not safetensors"),
    (spoil_foreign_tensors, "model.safetensors does not fit config.json"),
    (spoil_shape, "norm.weight has shape [7], not [32]"),
    (spoil_version, "config.json is of version 99, this unmask reads version 1"),
    (spoil_format, "config.json is not a denoiser of unmask"),
    (spoil_json, "config.json is damaged"),
    (spoil_tokenizer, "tokens but the embedding has"),
    (spoil_no_tokenizer, "there is no tokenizer.json in"),
    (spoil_codec, "the tokenizer has no token `[MASK]`"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILED, ids=[spoil.__name__[6:] for spoil, _ in SPOILED])
def test_a_spoiled_denoiser_is_refused_by_the_name_of_its_file(refused, copy: Path, spoil, said: str) -> None:
    spoil(copy)
    assert said in refused("sample", "--denoiser", copy, "--budget", 2, "hi")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_missing, "there is no model.safetensors in"),
        (spoil_truncated, "model.safetensors is damaged"),
        (spoil_foreign_tensors, "model.safetensors does not fit config.json"),
        (spoil_version, "config.json is of version 99, this unmask reads version 1"),
        (spoil_format, "config.json is not a learned order"),
    ],
)
def test_a_spoiled_order_is_refused_by_the_name_of_its_file(
    refused, denoiser: Path, order: Path, tmp_path: Path, spoil, said: str
) -> None:
    copy = Path(shutil.copytree(order, tmp_path / "copy"))
    spoil(copy)
    assert said in refused("sample", "--denoiser", denoiser, "--order", copy, "--budget", 2, "hi")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with somebody's file in it."""
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("years of work")
    return tmp_path / "foreign"


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], ["--overwrite"]])
def test_a_folder_of_something_else_is_never_emptied(refused, sums: Path, foreign: Path, extra: list[str]) -> None:
    command = words("fit --task jsonl --data {sums} --preset tiny --out {out}", sums=sums, out=foreign)
    assert "choose another folder" in refused(*command, *extra)
    assert (foreign / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["fit", "learn"])
def test_the_folder_of_another_run_is_refused_with_the_difference(
    run, refused, sums: Path, denoiser: Path, tmp_path: Path, verb: str
) -> None:
    command = words("--task jsonl --data {sums} --preset tiny --updates 2 --out {out}", sums=sums, out=tmp_path / "out")
    if verb == "learn":
        command += ["--denoiser", str(denoiser), "--rule-count", "2"]
    assert run(verb, *command).code == 0
    said = refused(verb, *command, "--seed", 3)
    assert "belongs to another run (seed 0 there, 3 here)" in said
    assert run(verb, *command, "--seed", 3, "--overwrite").code == 0


def test_bench_refuses_the_records_of_another_run_and_the_folder_of_a_fit(
    run, refused, sums: Path, denoiser: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    text = "--task jsonl --data {sums} --samplers margin --budgets 2 --count 3 --out {out}"
    command = words(text, sums=sums, out=out)
    assert run("bench", "--denoiser", denoiser, *command).code == 0
    assert "is of another run" in refused("bench", "--denoiser", denoiser, *command, "--split", "validation")
    (out / "run.json").write_text("{}")
    assert "is the folder of another run" in refused("bench", "--denoiser", denoiser, *command)


def test_a_run_that_has_not_finished_is_no_denoiser_yet(refused, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert "has not made a denoiser yet" in refused("sample", "--denoiser", tmp_path, "--budget", 2, "hi")


def test_an_interrupt_is_one_line_and_130(run, monkeypatch) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.cli.list.List.run", interrupt)
    code, out, err = run("list", "samplers")
    assert (code, out, len(err.splitlines())) == (130, "", 1)
    assert err == "stopped\n"


@pytest.mark.slow
def test_a_full_disk_is_one_line(run, refused, sums: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    text = "fit --task jsonl --data {sums} --preset tiny --updates 2 --out {out}"
    command = words(text, sums=sums, out=tmp_path / "out")
    assert "No space left on device; free some space" in refused(*command)


def test_compiling_without_a_compiler_is_refused_before_anything_is_done(
    refused, sums: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    text = "fit --task jsonl --data {sums} --preset tiny --compile --out {out}"
    said = refused(*words(text, sums=sums, out=tmp_path / "out"))
    assert "install g++ or pass --no-compile" in said
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_refused(refused, sums: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    text = "fit --task jsonl --data {sums} --preset tiny --out {out}"
    assert "out" in refused(*words(text, sums=sums, out=tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "a file"


def test_a_data_file_full_of_bad_lines_is_refused_with_the_first(refused, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"prompt": 1}\n' * 20)
    command = words("fit --task jsonl --data {data} --out {out}", data=tmp_path / "bad.jsonl", out=tmp_path / "out")
    assert "20 of 20 rows" in refused(*command)


def test_a_loss_that_is_not_finite_stops_the_fit_and_keeps_the_checkpoint_before(
    run, sums: Path, tmp_path: Path, monkeypatch
) -> None:
    from unmask.train import fit
    from unmask.train.checkpoint import load_checkpoint

    calls, honest = [], fit.update_loss

    def exploding(*arguments: object) -> torch.Tensor:
        calls.append(arguments)
        loss = honest(*arguments)
        return loss * float("nan") if len(calls) == 8 else loss

    monkeypatch.setattr(fit, "update_loss", exploding)
    text = "fit --task jsonl --data {sums} --preset tiny --updates 20 --checkpoint-every 5 --out {out}"
    code, out, err = run(*words(text, sums=sums, out=tmp_path / "out"))
    assert (code, out) == (2, "")
    assert "error: at update 8 the loss became nan" in err.splitlines()[-1]
    assert load_checkpoint(tmp_path / "out" / "checkpoint.safetensors").meta["update"] == 5
    assert not (tmp_path / "out" / "denoiser").exists()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_missing_flag_is_named_whatever_the_terminal_can_draw(encoding: str) -> None:
    command = [sys.executable, "-m", "unmask", "fit", "--task", "wordprob"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: missing --out; hint: `unmask fit --help`\n"
