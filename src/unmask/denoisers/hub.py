"""Find a denoiser by what people call it: a bundled name, a folder or file, or `owner/name` on the Hugging Face hub.

Only configuration, tokenizer and safetensors are ever fetched or read; nothing is unpickled and no code from
elsewhere runs.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unmask.core.devices import check_device
from unmask.core.errors import UserError
from unmask.core.files import read_json
from unmask.core.registry import check_name
from unmask.denoisers.adapter import adapter_in, base_name, merge, merge_own
from unmask.denoisers.address import FILES, local_path, looks_like_path, repository_of
from unmask.denoisers.checkpoint import (
    ADAPTER_CONFIG,
    PICKLED,
    WHOLE,
    Checkpoint,
    Stored,
    open_checkpoint,
    without_outer,
)
from unmask.denoisers.codec import check_template
from unmask.denoisers.folder import TextDenoiser, load_folder
from unmask.denoisers.foreign import load_checkpoint

ASSETS = Path(__file__).parent.parent / "assets"

BUNDLED: dict[str, Path] = {
    "wordprob": ASSETS / "wordprob",
}

FETCHED = ("*.json", "*.safetensors", "*.md", "*.jinja", "tokenizer.model", "vocab.txt", "merges.txt")


def find_path(name: str) -> Path:
    """The folder, or the one file, that holds the denoiser called `name`; fetched from the hub if it has to be.

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
    if (repository := repository_of(name)) is not None:
        return fetch(*repository)
    path = local_path(name)
    if (path / "run.json").is_file():  # the folder of the run that makes it will do, once it has
        if not (path / "denoiser" / "config.json").is_file():
            raise UserError(f"the run in {path} has not made a denoiser yet; start it again with the same command")
        return path / "denoiser"
    if path.is_dir():
        return path
    if path.is_file():
        known = (".safetensors", *PICKLED)  # the latter are refused, with what to do instead
        if path.suffix not in known and path.name != ADAPTER_CONFIG:
            what = "GGUF, quantised for llama.cpp" if path.suffix == ".gguf" else "a file"
            raise UserError(f"{name} is {what}; give the folder of the denoiser, or a safetensors file")
        return path.parent if path.name == WHOLE and is_own(path.parent) else path
    if looks_like_path(name):
        kind = "file" if path.suffix in FILES else "folder"
        where = f" ({path.parent} is there)" if path.parent != Path() and path.parent.is_dir() else ""
        raise UserError(
            f"there is no {kind} {name}{where}; give a folder, owner/name or one of {', '.join(BUNDLED)}"
        )
    try:
        check_name(name, BUNDLED, "denoiser", hint="unmask list denoisers")
    except UserError as error:
        raise UserError(f"{error} Or give a folder, or owner/name for one on the hub.") from None
    raise AssertionError("a bundled name was returned above")


def find_checkpoint(name: str) -> Checkpoint:
    """What is known of the denoiser called `name` before its weights are read; from the hub only headers are fetched.

    Raises UserError as `find_path` does.
    """
    if name not in BUNDLED and (repository := repository_of(name)) is not None:
        folder = fetch(repository.name, repository.revision, [each for each in FETCHED if "safetensors" not in each])
        if not (folder / ADAPTER_CONFIG).is_file():
            config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
            return Checkpoint(folder, config, without_outer(_headers(*repository)))
    path = find_path(name)
    if is_own(path):
        adapter_in(path)
        return open_checkpoint(path)
    return open_any(path)


def open_any(path: Path) -> Checkpoint:
    """Look into a checkpoint of another library, or into an adapter and its base, which are merged while read.

    Raises UserError naming what is missing, damaged or does not fit.
    """
    folder = adapter_in(path)
    if folder is None:
        return open_checkpoint(path)
    named = base_name(folder)
    try:
        base = find_path(named)
    except UserError as error:
        raise UserError(f"the base of the adapter in {folder}: {error}") from error
    if base.resolve() != folder.resolve() and adapter_in(base) is not None:
        raise UserError(f"the base of the adapter in {folder}, {named}, is an adapter itself; merge that one first")
    if is_own(base):  # it is merged when its network is there
        return replace(open_checkpoint(base), adapter=folder)
    return merge(open_checkpoint(base), folder)


