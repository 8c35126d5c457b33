"""`unmask list`: what there is, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import tyro

from unmask.cli import catalogue
from unmask.cli.common import print_columns, tell, tell_json
from unmask.core.registry import check_name


def samplers() -> dict[str, str]:
    """Every sampler with its options, their defaults, and what else they may be."""
    found = {}
    for name, sampler in catalogue.samplers().items():
        options = ",".join(f"{key}={value}" for key, value in sampler.options.items())
        valid = "; ".join(f"{key}: {words}" for key, words in sampler.ranges.items())
        found[f"{name}:{options}" if options else name] = f"{sampler.about} ({valid})" if valid else sampler.about
    return found


def presets() -> dict[str, str]:
    """Every preset, and which verbs have it."""
    both = {verb: catalogue.presets(verb) for verb in ("fit", "learn")}
    found = {name: about for known in reversed(both.values()) for name, about in known.items()}
    order = dict.fromkeys(name for known in both.values() for name in known)
    return {name: f"{found[name]} ({', '.join(verb for verb in both if name in both[verb])})" for name in order}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "samplers": samplers,
    "tasks": catalogue.tasks,
    "denoisers": catalogue.denoisers,
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
            tell_json(found)
            return
        print_columns(list(found.items()))
        if self.kind == "samplers":
            tell("\nevery sampler also takes, as in `margin:block=16,eot=defer`:")
            print_columns([(f"  {name}", about) for name, about in catalogue.common_options().items()])
        if self.kind == "denoisers":
            tell("\na folder written by `unmask fit`, a checkpoint of a family, or owner/name on the hub does as well")
