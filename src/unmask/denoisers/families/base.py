"""What a model family is: how its checkpoints are recognised, which network they become, and how text is read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unmask.core.errors import UserError
from unmask.core.typed import brief
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.keys import Keys, Names, expand
from unmask.denoisers.network import Network


@dataclass(frozen=True)
class Family:
    """One entry of `FAMILIES`.

    about:           what it is, with its paper, in a line.
    model_types:     `model_type` in config.json, any of them.
    architectures:   `architectures` in config.json, if it has any: one of them must be there. Empty: all are.
    configure:       from a checkpoint to the configuration of the network; reads no weights. Raises UserError.
    network:         from that configuration to the network (called where tensors have no storage).
    keys:            their names -> ours.
    frame:           entries of a codec.json: mask, end, pad, the bare template, and stops if there are any.
    response_length: positions a response gets unless told otherwise.
    recognise:       for checkpoints without a `model_type`: whether it is one, by its tensors.
    spellings:       older names -> those of `keys`, as (regular expression, what to put there).
    ignored:         names that are no part of the network, `{i}` for a number.
    stand_ins:       names that mean another one where that is not there, and nothing where it is.
    """

    about: str
    model_types: tuple[str, ...]
    configure: Callable[[Checkpoint], Any]
    network: Callable[[Any], Network]
    keys: Keys
    frame: Mapping[str, Any]
    response_length: int = 128
    architectures: tuple[str, ...] = ()
    recognise: Callable[[Checkpoint], bool] | None = None
    spellings: Sequence[tuple[str, str]] = ()
    ignored: Collection[str] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)

    def names(self, wanted: Collection[str] = ()) -> Names:
        """How it calls the tensors of a network, `wanted` in our names."""
        return Names(expand(self.keys, wanted), self.keys, self.spellings, self.ignored, self.stand_ins)

    def is_of(self, checkpoint: Checkpoint) -> bool:
        """Whether this checkpoint is one of the family."""
        kind = checkpoint.config.get("model_type")
        given, known = (set(map(str.lower, each)) for each in (architectures(checkpoint), self.architectures))
        if kind is None:
            kinds = tuple(f"{each.lower()}for" for each in self.model_types)  # as in BertForMaskedLM
            named = not given.isdisjoint(known) or any(each.startswith(kinds) for each in given)
            return named or (self.recognise is not None and self.recognise(checkpoint))
        if str(kind).lower() not in map(str.lower, self.model_types):  # both spellings are about
            return False
        return not given or not known or not given.isdisjoint(known)


def architectures(checkpoint: Checkpoint) -> list[str]:
    """The classes that its config.json names. Raises UserError if it names something else."""
    given = checkpoint.config.get("architectures")
    if isinstance(given, str):
        return [given] if given else []
    if given is not None and not (isinstance(given, list) and all(isinstance(name, str) for name in given)):
        raise UserError(
            f"{checkpoint.path}: config.json has `architectures` {brief(given)}, which should be a list of names"
        )
    return list(given or [])