def is_own(path: Path) -> bool:
    """Whether a folder is of our own format, as `save_denoiser` writes it."""
    return (path / "config.json").is_file() and "format" in read_json(path / "config.json")


def load_denoiser(
    name: str | Path,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    new_head: int | None = None,
    template: str | None = None,
    ignore_extra: bool = False,
) -> TextDenoiser:
    """Load a bundled denoiser ("wordprob"), a folder written by `unmask fit`, a checkpoint of one of `FAMILIES`
    (its folder, or one safetensors file with the tokenizer.json beside it), a LoRA adapter on one of these, or
    `owner/name` or an address on the hub.

    dtype: of the weights; None is float32 for our own, and for others what they are stored in.
    new_head: a seed, to begin the output head of an encoder that was saved without one; it is refused otherwise.
    template: how prompts are written: `bare`, the text as it is; `chat`, a turn by the checkpoint's own chat template;
        or a text with `{prompt}` in it. None is what suits the denoiser: see docs/guides/checkpoints.md.
    ignore_extra: leave out tensors of another library's checkpoint that are of no known use, unless they stand inside
        the network.
    Raises UserError where there is none, or naming the file or tensor that is missing, damaged or does not fit.
    """
    check_device(device)
    if template is not None:
        check_template(template)
    path = find_path(str(name))
    if is_own(path):
        adapter_in(path)  # which would be passed over
        return load_own(path, device, dtype, new_head, template)
    checkpoint = open_any(path)
    if checkpoint.adapter is not None and "format" in checkpoint.config:
        return load_own(checkpoint.path, device, dtype, new_head, template, checkpoint.adapter)
    return load_checkpoint(checkpoint, device, dtype, new_head, template, ignore_extra)


def load_own(
    path: Path,
    device: str,
    dtype: torch.dtype | None,
    new_head: int | None,
    template: str | None,
    adapter: Path | None = None,
) -> TextDenoiser:
    """Load a denoiser of our own format, an adapter merged in or not. Raises UserError, see `load_denoiser`."""
    if new_head is not None:
        raise UserError(f"{path} has its output head, so none is to be begun; leave out --new-head")
    adapt = None if adapter is None else partial(merge_own, path, adapter)
    own = load_folder(path, device, torch.float32 if dtype is None else dtype, adapt)
    if adapter is not None:
        own = replace(own, card=own.card | {"adapter": str(adapter)})
    return own if template is None else replace(own, codec=own.codec.with_template(template))


def fetch(name: str, revision: str | None = None, patterns: Iterable[str] = FETCHED) -> Path:
    """Fetch what matches `patterns` of `owner/name` into the hub's own cache, or find it there."""
    from huggingface_hub import snapshot_download  # a third of a second that most loads need not wait for

    given: Any = {} if revision is None else {"revision": revision}
    with _hub_errors(name):
        # a repository may hold many checkpoints in folders of their own; only what stands at its top is meant
        return Path(snapshot_download(name, allow_patterns=list(patterns), ignore_patterns=["*/*"], **given))


def _headers(name: str, revision: str | None = None) -> dict[str, Stored]:
    """The headers of the safetensors files of `owner/name`, a few kilobytes of each."""
    from huggingface_hub import get_safetensors_metadata

    given: Any = {} if revision is None else {"revision": revision}
    with _hub_errors(name):
        files = get_safetensors_metadata(name, **given).files_metadata
    return {
        tensor: Stored(Path(file), tuple(about.shape), about.dtype, tensor)
        for file, held in files.items()
        for tensor, about in held.tensors.items()
    }


@contextlib.contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Whatever the hub raises, as a UserError in one sentence."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        NotASafetensorsRepoError,
        RepositoryNotFoundError,
    )

    try:
        yield
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
    except NotASafetensorsRepoError as error:
        raise UserError(f"`{name}` has no safetensors at its top; fetch the file you mean and give its path") from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"there is no folder `{name}`, and the hub cannot be reached: check the network, or give a folder"
        ) from error
    except Exception as error:  # whatever the network, the disk or the hub comes up with
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"could not fetch `{name}` from the hub ({reason}); try again, or give a folder") from error
