"""A task of two dozen sums, a denoiser of random weights that can read it, and commands run in this process."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from unmask.cli import main
from unmask.denoisers.folder import save_denoiser
from unmask.orders.folder import LearnedOrder, save_order
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers.learned import DecodeRule
from unmask.tasks import make_task
from unmask.train.fit import start
from unmask.train.presets import fit_preset


class Ran(NamedTuple):
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def one_thread():
    """One thread, and the number before it back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys):
    """`run("list", "samplers")`: the command in this process."""

    def command(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return command


@pytest.fixture
def refused(run):
    """The same for what has to be refused; returns the one line on stderr."""

    def command(*words: object) -> str:
        code, out, err = run(*words)
        assert (code, out) == (2, ""), f"exit code {code}, stdout {out!r}, stderr {err!r}"
        lines = err.splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        return lines[0]

    return command


@pytest.fixture(scope="session")
def sums(tmp_path_factory) -> Path:
    """A folder for the task `jsonl`."""
    folder = tmp_path_factory.mktemp("sums")
    for split, first in (("train", 1), ("validation", 4), ("test", 6)):
        rows = [
            {"prompt": f"What is {a} plus {b}?", "response": f"<<{a}+{b}={a + b}>> #### {a + b}"}
            for a in range(first, first + 3)
            for b in range(1, 9)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def denoiser(sums: Path, tmp_path_factory) -> Path:
    """Its folder. Not to be changed."""
    folder = tmp_path_factory.mktemp("denoiser") / "untrained"
    save_denoiser(start(fit_preset("tiny"), make_task("jsonl", sums)), folder)
    return folder


@pytest.fixture(scope="session")
def order(denoiser: Path, tmp_path_factory) -> Path:
    """The folder of an order that was never trained. Not to be changed."""
    folder = tmp_path_factory.mktemp("order") / "untrained"
    policy = PolicyNetwork(PolicyConfig(32, 16, 1)).initialise(torch.Generator().manual_seed(0))
    save_order(LearnedOrder(policy, {4: DecodeRule("threshold", 0.4)}), folder)
    return folder
