"""From the names of another library to ours: a table, read before any weight is.

    {"model.layers.{i}.self_attn.q_proj.weight": "blocks.{i}.attention.query.weight", ...}

`{i}` is the number of a block. Where one of their tensors holds several of ours, the entry is a `Fused`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import DTYPES, Checkpoint, Stored

Split = Callable[[Tensor, Any], Sequence[Tensor]]
SHOWN = 3  # names of each kind in an error
# What other programs put before or into a name: data parallelism, torch.compile, lightning, peft.
WRAPPERS = re.compile(
    r"(?:^base_model\.model\.)|(?:(?:^|(?<=\.))(?:module|_orig_mod|_forward_module|_fsdp_wrapped_module|"
    r"_checkpoint_wrapped_module|base_layer)\.)"
)
# Buffers that are computed here, or that nothing reads.
BUFFERS = re.compile(
    r"(?:.*\.)?(?:inv_freq|original_inv_freq|position_ids|token_type_ids|masked_bias|cos_cached|sin_cached)"
)
# Heads that are not the language model's, by the part of a name where they leave the network.
OTHER_HEADS = {
    "pooler", "classifier", "score", "qa_outputs", "seq_relationship", "species", "regressor", "regression_head",
    "value_head", "v_head", "reward_head", "sop_classifier", "discriminator_predictions", "sequence_summary",
}  # fmt: skip


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
    return set(ties(network))


def ties(network: nn.Module) -> dict[str, str]:
    """Second name -> first name, of weights that are one tensor."""
    first = {id(value): name for name, value in network.named_parameters()}
    every = network.named_parameters(remove_duplicate=False)
    return {name: first[id(value)] for name, value in every if first[id(value)] != name}


@dataclass(frozen=True)
class Names:
    """How a family calls its tensors, and how to find that name in what stands on disk.

    table: their names, `{i}` written out. keys, spellings, ignored, stand_ins: as in `Family`.
    """

    table: Mapping[str, Target]
    keys: Keys
    spellings: Sequence[tuple[str, str]] = ()
    ignored: Collection[str] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def stack(self) -> str:
        """What stands before the number of a block, as `model.layers.`."""
        return next((name.partition("{i}")[0] for name in self.keys if "{i}" in name), "\0")

    @cached_property
    def rooms(self) -> set[str]:
        """The modules of the network, and what they stand in."""
        known = [*self.table, *(name.replace("{i}", "0") for name in self.keys)]
        return {name.rsplit(".", i)[0] for name in known for i in range(1, name.count(".") + 1)}

    @cached_property
    def skip(self) -> re.Pattern[str]:
        """What is no part of the network, by name."""
        return re.compile("|".join(re.escape(name).replace(r"\{i\}", r"\d+") for name in self.ignored) or "(?!)")

    def variants(self, name: str) -> Iterable[str]:
        """What a name on disk may mean: itself without wrappers, with or without the part the network stands in."""
        plain = WRAPPERS.sub("", name)
        root = self.stack.partition(".")[0]
        yield spell(plain, self.spellings)
        while plain.startswith("model."):
            plain = plain.removeprefix("model.")
            yield spell(plain, self.spellings)
        yield spell(f"{root}.{plain}", self.spellings)

    def find(self, name: str) -> str:
        """The name of the table that is meant, or what comes nearest."""
        if name in self.table:
            return name
        found = [*self.variants(name)]
        return next((each for each in found if self.knows(each)), found[0])

    def knows(self, name: str) -> bool:
        """Whether a name is one of the family's."""
        return name in self.table or name in self.stand_ins or bool(self.skip.fullmatch(name))

    def layers(self, names: Iterable[str]) -> int:
        """How many blocks there are on disk."""
        pattern = re.compile(re.escape(self.stack) + r"(\d{1,9})\.")
        matches = (pattern.match(each) for name in names for each in self.variants(name))
        return len({match[1] for match in matches if match})

    def leaves_at(self, name: str) -> str | None:
        """The part of a name that leads out of the network, None where it stands inside a block or a module of it."""
        parts = name.split(".")
        for i, part in enumerate(parts[:-1]):
            if ".".join(parts[: i + 1]) not in self.rooms:
                inside = name.startswith(self.stack)
                return None if inside or part.isdigit() else part
        return None


