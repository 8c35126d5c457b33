"""`unmask push`: a learned order to the Hugging Face hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unmask.cli.common import PATH, WORD, default, find_order, print_columns, say, tell, tell_json
from unmask.core.errors import UserError

if TYPE_CHECKING:
    from unmask.orders.card import Measured


@dataclass(frozen=True, kw_only=True)
class Push:
    """Put a learned order on the Hugging Face hub with its card; `unmask sample --order owner/name` runs it from there.

    Uploaded are config.json, model.safetensors and README.md, and nothing else of the folder. The card is the folder's
    README, or made from what the order knows of itself. Log in first: `hf auth login`.

    example: unmask push runs/order owner/name --results runs/bench --dry-run
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="ORDER")]
    """Folder of the order, or of the run that made it."""
    repository: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
    """Where to put it; made if it is not there."""
    private: bool = False
    """Make the repository a private one, if it has to be made."""
    results: Annotated[Path | None, PATH, default("none")] = None
    """Folder of a bench, whose table goes into the card."""
    base_model: Annotated[str | None, WORD, default("none")] = None
    """The denoiser the order is for, owner/name on the hub: the card and the hub's page name it."""
    license: Annotated[str, WORD] = "apache-2.0"
    """Licence of the order, as the hub abbreviates it."""
    dry_run: bool = False
    """Say what would be uploaded, print the card, and touch no network."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> None:
        """Push, and print where it is."""
        from unmask.orders.hub import push_to_hub

        pushed = push_to_hub(
            find_order(self.folder),
            self.repository,
            private=self.private,
            measured=measured(self.results) if self.results is not None else (),
            dry_run=self.dry_run,
            license=self.license,
            base_model=self.base_model,
        )
        for note in pushed.notes:
            say(f"note: {note}")
        if self.json:
            tell_json(pushed._asdict())
        elif pushed.url is None:
            say(f"would be uploaded to {pushed.repository}{' (private)' * pushed.private}, and then its card:")
            print_columns([(name, f"{size:,} bytes") for name, size in pushed.files.items()])
            tell(f"\n{pushed.card.rstrip()}")
        else:
            tell(pushed.url)


def measured(results: Path) -> "list[Measured]":
    """The rows of a bench's table."""
    from unmask.orders.card import Measured
    from unmask.view.source import Bench, load

    bench = load(results)
    if not isinstance(bench, Bench):
        raise UserError(f"{results} is a trace; --results takes the folder of a bench")
    return [
        Measured(row.sampler, row.budget, row.steps_mean, row.accuracy, row.low, row.high, row.n) for row in bench.rows
    ]
