"""Put a learned order on the Hugging Face hub; `load_order("owner/name")` fetches one."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unmask.core.errors import UserError
from unmask.orders.card import LICENSE, Measured, local_paths, model_card, with_head
from unmask.orders.folder import STUB, LearnedOrder, load_order, save_order

FILES = ("README.md", "config.json", "model.safetensors")


class Push(NamedTuple):
    """What was put on the hub, or would be.

    url: of the commit; None for a dry run. files: name -> bytes. card: the README. notes: what to look at before.
    """

    repository: str
    private: bool
    url: str | None
    files: dict[str, int]
    card: str
    notes: list[str]


def push_to_hub(
    order: LearnedOrder | str | Path,
    repository: str,
    *,
    private: bool = False,
    measured: Sequence[Measured] = (),
    card: str | None = None,
    message: str = "A learned order",
    token: str | None = None,
    dry_run: bool = False,
    license: str = LICENSE,
    base_model: str | None = None,
) -> Push:
    """Upload an order (or its folder) to `repository`, `owner/name`, which is made if it is not there.

    Only config.json, model.safetensors and the card go up, whatever else is in the folder, and only if the order loads.
    card:     the README; a folder's own unless it is the stub `save_order` writes, else made from what the order knows
              of itself and `measured`.
    token:    the one of `hf auth login` unless given.
    dry_run:  say what would be uploaded; the network is not touched.
    license:  for the card, as the hub abbreviates it. base_model: `owner/name` of the denoiser the order is for.
    Raises UserError on a name the hub does not allow, an order that does not load, and whatever the hub refuses.
    """
    check_repository(repository)
    if base_model is not None:
        check_repository(base_model)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise UserError(f"`{license}` is no licence as the hub abbreviates them: write e.g. apache-2.0, mit or other")
    own: str | None = None
    if not isinstance(order, LearnedOrder):
        if not Path(order).is_dir():
            raise UserError(f"there is no folder {order}; give the folder of a learned order")
        own = _own_card(Path(order))
        order = load_order(order)
    text = card if card is not None else own if own is not None else model_card(
        order, repository, measured, license, base_model
    )
    paths = local_paths(order.card)
    notes = [f"config.json names paths on this disk: {', '.join(paths)}"] if paths else []
    if own is not None and measured and card is None:
        notes.append("the folder has a card of its own, which is kept as it is, without the measured table")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "order"
        save_order(order, folder, with_head(text, license, base_model))
        files = {name: (folder / name).stat().st_size for name in FILES}
        url = None if dry_run else _upload(folder, repository, private=private, message=message, token=token)
    return Push(repository, private, url, files, with_head(text, license, base_model), notes)


def check_repository(name: str) -> None:
    """Raise UserError unless `name` is `owner/name` as the hub allows it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"`{name}` is no name the hub allows: write owner/name, letters, digits, - _ . only") from error
    if name.count("/") != 1:
        raise UserError(f"`{name}` does not say whose it is: write owner/name")


def _own_card(folder: Path) -> str | None:
    """The README of the folder, if somebody wrote one."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text if text.strip() not in ("", STUB) else None


def _upload(folder: Path, repository: str, *, private: bool, message: str, token: str | None) -> str:
    """Make the repository if need be and commit the files in one go; returns the commit's address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private, repo_type="model", exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message, allow_patterns=list(FILES)
        )
    except LocalTokenNotFoundError as error:
        raise UserError("the hub does not know who you are: log in with `hf auth login`") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise UserError(
                f"the hub does not let you write to {repository} ({status}): log in with `hf auth login` and a token "
                "that may write, or choose an owner you belong to"
            ) from error
        raise UserError(f"the hub refused {repository}: {str(error).partition(chr(10))[0]}") from error
    except Exception as error:  # whatever the network comes up with
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"could not upload to {repository} ({reason}); try again") from error
    return str(done.commit_url)
