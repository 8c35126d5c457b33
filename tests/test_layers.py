"""Arrows point down: cli -> {train, evaluate, view, serve, exact} -> the rooms of layer 1 -> core.

Only the text of the files is looked at, so imports inside functions count too.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "unmask"

LAYERS = {
    "core": 0,
    **dict.fromkeys(("denoisers", "reveals", "orders", "objectives", "samplers", "tasks"), 1),
    **dict.fromkeys(("train", "evaluate", "view", "serve", "exact"), 2),
    "cli": 3,
}
ONLY_IN_CLI = {"tyro"}
NEVER_AT_TOP = {"transformers", "datasets", "matplotlib", "accelerate", "peft"}


class Import(NamedTuple):
    """One imported name as it stands in a file; `at_top`: not inside a function."""

    file: Path
    line: int
    name: str
    at_top: bool


def imports(file: Path) -> Iterator[Import]:
    """Every import of a file. `from a import b` counts as `a.b`, which may be a module or a name in one."""

    def visit(node: ast.AST, at_top: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import; write the whole name"
            yield from (Import(file, node.lineno, f"{node.module}.{alias.name}", at_top) for alias in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_top and not inside)

    yield from visit(ast.parse(file.read_text(encoding="utf-8")), True)


def room_of(name: str) -> str | None:
    """`core` for `unmask.core.canvas`; None for the package itself and for everything else."""
    first, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    return room if first == "unmask" and room in LAYERS else None


def name_of(file: Path, source: Path) -> str:
    """The module's dotted name."""
    parts = file.relative_to(source.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def problems(source: Path) -> list[str]:
    """What breaks the rules under `source`, each with file and line."""
    found = []
    for file in sorted(source.rglob("*.py")):
        here = name_of(file, source)
        room = room_of(here)
        for item in imports(file):
            target, package = room_of(item.name), item.name.partition(".")[0]
            where = f"{file.relative_to(source.parent)}:{item.line}: "
            from_package = package == "unmask" and target is None and item.name != "unmask.__version__"
            if room is not None and from_package:
                found.append(f"{where}a room imports the package itself ({item.name}); name the module")
            if room is not None and target is not None and LAYERS[target] > LAYERS[room]:
                found.append(f"{where}{room} (layer {LAYERS[room]}) imports {item.name} (layer {LAYERS[target]})")
            if package in ONLY_IN_CLI and room != "cli":
                found.append(f"{where}{package} is for cli/ alone")
            if package in NEVER_AT_TOP and item.at_top:
                found.append(f"{where}{package} is heavy; import it inside the function that needs it")
    return found


def graph(source: Path) -> dict[str, set[str]]:
    """Module -> the modules it imports at its top level."""
    modules = {name_of(file, source): file for file in source.rglob("*.py")}
    edges: dict[str, set[str]] = {}
    for name, file in modules.items():
        edges[name] = set()
        for item in imports(file):
            target = item.name if item.name in modules else item.name.rpartition(".")[0]
            if item.at_top and target in modules and target != name:
                edges[name].add(target)
    return edges


def cycle(source: Path) -> str | None:
    """The first import cycle as `a -> b -> a`, or None."""
    try:
        TopologicalSorter(graph(source)).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return None


def test_arrows_point_down() -> None:
    assert not (found := problems(SOURCE)), "\n" + "\n".join(found)


def test_no_import_cycles() -> None:
    assert not (found := cycle(SOURCE)), found


def test_every_folder_of_the_package_is_a_known_room() -> None:
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert folders <= set(LAYERS)


@pytest.fixture
def plant(tmp_path: Path):
    """`plant("core/a.py", "import x")` writes a file into an otherwise empty package and returns its root."""

    def write(path: str, text: str) -> Path:
        source = tmp_path / "unmask"
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
        return source

    return write


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("core/a.py", "import torch\nfrom unmask.samplers import decode", "a.py:2: core (layer 0) imports"),
        ("samplers/a.py", "def f():\n    import unmask.train.fit", "a.py:2: samplers (layer 1) imports"),
        ("train/a.py", "from unmask.cli.main import main", "a.py:1: train (layer 2) imports"),
        ("tasks/a.py", "import tyro", "a.py:1: tyro is for cli/ alone"),
        ("view/a.py", "import matplotlib.pyplot as plt", "a.py:1: matplotlib is heavy"),
        ("tasks/a.py", "try:\n    from datasets import load_dataset\nexcept ImportError: pass", "a.py:2: datasets"),
        ("evaluate/a.py", "from unmask import decode", "a.py:1: a room imports the package itself"),
    ],
)
def test_the_checker_sees_a_planted_import(plant, file: str, text: str, said: str) -> None:
    assert any(said in problem for problem in problems(plant(file, text)))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("cli/a.py", "import tyro\nfrom unmask.train.fit import fit"),
        ("view/a.py", "def draw():\n    import matplotlib.pyplot"),
        ("evaluate/a.py", "from unmask.samplers.generate import decode\nfrom unmask.train import fit"),
        ("train/a.py", "from unmask import __version__"),
    ],
)
def test_the_checker_allows_what_points_down(plant, file: str, text: str) -> None:
    assert problems(plant(file, text)) == []


def test_the_checker_sees_a_planted_cycle(plant) -> None:
    plant("core/a.py", "from unmask.core.b import x")
    assert cycle(plant("core/b.py", "from unmask.core import c")) is None
    plant("core/c.py", "import unmask.core.a")
    found = cycle(plant("core/__init__.py", "")) or ""
    assert set(found.split(" -> ")) == {"unmask.core.a", "unmask.core.b", "unmask.core.c"}
