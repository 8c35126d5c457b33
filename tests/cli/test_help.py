"""Every verb explains itself."""

import ast
import inspect
import shlex
from itertools import pairwise

import pytest

from unmask.cli.common import Machine, flags, parse
from unmask.cli.main import VERBS

COMMANDS = sorted(VERBS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_goes_to_stdout_with_every_flag_and_an_example(run, verb: str) -> None:
    code, out, err = run(verb, "--help")
    assert (code, err) == (0, "")
    assert f"example: unmask {verb}" in out
    positional = {"--prompts", "--kind", "--first", "--second", "--file", "--name", "--folder", "--repository"}
    assert [flag for flag in flags(VERBS[verb]) if flag not in out and flag not in positional] == []


def test_help_and_a_verb_is_the_help_of_the_verb(run) -> None:
    assert run("help", "list") == run("list", "--help")


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_example_is_a_command_that_parses(verb: str) -> None:
    examples = [line.strip() for line in (VERBS[verb].__doc__ or "").splitlines() if "example:" in line]
    assert examples
    for example in examples:
        words = shlex.split(example.removeprefix("example: ").partition(" < ")[0])
        assert words[:2] == ["unmask", verb]
        parse(VERBS[verb], verb, words[2:])


@pytest.mark.parametrize("kind", [*VERBS.values(), Machine], ids=lambda kind: kind.__name__)
def test_every_flag_has_help(kind: type) -> None:
    tree = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(tree, ast.ClassDef)
    bare = [
        node.target.id
        for node, following in pairwise([*tree.body, ast.Pass()])
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id != "machine"
        and not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant))
    ]
    assert bare == []


def test_the_program_lists_its_verbs(run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert all(f"  {verb} " in out for verb in VERBS)


def test_the_version_is_printed(run) -> None:
    import unmask

    assert run("--version").out == f"unmask {unmask.__version__}\n"
