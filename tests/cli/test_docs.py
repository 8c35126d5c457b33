"""Every `unmask` command that README and docs show is one that parses."""

import re
import shlex
from pathlib import Path

import pytest

from unmask.cli.common import parse
from unmask.cli.main import VERBS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def commands(page: Path) -> list[str]:
    """The command lines of a page that begin with `unmask VERB`, in code blocks, without prompts and redirections."""
    blocks = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [re.split(r" +(?:[<>|]|2>|#)", line)[0] for line in lines if re.match(r"unmask [a-z]+ ", line)]


SHOWN = [(page.name, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=[f"{page}: {command}" for page, command in SHOWN])
def test_a_command_the_docs_show_parses(page: str, command: str) -> None:
    _, verb, *words = shlex.split(command)
    assert verb in VERBS, f"{page} shows a verb that is not there"
    if not any(word.startswith("..") or word in ("[OPTIONS]", "DIR") for word in words):
        parse(VERBS[verb], verb, words)
