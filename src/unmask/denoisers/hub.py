"""Find a denoiser by what people call it: a bundled name, a folder, or `owner/name` on the Hugging Face hub.

Only configuration, tokenizer and safetensors are ever fetched or read; nothing is unpickled and no code from
elsewhere runs.
"""

from pathlib import Path

import torch

from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.denoisers.folder import TextDenoiser, load_folder

ASSETS = Path(__file__).parent.parent / "assets"

BUNDLED: dict[str, Path] = {
    "wordprob": ASSETS / "wordprob",
}

FETCHED = ("*.json", "*.safetensors", "*.md", "tokenizer.model", "vocab.txt", "merges.txt")


def find_folder(name: str) -> Path:
    """The folder that holds the denoiser called `name`, fetched from the hub if it has to be.

    Raises UserError saying what was looked for and what to do instead.
    """
    if name in BUNDLED:
        folder = BUNDLED[name]
        if not (folder / "config.json").is_file():
            raise UserError(
                f"the bundled denoiser `{name}` is not part of this installation; "
                f"fit one with `unmask fit --task {name} --out runs/{name}`"
            )
        return folder
    if (Path(name) / "run.json").is_file():  # the folder of the run that makes it will do, once it has
        if not (Path(name) / "denoiser" / "config.json").is_file():
            raise UserError(f"the run in {name} has not made a denoiser yet; start it again with the same command")
        return Path(name) / "denoiser"
    if Path(name).is_dir():
        return Path(name)
    if Path(name).is_file():
        raise UserError(f"{name} is a file; give the folder of the denoiser")
    if may_be_repository(name):
        return fetch(name)
    if "/" in name:
        raise UserError(f"there is no folder {name}; give a folder, owner/name or one of {', '.join(BUNDLED)}")
    try:
        check_name(name, BUNDLED, "denoiser", hint="unmask list denoisers")
    except UserError as error:
        raise UserError(f"{error} Or give a folder, or owner/name for one on the hub.") from None
    raise AssertionError("a bundled name was returned above")


def load_denoiser(name: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> TextDenoiser:
    """Load a bundled denoiser ("wordprob"), a folder written by `unmask fit`, or `owner/name` from the hub.

    Raises UserError where there is none, or naming the file that is missing, damaged or does not fit.
    """
    return load_folder(find_folder(str(name)), device, dtype)


def may_be_repository(name: str) -> bool:
    """Whether `name` is of the form owner/name."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")


def fetch(name: str) -> Path:
    """Fetch `owner/name` into the hub's own cache, or find it there."""
    from huggingface_hub import snapshot_download  # a third of a second that most loads need not wait for
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=list(FETCHED)))
    except HFValidationError as error:
        raise UserError(f"`{name}` is neither a folder nor a name the hub allows; give one of them") from error
    except GatedRepoError as error:
        raise UserError(
            f"`{name}` is gated: ask for access on its page on the hub, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"there is neither a folder `{name}` nor such a repository on the hub, "
            "or it is private: check the spelling, or log in with `hf auth login`"
        ) from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"there is no folder `{name}`, and the hub cannot be reached: check the network, or give a folder"
        ) from error
    except Exception as error:  # whatever the network, the disk or the hub comes up with
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"could not fetch `{name}` from the hub ({reason}); try again, or give a folder") from error
