"""From the names of another library to ours: a table, read before any weight is.

    {"model.layers.{i}.self_attn.q_proj.weight": "blocks.{i}.attention.query.weight", ...}

`{i}` is the number of a block. Where one of their tensors holds several of ours, the entry is a `Fused`.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import DTYPES, Checkpoint, Stored

Split = Callable[[Tensor, Any], Sequence[Tensor]]
SHOWN = 3  # names of each kind in an error


@dataclass(frozen=True)
class Fused:
    """One of their tensors that is several of ours, or one in another form.

    names: ours. split: from their tensor and our configuration to ours, in the order of `names`; views will do.
    It sees a tensor without storage too, to learn the shapes.
    """

    names: tuple[str, ...]
    split: Split


Keys = Mapping[str, str | Fused]


class Target(NamedTuple):
    """What one of their tensors becomes. split: None where it is one of ours as it stands."""

    names: tuple[str, ...]
    split: Split | None


class Move(NamedTuple):
    """One tensor to read: where it is, what it becomes."""

    theirs: str
    stored: Stored
    ours: tuple[str, ...]
    split: Split | None

    def parts(self, whole: Tensor, config: Any) -> Sequence[Tensor]:
        """Our tensors, in the order of `ours`."""
        return (whole,) if self.split is None else self.split(whole, config)


def expand(keys: Keys, wanted: Collection[str]) -> dict[str, Target]:
    """The table with `{i}` written out for every block of `wanted`, our names, that has what it stands for."""
    blocks = 1 + max((int(part) for name in wanted for part in name.split(".") if part.isdigit()), default=-1)
    found = {}
    for theirs, entry in keys.items():
        target = Target(entry.names, entry.split) if isinstance(entry, Fused) else Target((entry,), None)
        for i in range(blocks) if "{i}" in theirs else (0,):
            names = tuple(name.replace("{i}", str(i)) for name in target.names)
            if all(name in wanted for name in names):  # a first block may lack what the others have
                found[theirs.replace("{i}", str(i))] = Target(names, target.split)
    return found


def spell(name: str, spellings: Sequence[tuple[str, str]]) -> str:
    """A name as the table has it: every (regular expression, what to put there) is applied in turn."""
    for pattern, instead in spellings:
        name = re.sub(pattern, instead, name)
    return name


def tied_names(network: nn.Module) -> set[str]:
    """Names of weights that are another weight under a second name."""
    first = {name for name, _ in network.named_parameters()}
    return {name for name, _ in network.named_parameters(remove_duplicate=False)} - first


def plan(
    checkpoint: Checkpoint,
    network: nn.Module,
    config: Any,
    keys: Keys,
    spellings: Sequence[tuple[str, str]] = (),
    ignored: Collection[str] = (),
    lacking: Collection[str] = (),
) -> list[Move]:
    """What to read into `network` (built without storage), in the order it stands on disk.

    lacking: names of ours that may be missing.
    Raises UserError naming the tensors that are missing, left over, of another shape or quantised.
    """
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    table, tied = expand(keys, shapes), tied_names(network)
    unmapped = set(shapes) - tied - {name for target in table.values() for name in target.names}
    assert not unmapped, f"no key is mapped to {sorted(unmapped)[:SHOWN]}"
    skip = re.compile("|".join(re.escape(name).replace(r"\{i\}", r"\d+") for name in ignored) or "(?!)")
    there: dict[str, tuple[str, Stored]] = {}
    for name, stored in checkpoint.tensors.items():
        if (spelt := spell(name, spellings)) == name or spelt not in checkpoint.tensors:  # the name of today wins
            there.setdefault(spelt, (name, stored))
    doubles = {theirs for theirs, target in table.items() if tied.issuperset(target.names)}  # may be there
    moves, shaped = [], []
    for theirs, (name, stored) in there.items():
        if theirs not in table or theirs in doubles:
            continue
        move = Move(name, stored, *table[theirs])
        wrong = mismatch(move, config, shapes)
        if wrong:
            shaped.append(wrong)
        moves.append(move)
    missing = sorted(
        theirs for theirs in table.keys() - there.keys() - doubles if not set(table[theirs].names) <= set(lacking)
    )
    left_over = sorted(there[name][0] for name in there.keys() - table.keys() if not skip.fullmatch(name))
    problems = [
        *told(missing, "is missing", "are missing"),
        *told(left_over, "is left over", "are left over"),
        *shaped[:SHOWN],
        *([f"{len(shaped) - SHOWN} more of another shape"] if len(shaped) > SHOWN else []),
    ]
    if problems:
        headless = all(name.startswith("head.") for theirs in missing for name in table[theirs].names)
        if missing and headless and len(problems) == 1:
            problems.append("they were saved without their output head; `unmask fit --init` begins one with --new-head")
        raise UserError(f"the weights in {checkpoint.path} do not fit their configuration: {'; '.join(problems)}")
    return moves


def told(names: Sequence[str], one: str, many: str) -> list[str]:
    """At most one clause, with the first names."""
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{', '.join(names[:SHOWN])}{more} {one if len(names) == 1 else many}"]


def mismatch(move: Move, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What is wrong with a tensor's shape or dtype, None if nothing is."""
    if move.stored.dtype not in DTYPES:
        return f"{move.theirs} is stored as {move.stored.dtype}, not as one of {', '.join(DTYPES)}"
    wanted = [shapes[name] for name in move.ours]
    try:
        got = [tuple(part.shape) for part in move.parts(torch.empty(move.stored.shape, device="meta"), config)]
    except (RuntimeError, ValueError):  # it does not split at all
        got = []
    if got == wanted:
        return None
    instead = "" if move.split else f", not {list(wanted[0])}"
    parts = f" and does not split into {', '.join(str(list(size)) for size in wanted)}" if move.split else ""
    return f"{move.theirs} has shape {list(move.stored.shape)}{instead}{parts}"
