"""`unmask inspect`: what a checkpoint is and what it needs, before anything is loaded."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from unmask.cli.common import WHOLE, WORD, check_given, default, print_columns, tell_json

if TYPE_CHECKING:
    from unmask.denoisers.needs import Inspection


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Say what a checkpoint is and what memory it needs, from its configuration and the headers of its files alone.

    example: unmask inspect wordprob

    example: unmask inspect GSAI-ML/LLaDA-8B-Instruct --rows 4 --positions 1024
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """A bundled name, a folder, a safetensors file, or owner/name on the hub."""
    rows: Annotated[int, WHOLE] = 8
    """Canvases in a batch, for the memory a pass needs."""
    positions: Annotated[int | None, WHOLE, default("twice the response length")] = None
    """Positions of each, prompt and response together."""
    device: Annotated[str, WORD] = "cpu"
    """Where it is to fit: cpu, cuda, cuda:1."""
    ignore_extra: bool = False
    """Leave out tensors that are no part of the network, and are of no known use."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> None:
        """Look, and say."""
        from unmask.core.devices import check_device
        from unmask.denoisers.hub import find_checkpoint
        from unmask.denoisers.needs import examine

        check_given(self, 1, float("inf"), "rows", "positions")
        check_device(self.device)
        checkpoint = find_checkpoint(self.name)
        found = examine(self.name, checkpoint, self.device, self.rows, self.positions, self.ignore_extra)
        if self.json:
            needs = [need._asdict() for need in found.needs]
            tell_json(asdict(found) | {"needs": needs})
        else:
            print_columns(lines(found))


ROUNDED = "cosines and sines are rounded to bfloat16, as in the published code (`rope_bfloat16`)"


def lines(found: "Inspection") -> list[tuple[str, str]]:
    """What is known, a line each."""
    shape = ", ".join(f"{name} {found.network[name]}" for name in ("layers", "width", "heads") if name in found.network)
    files = f"{found.files} file{'s' * (found.files > 1)}"
    free = "is not known here" if found.free is None else f"{size(found.free)} free"
    said = {True: "fits", False: "does not fit", None: "free memory not known"}
    each = f"{found.rows} canvases of {found.positions} positions"
    return [
        ("family", f"{found.family}: {found.about}"),
        ("parameters", f"{found.parameters:,}, {shape}"),
        ("stored", f"{size(found.stored_bytes)} as {found.stored_dtype} in {files}"),
        ("vocabulary", f"{found.vocabulary:,}, mask token {found.mask_token}"),
        *([("rotation", ROUNDED)] if found.network.get("rope_bfloat16") else []),
        *([("left out", ", ".join(found.left_out))] if found.left_out else []),
        *([("adapter", found.adapter)] if found.adapter else []),
        ("context", f"{found.context:,} positions; a response gets {found.response_length} unless told otherwise"),
        ("template", template_words(found.template)),
        (f"on {found.device}", free),
        *(
            (f"  {need.dtype}", f"{size(need.weights)} and about {size(need.batch)} for {each}: {said[need.fits]}")
            for need in found.needs
        ),
    ]


def template_words(template: str) -> str:
    """How prompts are written, and how to change it."""
    words = {"bare": "bare: prompts are read as they are", "chat": "chat: a prompt is a turn, by the chat template"}
    return f"{words.get(template, template)}; --template changes it"


def size(count: int) -> str:
    """Bytes for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"
