"""Learned orders as they are named on the command line: DIR or LABEL=DIR."""

from pathlib import Path
from typing import TYPE_CHECKING

from unmask.cli.common import find_order
from unmask.core.errors import UserError

if TYPE_CHECKING:
    from unmask.orders.folder import LearnedOrder


def load_orders(words: tuple[str, ...], device: str) -> "dict[str, LearnedOrder]":
    """Learned orders by label: `learned` if there is one without a label, else the names of their folders."""
    from unmask.orders.folder import load_order

    found: dict[str, LearnedOrder] = {}
    for word in words:
        label, equals, path = word.rpartition("=")
        folder = find_order(Path(path))
        if not equals:
            named = folder.resolve().parent if folder.name == "order" else folder.resolve()
            label = "learned" if len(words) == 1 else named.name
        if not label or not path:
            raise UserError(f"cannot read --orders `{word}`: write DIR or LABEL=DIR")
        if label in found:
            raise UserError(f"two orders cannot both be called `{label}`: write --orders LABEL=DIR")
        found[label] = load_order(folder, device)
    return found
