"""Write docs/api.md, the page of the public names, from their docstrings; or pages of every module.

    python scripts/api.py            rewrites docs/api.md
    python scripts/api.py --check    exits 1 if it does not say what the docstrings say
    python scripts/api.py --site     makes site/ with pdoc, which `make docs` calls
"""

import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import unmask

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
HEAD = """# The public names

What `import unmask` gives, from the docstrings; written by `python scripts/api.py`. `make docs` builds pages of every
module (`site/index.html`). Names that are not here may change without notice; a change of these is in the
[changelog](../CHANGELOG.md).
"""
WIDTH = 100  # a longer signature is written a parameter per line


def public() -> Iterator[tuple[str, Any]]:
    """Names and what they stand for, constants aside."""
    for name in sorted(unmask.__all__, key=str.casefold):
        if not name.startswith("__"):
            yield name, getattr(unmask, name)


def signature(name: str, value: Any) -> str:
    """`name(parameters) -> result`, without the rooms in front of our types."""
    try:
        found = str(inspect.signature(value))
    except (TypeError, ValueError):
        return name
    found = re.sub(r"\b(?:unmask|torch|collections\.abc|typing|pathlib|fractions)\.(?:\w+\.)*", "", found)
    found = re.sub(r"<factory>", "...", found)
    if len(name + found) > WIDTH and found.startswith("("):
        inside, _, rest = found[1:].rpartition(")")
        found = "(\n    " + ",\n    ".join(split(inside)) + ",\n)" + rest
    return name + found


def split(parameters: str) -> list[str]:
    """Parameters, at the commas that are in no bracket."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(parameters):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            parts.append(parameters[start:place].strip())
            start = place + 1
    return [*parts, parameters[start:].strip()]


def members(value: Any) -> Iterator[tuple[str, str]]:
    """Public methods and properties with the first sentence of each docstring, in the order they are written in."""
    if not inspect.isclass(value) or issubclass(value, Enum | BaseException):
        return
    for name, found in vars(value).items():
        wrapped = (getattr(found, inner, None) for inner in ("fget", "func", "__func__"))
        member = next((inner for inner in wrapped if inner is not None), found)
        if (name.startswith("_") and name != "__call__") or not inspect.isfunction(member) or not member.__doc__:
            continue
        yield name, " ".join(inspect.cleandoc(member.__doc__).split("\n\n")[0].split())


def entry(name: str, value: Any) -> str:
    """One name: signature, docstring, members."""
    where = getattr(value, "__module__", "")
    lines = [f"## `{name}`", "", "```python", signature(name, value), "```", ""]
    lines += ["```text", inspect.getdoc(value) or "", "```", ""]
    lines += [f"- `.{member}`: {told}" for member, told in members(value)]
    return "\n".join([*lines, "", f"`{where}`" if where else ""]).rstrip() + "\n"


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(entry(name, value) for name, value in public())])


def modules() -> list[str]:
    """Every module; the package's `__all__` would hide all but its own names from pdoc.

    Those that stand on another program's side of the fence are left out where that program is not installed.
    """
    found = [module.name for module in pkgutil.walk_packages(unmask.__path__, "unmask.")]
    return ["unmask", *(name for name in found if can_be_imported(name))]


def can_be_imported(name: str) -> bool:
    """False if a module of somebody else is missing, or if importing it runs it; what is wrong with ours is raised."""
    if name.endswith("__main__"):
        return False
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "unmask").partition(".")[0] == "unmask":
            raise
        return False
    return True


def build(folder: Path, names: Iterable[str]) -> None:
    """Pages of these modules; the others of their packages, which pdoc would bring along, are left out."""
    from pdoc import pdoc

    every = [module.name for module in pkgutil.walk_packages(unmask.__path__, "unmask.")]
    names = [*names, *(f"!{re.escape(name)}$" for name in every if not can_be_imported(name))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a package brings its modules along, and they are named as well
        pdoc(*names, output_directory=folder)


def main() -> int:
    """Rewrite, check or build."""
    if "--site" in sys.argv:
        build(PAGE.parents[1] / "site", modules())
        return 0
    made = page()
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") == made:
            return 0
        print("docs/api.md is not what the docstrings say; run python scripts/api.py", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