class Found(NamedTuple):
    """What stands on disk. there: the table's name -> its name on disk, and the tensor. again: pairs that are one by
    name. left_over: of no known use. left_out: heads that are no language model's, or what was asked to be ignored."""

    there: dict[str, tuple[str, Stored]]
    again: list[tuple[str, str]]
    left_over: list[str]
    left_out: list[str]


def look(tensors: Mapping[str, Stored], names: Names, ignore_extra: bool = False) -> Found:
    """Find what every tensor on disk is.

    ignore_extra: leave out what is of no known use too, unless it stands inside the network.
    """
    found = Found({}, [], [], [])
    standing_in: dict[str, tuple[str, Stored]] = {}
    for name in sorted(tensors, key=lambda name: name not in names.table):  # the name of today first
        spelt = names.find(name)
        if spelt in names.stand_ins:
            standing_in[names.stand_ins[spelt]] = (name, tensors[name])
        elif spelt in names.table:
            if spelt in found.there:
                found.again.append((found.there[spelt][0], name))
            else:
                found.there[spelt] = (name, tensors[name])
        elif not BUFFERS.fullmatch(spelt):
            part = names.leaves_at(spelt)
            out = names.skip.fullmatch(spelt) or (part is not None and (ignore_extra or part in OTHER_HEADS))
            (found.left_out if out else found.left_over).append(name)
    for meant, tensor in standing_in.items():
        found.there.setdefault(meant, tensor)
    order = {name: i for i, name in enumerate(tensors)}
    return found._replace(there=dict(sorted(found.there.items(), key=lambda item: order[item[1][0]])))


def plan(
    checkpoint: Checkpoint,
    network: nn.Module,
    config: Any,
    names: Names,
    lacking: Collection[str] = (),
    ignore_extra: bool = False,
) -> list[Move]:
    """What to read into `network` (built without storage), in the order it stands on disk.

    lacking: names of ours that may be missing. ignore_extra: whether tensors of no known use may be there.
    Raises UserError naming the tensors that are missing, left over, of another shape or quantised.
    """
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    table, tied = names.table, ties(network)
    unmapped = set(shapes) - tied.keys() - {name for target in table.values() for name in target.names}
    assert not unmapped, f"no key is mapped to {sorted(unmapped)[:SHOWN]}"
    there, _, left_over, _ = look(checkpoint.tensors, names, ignore_extra)
    doubles = {theirs for theirs, target in table.items() if tied.keys() >= {*target.names}}  # may be there
    ours = {target.names: theirs for theirs, target in table.items()}
    for second in doubles & there.keys():  # some keep the one, some the other
        (first,) = (tied[name] for name in table[second].names)
        there.setdefault(ours[(first,)], there[second])
    moves, shaped = [], []
    for theirs, (name, stored) in there.items():
        if theirs in doubles:
            continue
        move = Move(name, stored, *table[theirs])
        wrong = mismatch(move, config, shapes)
        if wrong:
            shaped.append(wrong)
        moves.append(move)
    missing = sorted(
        theirs for theirs in table.keys() - there.keys() - doubles if not set(table[theirs].names) <= set(lacking)
    )
    problems = [
        *told(missing, "is missing", "are missing"),
        *told(sorted(left_over), "is left over", "are left over"),
        *shaped[:SHOWN],
        *([f"{len(shaped) - SHOWN} more of another shape"] if len(shaped) > SHOWN else []),
    ]
    if problems:
        headless = all(name.startswith("head.") for theirs in missing for name in table[theirs].names)
        if missing and headless and len(problems) == 1:
            problems.append("they were saved without their output head; `unmask fit --init` begins one with --new-head")
        if len(problems) == 1 and left_over and all(names.leaves_at(names.find(name)) for name in left_over):
            problems.append("where they are no part of the language model, --ignore-extra leaves them out")
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
        return f"{move.theirs} is stored as {move.stored.dtype}, not as one of {', '.join(DTYPES)}: it is quantised"
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
