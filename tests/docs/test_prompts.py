"""Every prompt that documentation, docstrings, help and errors show gets the right answer, whoever picks the order."""

import re
import shlex
from pathlib import Path

import pytest

import unmask
from unmask.cli import main
from unmask.cli.main import usage
from unmask.core.example import ANSWER, PROMPT
from unmask.samplers import SAMPLERS
from unmask.tasks import make_task

from .test_commands import WHOLE
from .test_guides import PAGES, README, ROOT, Command, blocks, shell_words

RANDOM = ("iid", "random", "remdm")  # draw where to write, so they owe nobody an answer
QUESTION = re.compile(r"[A-Z][^\"'`\n]*\d[^\"'`\n]*How[^\"'`\n]*\?")
SOURCES = [file for file in sorted((ROOT / "src").rglob("*.py")) if "tasks" not in file.parts]


def questions(file: Path) -> set[str]:
    """What a file asks in quotes or code: sentences with a number that end in a question mark."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        text = "\n".join([block.text for block in blocks(file)])
    return {found[0] for found in QUESTION.finditer(text)}


@pytest.mark.parametrize("file", [*PAGES, *SOURCES], ids=lambda file: str(file.relative_to(ROOT)))
def test_one_prompt_is_shown_everywhere(file: Path) -> None:
    own = file.name == "your-own-data.md"  # what the reader's own denoiser is asked is their business
    assert {each for each in questions(file) if PROMPT not in each and not own} == set()


def test_prompts_are_found() -> None:
    shown = [file for file in [*PAGES, *SOURCES] if any(PROMPT in each for each in questions(file))]
    names = {file.name for file in shown}
    assert {"README.md", "other-tools.md", "add-a-sampler.md", "sample.py", "generate.py", "__init__.py"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("budget", [4, 6, 8, 48])
def test_the_prompt_is_answered_right_by_every_sampler(budget: int) -> None:
    denoiser, task = unmask.load_denoiser("wordprob"), make_task("wordprob")
    for sampler in [*(name for name in SAMPLERS if name not in RANDOM), "top-prob:eot=defer", "margin:block=16"]:
        text = unmask.decode(denoiser, [PROMPT], sampler=sampler, budget=budget)[0].text or ""
        assert task.extract(text) == ANSWER, (sampler, text)
        equations = re.findall(r"<<([-+*/\d]+)=(\d+)>>", text)
        assert equations
        assert all(eval(one) == int(other) for one, other in equations), (sampler, text)


SAMPLED = [
    each
    for each in [*WHOLE, Command("unmask --help", shell_words(usage().rpartition("example: ")[2])[1:], whole=True)]
    if each.words[0] == "sample" and "wordprob" in each.words and "--order" not in each.words and "-" not in each.words
]


@pytest.mark.slow
@pytest.mark.parametrize("command", SAMPLED, ids=[f"{each.page}: {' '.join(each.words)[:60]}" for each in SAMPLED])
def test_a_documented_command_prints_the_right_answer(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.words) == 0
    assert make_task("wordprob").extract(capsys.readouterr().out.strip()) == ANSWER


def test_commands_are_found_on_every_page_that_has_one() -> None:
    assert len(SAMPLED) >= 7
    assert {each.page for each in SAMPLED} >= {"README.md", "unmask --help", "unmask sample --help"}


@pytest.mark.slow
def test_what_docstrings_and_the_readme_compute_is_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package's own, run; decode's, with the output that stands below it; the first block of the README."""
    doc = unmask.__doc__ or ""
    for code in (doc.partition("\n\n")[2].replace("\n    ", "\n").strip(), *(
        block.text for block in blocks(README) if block.language == "python"
    )):  # fmt: skip
        exec(compile(code, "docstring", "exec"), {})
        lines = capsys.readouterr().out.splitlines()
        assert lines
        assert all(re.search(rf"#### {ANSWER}\b", line) for line in lines)
    from unmask.samplers import generate

    call, said = re.search(r"^(decode\(.*)\n'(.*)'$", generate.__doc__ or "", re.MULTILINE).groups()  # type: ignore[union-attr]
    assert eval(call, {"decode": unmask.decode, "denoiser": unmask.load_denoiser("wordprob")}) == said


def test_quoting_survives_a_shell() -> None:
    assert shlex.split(f'unmask sample "{PROMPT}"')[2] == PROMPT
