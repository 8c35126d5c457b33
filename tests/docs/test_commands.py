"""Every documented command gets to the end of its argument checks, with its real preset: none can exit with code 2.

Each is parsed and its verb's `check()` called, which is what `run()` does first. Nothing is loaded, learned or written.
"""

import itertools
import re
from pathlib import Path

import pytest
import torch

from unmask.cli.common import parse
from unmask.cli.main import VERBS
from unmask.core.errors import UserError

from .test_guides import PAGES, ROOT, Command, blocks, commands, shell_words

MAKES_A_RUN = ("fit", "learn", "bench", "demo", "exact")


def in_help() -> list[Command]:
    """The examples of `--help`."""
    return [
        Command(f"unmask {verb} --help", shell_words(line)[1:], whole=True)
        for verb, kind in VERBS.items()
        for line in re.findall(r"example: (unmask .*)", kind.__doc__ or "")
    ]


WHOLE = [
    each
    for each in [*(command for page in PAGES for command in commands(page)), *in_help()]
    if each.whole and each.words[0] in VERBS and "--help" not in each.words and "[OPTIONS]" not in each.words
]


def check(command: Command) -> None:
    """What `unmask VERB ...` would refuse before it loads anything."""
    verb, *words = command.words
    parsed = parse(VERBS[verb], verb, words)
    if hasattr(parsed, "check"):
        parsed.check()


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder, on a machine that has every device; threads stay as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unmask.core.devices.check_device", lambda name: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


@pytest.mark.parametrize("command", WHOLE, ids=[f"{each.page}: {' '.join(each.words)[:70]}" for each in WHOLE])
def test_a_documented_command_gets_through_its_checks(command: Command, anywhere: None) -> None:
    check(command)


def test_there_are_documented_commands_of_every_verb() -> None:
    assert {each.words[0] for each in WHOLE} == set(VERBS)
    assert len(WHOLE) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_uses_an_out_for_two_runs(page: Path) -> None:
    """The second would be refused: the folder is that of another run."""
    runs = [each.words for each in WHOLE if each.page == str(page.relative_to(ROOT)) and each.words[0] in MAKES_A_RUN]
    for one, other in itertools.combinations(runs, 2):
        outs = [words[words.index("--out") + 1] for words in (one, other) if "--out" in words]
        assert one == other or len(outs) < 2 or outs[0] != outs[1], (one, other)


def test_a_command_that_would_exit_with_2_is_seen(anywhere: None) -> None:
    """Two of the three that the guide to big denoisers once showed."""
    for more in ("--features runs/features --feature-batches 20", "--denoiser-update lora --lora-rank 8"):
        words = f"learn --denoiser wordprob --task wordprob {more} --budgets 4 8 --out runs/x".split()
        with pytest.raises(UserError):
            check(Command("planted", words, whole=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_installed_is_there_to_be_installed(page: Path) -> None:
    """`unmask` is on no index: it is installed from the clone."""
    shown = [block.text for block in blocks(page)] + re.findall(r"`([^`]*)`", page.read_text(encoding="utf-8"))
    for line in [line for text in shown for line in text.splitlines() if "pip install" in line]:
        assert not re.search(r"pip install[^#]*['\"\s]unmask", line), line


def test_no_error_sends_people_to_an_index_that_has_no_unmask() -> None:
    for file in (ROOT / "src").rglob("*.py"):
        assert not re.search(r"pip install ['\"]?unmask", file.read_text(encoding="utf-8")), file
