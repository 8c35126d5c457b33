"""What the documentation says to type works: its Python runs, its commands parse."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from unmask.cli.common import check_flags, parse
from unmask.cli.main import VERBS
from unmask.core.errors import UserError

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [*([README] if README.is_file() else []), *sorted((ROOT / "docs").rglob("*.md"))]
WITH_PYTHON = [page for page in PAGES if page == README or page.parent.name == "guides"]
WEIGHTS = ROOT / "src" / "unmask" / "assets" / "wordprob" / "model.safetensors"

NEEDS = {"other-tools": ("transformers", "diffusers", "lm_eval")}  # guide -> packages its blocks import

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(unmask [a-z][^`]*)`")
OPERATORS = ("|", ">", ">>", "<", "&&", "||", ";", "&")  # where the command ends and the shell goes on
INFORMATION = ("--help", "-h", "--version")


class Command(NamedTuple):
    """words: after `unmask`. whole: it stands in a block, to be typed as it is; else it may be a part."""

    page: str
    words: list[str]
    whole: bool


class Block(NamedTuple):
    """A fenced block: its language and its text, indentation of the fence removed."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in found]


def shell_words(line: str) -> list[str]:
    """The words of the first command of a line, what the shell itself reads left out."""
    line = re.sub(r"\s[12]>&?\s*\S+", " ", line)  # redirections of a numbered stream
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = list(lexer)
    end = next((place for place, word in enumerate(words) if word in OPERATORS), len(words))
    return words[:end]


def commands(page: Path) -> list[Command]:
    """Every `unmask ...` of a page."""
    name, text = str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    indented = "\n".join(re.findall(r"^ {4,}.*$", prose, re.MULTILINE))
    typed = [block.text for block in blocks(page) if block.language in ("", "sh", "bash", "console", "shell")]
    found = []
    for block in [*typed, indented]:
        for typed_line in block.replace("\\\n", " ").splitlines():
            line = typed_line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if line.startswith("unmask "):
                found.append(Command(name, shell_words(line)[1:], whole=True))
    for line in INLINE.findall(prose):
        found.append(Command(name, line.replace("...", " ").replace("\n", " ").split()[1:], whole=False))
    return found


def check(command: Command) -> None:
    """Raise UserError if the command is not one of ours; nothing is run."""
    verb, *words = command.words
    if verb in INFORMATION or verb == "VERB":
        return
    if verb not in VERBS:
        raise UserError(f"no verb `{verb}`")
    if command.whole and not set(words) & set(INFORMATION):
        parse(VERBS[verb], verb, words)
    else:
        check_flags(VERBS[verb], verb, words)


COMMANDS = [command for page in PAGES for command in commands(page)]


@pytest.mark.parametrize("command", COMMANDS, ids=[f"{each.page}: {' '.join(each.words)[:60]}" for each in COMMANDS])
def test_every_command_in_the_documentation_parses(command: Command) -> None:
    check(command)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_every_python_block_of_the_guides_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page share their names, as if typed one after the other."""
    if page == README and not WEIGHTS.is_file():
        pytest.skip("the README uses the bundled denoiser, which is not part of this checkout")
    for package in NEEDS.get(page.stem, ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    for number, block in enumerate(blocks(page), start=1):
        if block.language == "python":
            exec(compile(block.text, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.slow
def test_what_the_guide_says_is_printed_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs" / "guides" / "your-own-denoiser.md"
    test_every_python_block_of_the_guides_runs(page, tmp_path, monkeypatch)
    said = re.search(r"It prints `([^`]*)`", page.read_text(encoding="utf-8"))
    assert said is not None
    assert capsys.readouterr().out.splitlines()[0] == said.group(1)


PLANTED = """
Say `unmask bench --sampler margin`, or

```sh
unmask sample --denoiser wordprob --budget 4 "Ana has 3 pens." | head  # fine
unmask sample --denoiser wordprob --budget four "Ana has 3 pens."
unmask train --task wordprob
```

    unmask fit --task wordprob \\
        --outt runs/x
"""


def test_a_planted_mistake_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that is not there, a value of the wrong kind, a verb that is not there; the right one passes."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(PLANTED)
    wrong = []
    for command in commands(page):
        try:
            check(command)
        except UserError as error:
            wrong.append(str(error))
    assert len(commands(page)) == 5
    assert [next(word for word in ("--sampler", "four", "train", "--outt") if word in said) for said in wrong] == [
        "four",
        "train",
        "--outt",
        "--sampler",
    ]
