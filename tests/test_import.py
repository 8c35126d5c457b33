"""`import unmask` is quick and brings nothing heavy along."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import unmask

SCRIPT = """
import sys, time, json
import torch
began = time.process_time()  # others may be using the machine
import unmask
for name in unmask.__all__:  # a name is imported when it is asked for
    getattr(unmask, name)
taken = time.process_time() - began
print(json.dumps({"seconds": taken, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def fresh() -> dict:
    """What a fresh interpreter says after `import torch, unmask`."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def imported() -> dict:
    return fresh()


@pytest.mark.slow
@pytest.mark.parametrize("heavy", ["transformers", "matplotlib", "datasets", "tyro", "huggingface_hub"])
def test_importing_unmask_leaves_out(imported: dict, heavy: str) -> None:
    assert heavy not in imported["modules"]


def test_importing_unmask_adds_less_than_a_second_to_torch(imported: dict) -> None:
    assert imported["seconds"] < 1


def test_every_public_name_is_there() -> None:
    missing = [name for name in unmask.__all__ if not hasattr(unmask, name)]
    assert not missing


def test_a_name_is_where_its_type_is_taken_from() -> None:
    """What mypy sees and what is imported at run time are the same names of the same files."""
    tree = ast.parse(Path(unmask.__file__).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == unmask._HOMES
    assert {*seen, "__version__"} == set(unmask.__all__)


@pytest.mark.slow
def test_a_room_is_an_attribute_and_an_unknown_name_is_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import unmask; print(unmask.samplers.__name__, hasattr(unmask, 'nothing'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "unmask.samplers False\n"


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("unmask")
    except PackageNotFoundError:
        pytest.skip("unmask is not installed, only on the path")
    assert installed == unmask.__version__
