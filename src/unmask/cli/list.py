"""`unmask list`: what there is, by name."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated

import tyro

from unmask.cli.common import first_line, print_columns
from unmask.core.registry import check_name
from unmask.denoisers.families import FAMILIES
from unmask.denoisers.hub import BUNDLED
from unmask.samplers import COMMON_OPTIONS, SAMPLERS, sampler_options
from unmask.samplers.options import option_ranges
from unmask.tasks import TASKS
from unmask.train.presets import FIT_PRESETS, LEARN_PRESETS


def samplers() -> dict[str, str]:
    """Every sampler with its options, their defaults, and what else they may be."""
    found = {}
    for name, kind in SAMPLERS.items():
        options = ",".join(f"{key}={value}" for key, value in sampler_options(name).items())
        valid = "; ".join(f"{key}: {words}" for key, words in option_ranges(kind).items())
        about = f"{first_line(kind)} ({valid})" if valid else first_line(kind)
        found[f"{name}:{options}" if options else name] = about
    return found


def tasks() -> dict[str, str]:
    """Every task with the first line of its file."""
    import sys

    return {name: first_line(sys.modules[load.__module__]) for name, load in TASKS.items()}


def denoisers() -> dict[str, str]:
    """Every bundled denoiser, and whether it is installed; every family whose checkpoints are read."""
    bundled = {
        name: "bundled" if (folder / "config.json").is_file() else "not part of this installation"
        for name, folder in BUNDLED.items()
    }
    return bundled | {name: f"checkpoints of {family.about}" for name, family in FAMILIES.items()}


def presets() -> dict[str, str]:
    """Every preset."""
    both = {**FIT_PRESETS, **{name: preset for name, preset in LEARN_PRESETS.items() if name not in FIT_PRESETS}}
    return {name: f"{first_line(preset)} ({uses(name)})" for name, preset in both.items()}


def uses(name: str) -> str:
    """Which verbs have a preset of that name."""
    verbs: dict[str, Collection[str]] = {"fit": FIT_PRESETS, "learn": LEARN_PRESETS}
    return ", ".join(verb for verb, presets in verbs.items() if name in presets)


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "samplers": samplers,
    "tasks": tasks,
    "denoisers": denoisers,
    "presets": presets,
}


@dataclass(frozen=True, kw_only=True)
class List:
    """Say which samplers, tasks, denoisers or presets there are.

    example: unmask list samplers
    """

    kind: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="KIND")]
    """samplers, tasks, denoisers or presets."""
    json: bool = False
    """Print one JSON object of names and descriptions."""

    def run(self) -> None:
        """Print them."""
        found = KINDS[check_name(self.kind, KINDS, "kind of thing to list")]()
        if self.json:
            print(json.dumps(found, ensure_ascii=False))
            return
        print_columns(list(found.items()))
        if self.kind == "samplers":
            print("\nevery sampler also takes, as in `margin:block=16,eot=defer`:")
            print_columns([(f"  {name}", about) for name, about in COMMON_OPTIONS.items()])
        if self.kind == "denoisers":
            print("\na folder written by `unmask fit`, a checkpoint of a family, or owner/name on the hub does as well")
