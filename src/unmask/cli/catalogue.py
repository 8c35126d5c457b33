"""What the registries hold, read from their source: names, first lines and options, without importing torch.

`unmask list`, `--help` and a wrong name answer at once that way. A test holds every entry to the registry itself.
"""

import ast
import runpy
from dataclasses import Field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.registry import Option, check_sampler_name, check_sampler_options, parse_spec

PACKAGE = Path(__file__).parents[1]


class Sampler(NamedTuple):
    """about: its first line. options: with their defaults. ranges: what each option may be, in words."""

    about: str
    options: dict[str, Option]
    ranges: dict[str, str]


@cache
def samplers() -> dict[str, Sampler]:
    """Every sampler."""
    return {name: _sampler(*home) for name, home in _homes("samplers", "SAMPLERS").items()}


@cache
def common_options() -> dict[str, str]:
    """What every sampler takes besides."""
    return dict(ast.literal_eval(_value("samplers", "COMMON_OPTIONS")))


@cache
def denoisers() -> dict[str, str]:
    """Every bundled denoiser, and whether it is installed; every family whose checkpoints are read."""
    bundled = [_text(key) for key in _dict(_value("denoisers/hub.py", "BUNDLED")).keys]
    found = {
        name: "bundled"
        if (PACKAGE / "assets" / name / "config.json").is_file()
        else "not part of this installation"
        for name in bundled
    }
    for name, (file, constant) in _homes("denoisers/families", "FAMILIES").items():
        call = _value(file, constant)
        assert isinstance(call, ast.Call)
        found[name] = f"checkpoints of {next(_text(word.value) for word in call.keywords if word.arg == 'about')}"
    return found


@cache
def presets(verb: str) -> dict[str, str]:
    """Every preset of `fit` or of `learn` with its first line."""
    written = _dict(_value("train/presets.py", f"{verb.upper()}_PRESETS"))
    makers = {node.name: node for node in _tree("train/presets.py").body if isinstance(node, ast.FunctionDef)}
    return {
        _text(key): _first_line(makers[value.id])
        for key, value in zip(written.keys, written.values, strict=True)
        if isinstance(value, ast.Name)
    }


@cache
def exact_families() -> list[str]:
    """Every family of `unmask exact`, in its order."""
    return [_text(key) for key in _dict(_value("exact/suite.py", "FAMILIES")).keys]


def exact_instances() -> int:
    """How many instances of each family there are."""
    return int(ast.literal_eval(_value("exact/suite.py", "INSTANCES")))


def tasks() -> dict[str, str]:
    """Every task with the first line of its file."""
    import sys

    from unmask.tasks import TASKS

    return {name: _first_line_of(sys.modules[load.__module__].__doc__) for name, load in TASKS.items()}


def check_sampler(text: str) -> None:
    """Raise UserError unless `NAME:key=value,...` names a sampler and options it has; values are not looked at."""
    name, options = parse_spec(text)
    if name == "learned":
        return  # `make_sampler` says how an order is given
    check_sampler_name(name, samplers())
    check_sampler_options(name, options, samplers()[name].options, common_options())


def check_samplers(*texts: str) -> None:
    """Raise UserError on what is wrong with any `NAME:key=value,...`: first the names, which needs no torch."""
    for text in texts:
        check_sampler(text)
    from unmask.samplers import make_sampler

    for text in texts:
        make_sampler(text, end_token=0)  # what denoiser it is for does not matter to what it may be given


# ---- reading


@cache
def _tree(path: str) -> ast.Module:
    """A file of the package, or the `__init__.py` of a folder of it."""
    file = PACKAGE / path
    return ast.parse((file / "__init__.py" if file.is_dir() else file).read_text(encoding="utf-8"))


def _value(path: str, name: str) -> ast.expr:
    """What a name of a file is set to."""
    for node in _tree(path).body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if node.value is not None and any(isinstance(each, ast.Name) and each.id == name for each in targets):
            return node.value
    raise AssertionError(f"{path} sets no {name}")


def _homes(path: str, name: str) -> dict[str, tuple[str, str]]:
    """For each key of a registry: the file its value is imported from, and what it is called there."""
    files = {
        alias.asname or alias.name: (f"{node.module.removeprefix('unmask.').replace('.', '/')}.py", alias.name)
        for node in _tree(path).body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }
    written = _dict(_value(path, name))
    return {
        _text(key): files[value.id]
        for key, value in zip(written.keys, written.values, strict=True)
        if isinstance(value, ast.Name)
    }


def _sampler(path: str, name: str) -> Sampler:
    """A class of options: each a field with a default, made by the functions of `samplers/options.py`."""
    known = _option_makers()
    node = next(each for each in _tree(path).body if isinstance(each, ast.ClassDef) and each.name == name)
    options: dict[str, Option] = {}
    ranges: dict[str, str] = {}
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None:
            if "ClassVar" in ast.unparse(field.annotation):
                continue
            made: Any = eval(compile(ast.Expression(field.value), path, "eval"), dict(known))
            default: Any = made.default if isinstance(made, Field) else made
            options[field.target.id] = default
            if isinstance(made, Field) and "valid" in made.metadata:
                ranges[field.target.id] = made.metadata["valid"].words
    return Sampler(_first_line(node), options, ranges)


@cache
def _option_makers() -> dict[str, Any]:
    """`number`, `whole`, `flag` and the rest: that file needs no torch, though the room it stands in does."""
    return runpy.run_path(str(PACKAGE / "samplers" / "options.py"))


def _dict(node: ast.expr) -> ast.Dict:
    assert isinstance(node, ast.Dict)
    return node


def _text(node: ast.expr | None) -> str:
    assert isinstance(node, ast.Constant)
    return str(node.value)


def _first_line(node: ast.ClassDef | ast.FunctionDef) -> str:
    return _first_line_of(ast.get_docstring(node))


def _first_line_of(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].removesuffix(".")
