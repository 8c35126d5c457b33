"""What comes in and goes out: bytes of any encoding, terminals of any encoding, and nothing that steers them."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.cli.sample import Answers


def piped(data: bytes, *words: object, **environment: str) -> tuple[int, bytes, str]:
    """The command in a process of its own with bytes on stdin: exit code, stdout, stderr."""
    command = [sys.executable, "-m", "unmask", *map(os.fsencode, map(str, words))]
    ran = subprocess.run(command, input=data, capture_output=True, check=False, env=os.environ | environment)
    return ran.returncode, ran.stdout, ran.stderr.decode("utf-8", "replace")


@pytest.fixture
def stdin(monkeypatch):
    """`stdin(bytes)`: what is read from there."""
    return lambda data: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_prompts_are_read_from_stdin_whatever_mark_they_begin_with(run, denoiser, stdin, encoding, end) -> None:
    stdin(f"What is 1 plus ½?{end}{end}What is 2 plus 2?{end}".encode(encoding))
    found = run("sample", "--denoiser", denoiser, "--budget", 1, "--json", "-")
    prompts = [json.loads(line)["prompt"] for line in found.out.splitlines()]
    assert prompts == ["What is 1 plus ½?", "What is 2 plus 2?"]


def test_bytes_that_are_no_text_are_refused_with_the_line(refused, denoiser, stdin) -> None:
    stdin(b"What is 1?\ncaf\xe9\n")
    said = refused("sample", "--denoiser", denoiser, "--budget", 1, "-")
    assert "stdin is not UTF-8: byte 0xe9 in line 2" in said
    assert "iconv -f latin1 -t utf-8" in said


def test_half_a_character_in_a_prompt_is_refused(refused, denoiser) -> None:
    said = refused("sample", "--denoiser", denoiser, "--budget", 1, "What?", "caf\udce9")
    assert "prompt 2 holds half a character" in said


@pytest.mark.parametrize("name", ["jsonl", "gsm8k"])
def test_half_a_character_or_another_encoding_in_data_is_refused(refused, tmp_path: Path, name: str) -> None:
    question, answer = ("prompt", "response") if name == "jsonl" else ("question", "answer")
    row = json.dumps({question: "Ana has 1 café.", answer: "#### 1"}, ensure_ascii=False)
    half = json.dumps({question: "Ana \ud800 has 1.", answer: "#### 1"})
    for data, said in ((f"{row}\n".encode("latin-1"), "is not UTF-8"), (f"{half}\n".encode(), "half a character")):
        for split in ("train", "test"):
            (tmp_path / f"{split}.jsonl").write_bytes(data)
        command = ["fit", "--task", name, "--data", tmp_path, "--preset", "tiny", "--out", tmp_path / "out"]
        assert said in refused(*command)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_no_answer_is_lost_on_a_stdout_of_another_encoding(denoiser: Path, encoding: str) -> None:
    command = ["sample", "--denoiser", denoiser, "--budget", 1, "--json", "第 é plus 2?"]
    code, out, err = piped(b"", *command, PYTHONIOENCODING=encoding)
    assert code == 0, err
    assert json.loads(out.decode(encoding))["prompt"] == "第 é plus 2?"
    code, out, err = piped(b"", *command[:-2], "第 é", PYTHONIOENCODING=encoding)
    assert code == 0, err
    code, out, err = piped(b"", "list", "samplers", PYTHONIOENCODING=encoding)
    assert code == 0, err


@pytest.mark.slow
def test_a_prompt_in_utf_8_is_read_where_the_machine_speaks_ascii(denoiser: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, out, err = piped(b"", "sample", "--denoiser", denoiser, "--budget", 1, "--json", "第 é?", **ascii_only)
    assert code == 0, err
    assert json.loads(out)["prompt"] == "第 é?"


@pytest.mark.slow
def test_a_prompt_of_other_bytes_on_the_command_line_is_one_sentence(denoiser: Path) -> None:
    code, _, err = piped(b"", "sample", "--denoiser", denoiser, "--budget", 1, os.fsdecode(b"caf\xe9"))
    assert (code, len(err.splitlines())) == (2, 1), err
    assert "half a character" in err


def test_answers_are_shown_in_order_and_none_that_is_finished_is_lost(capsys) -> None:
    shown: list[str | None] = []

    def until_interrupted() -> None:
        with Answers(["a"] * 6, shown.append) as answers:
            for number in (1, 0, 2, 4):
                answers.take(number, str(number))
                assert shown == [str(each) for each in range(len(shown))]
            assert shown == ["0", "1", "2"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        until_interrupted()
    assert shown == ["0", "1", "2", None, "4"]
    assert capsys.readouterr().err == "4 of 6 responses are finished\n"


def test_each_answer_is_out_before_the_next_batch(run, denoiser: Path, monkeypatch) -> None:
    from unmask.samplers import generate

    seen: list[int] = []
    before = generate.decode_canvas

    def counted(*arguments, **options):
        seen.append(len(sys.stdout.getvalue().splitlines()) if hasattr(sys.stdout, "getvalue") else -1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return before(*arguments, **options)

    monkeypatch.setattr(generate, "decode_canvas", counted)
    prompts = [f"What is {number} plus 2?" for number in range(1, 6)]
    code, out, err = run("sample", "--denoiser", denoiser, "--budget", 1, "--batch", 1, *prompts)
    assert code == 130
    assert len(out.splitlines()) == 2
    assert "2 of 5 responses are finished" in err


@pytest.mark.parametrize("batch", [1, 2])
def test_answers_come_in_the_order_of_the_prompts_however_long_they_are(
    run, denoiser: Path, monkeypatch, batch: int
) -> None:
    """The longest came last, so that those after it were held back until the end."""
    from unmask.samplers import generate

    seen: list[int] = []
    before = generate.decode_canvas

    def counted(*arguments, **options):
        seen.append(len(sys.stdout.getvalue().splitlines()))
        return before(*arguments, **options)

    monkeypatch.setattr(generate, "decode_canvas", counted)
    prompts = [f"What is {'1 plus ' * (5 - number)}2?" for number in range(5)]
    assert run("sample", "--denoiser", denoiser, "--budget", 1, "--batch", batch, *prompts).code == 0
    assert seen == list(range(0, 5, batch))


@pytest.mark.parametrize("name", ["x\\[/foo]", "[bold]x", "a\x1b[31mb", "[/]"])
def test_a_name_that_looks_like_markup_is_shown_as_it_is(run, tmp_path: Path, name: str) -> None:
    header = {"format": "unmask-records", "version": 1, "config": {"task": "t", "split": "test"}}
    record = {"sampler": name, "budget": 4, "seed": 0, "id": "t/0", "prompt": "ab", "text": "", "answer": None,
              "correct": True, "steps": 4, "nfe": 4, "written": 4, "content": 1, "seconds": 0.1}  # fmt: skip
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "records.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(record)}\n")
    code, out, err = run("compare", tmp_path / "a", tmp_path / "b")
    assert code == 0, err
    assert name.replace("\x1b", "�") in out
    assert "\x1b" not in out + err


def test_too_many_threads_are_refused(refused, denoiser: Path) -> None:
    said = refused("sample", "--denoiser", denoiser, "--budget", 1, "--threads", 100_000, "What?")
    assert "--threads must be from 1 to " in said


def test_an_escape_in_an_error_does_not_reach_the_terminal(refused) -> None:
    assert "\x1b" not in refused("sample", "--denoiser", "./\x1b[31mno", "--budget", 1, "What?")


def shell(line: str, *words: object) -> subprocess.CompletedProcess[str]:
    """`unmask WORDS` with what a shell makes of `line` behind it, which may close streams."""
    command = f'exec "$@" {line}'
    return subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "unmask", *map(str, words)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.slow
def test_what_is_asked_for_is_not_lost_on_a_closed_stdout(denoiser: Path) -> None:
    for words in (["list", "samplers"], ["sample", "--denoiser", denoiser, "--budget", 1, "--json", "What?"]):
        ran = shell(">&-", *words)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == "error: stdout is closed, and this command answers there; send it to a file instead\n"


@pytest.mark.slow
def test_words_for_people_do_not_end_up_in_the_answers_where_stderr_is_closed(denoiser: Path) -> None:
    words = ["sample", "--denoiser", denoiser, "--budget", 1, "--json", "What is 1 plus 2?"]
    assert shell("2>&-", *words).stdout == shell("", *words).stdout
    assert shell("2>&-", "list", "smaplers").stdout == ""


@pytest.mark.slow
def test_a_closed_stdin_is_one_sentence(denoiser: Path) -> None:
    ran = shell("<&-", "sample", "--denoiser", denoiser, "--budget", 1, "-")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: stdin is closed, and `-` reads prompts from there")


@pytest.mark.slow
def test_no_file_gets_the_number_of_a_closed_stream(run, sums: Path, denoiser: Path, tmp_path: Path) -> None:
    """The records file would be the next one that is opened, and what is printed would go into it."""
    words = ["bench", "--denoiser", denoiser, "--task", "jsonl", "--data", sums, "--samplers", "iid", "--budgets", 2]
    words += ["--count", 3, "--json"]
    for name, line in (("open", ""), ("closed", "<&- 2>&-")):
        assert shell(line, *words, "--out", tmp_path / name).returncode == 0
    one, other = (
        [{**json.loads(text), "seconds": 0, "asked": 0} for text in (tmp_path / name / "records.jsonl").open()]
        for name in ("open", "closed")
    )
    assert one == other


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_full_stdout_is_one_sentence() -> None:
    ran = shell(">/dev/full", "list", "samplers")
    assert (ran.returncode, ran.stderr) == (2, "error: No space left on device\n")
