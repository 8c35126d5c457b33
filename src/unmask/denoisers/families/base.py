"""What a model family is: how its checkpoints are recognised, which network they become, and how text is read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.keys import Keys
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
    recognise:       for checkpoints without a config.json: whether it is one, by its tensors.
    spellings:       older names -> those of `keys`, as (regular expression, what to put there).
    ignored:         names that are no part of the network, `{i}` for a number.
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

    def is_of(self, checkpoint: Checkpoint) -> bool:
        """Whether this checkpoint is one of the family."""
        kind = checkpoint.config.get("model_type")
        if kind is None:
            return self.recognise is not None and self.recognise(checkpoint)
        given = set(checkpoint.config.get("architectures") or self.architectures)
        return kind in self.model_types and (not self.architectures or not given.isdisjoint(self.architectures))
