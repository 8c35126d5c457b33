"""What people write to say where a denoiser or an order is: a path, an address, owner/name on the hub."""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from unmask.core.errors import UserError
from unmask.core.typed import brief
from unmask.denoisers.checkpoint import PICKLED

HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com")
FILES = (".safetensors", ".gguf", ".json", ".txt", ".zip", ".gz", ".tar", *PICKLED)
ELSEWHERE = ("datasets", "spaces", "docs", "papers", "collections", "blog")  # of the hub, and no models


class Repository(NamedTuple):
    """owner/name on the hub. revision: a branch, tag or commit, None for the newest."""

    name: str
    revision: str | None = None


def repository_of(name: str) -> Repository | None:
    """The repository that an address or an owner/name means; None where it means something on this machine.

    Raises UserError on an address of elsewhere, or of a part of a repository.
    """
    if address := re.match(r"(https?|hf):/{1,2}(?=[^/])", name):  # a Path keeps one stroke of two
        return parse_address(f"{address[1]}://{name[address.end() :]}")
    if re.match(r"(?:www\.)?(?:huggingface\.co|hf\.co)/", name) and not Path(name).exists():
        return parse_address(f"https://{name}")
    return Repository(name) if may_be_repository(name) and not local_path(name).exists() else None


def parse_address(address: str) -> Repository:
    """`https://huggingface.co/owner/name`, with `/tree/REVISION` perhaps. Raises UserError on what is no model."""
    parts = urlsplit(address)
    if parts.scheme == "hf":
        words = [word for word in (parts.netloc, *unquote(parts.path).split("/")) if word]
        last, _, revision = words[-1].partition("@")
        return checked(address, [*words[:-1], last], revision or None)
    if parts.netloc.lower().partition(":")[0] not in HOSTS:
        raise UserError(f"{address} is not on the hub; fetch it yourself and give the folder")
    words = [unquote(word) for word in parts.path.split("/") if word]
    if words and words[0] in ELSEWHERE:
        raise UserError(f"{address} is no model of the hub; its address is https://huggingface.co/OWNER/NAME")
    kinds = ("tree", "blob", "resolve", "raw", "commit", "discussions", "commits")
    cut = next((i for i, word in enumerate(words) if i > 0 and word in kinds), len(words))
    rest = words[cut:]
    if rest[:1] in (["tree"], ["commit"]) and len(rest) == 2:
        return checked(address, words[:cut], rest[1])
    if len(rest) > 2:
        part = f"{'/'.join(words[:cut])} {'/'.join(rest[2:])}"
        raise UserError(f"{address} is a part of a repository; fetch it with `hf download {part}` and give its path")
    if rest:
        raise UserError(f"{address} is no model of the hub; its address is https://huggingface.co/OWNER/NAME")
    return checked(address, words, None)


def checked(address: str, words: list[str], revision: str | None) -> Repository:
    """The repository of one or two words."""
    if not 1 <= len(words) <= 2:
        raise UserError(f"{address} is no model of the hub; its address is https://huggingface.co/OWNER/NAME")
    return Repository("/".join(words), revision)


def may_be_repository(name: str) -> bool:
    """Whether `name` is of the form owner/name, and no path by its looks."""
    return name.count("/") == 1 and not name.endswith("/") and not looks_like_path(name)


def looks_like_path(name: str) -> bool:
    """Whether a name says by its looks that it means something on this machine."""
    first, slash, _ = name.partition("/")
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.lower().endswith(FILES)
        or name.count("/") > 1
        or name.endswith("/")
        or bool(slash and Path(first).is_dir())
    )


def local_path(name: str) -> Path:
    """The path that is meant: `~` and file:// are read, and a folder of the hub's cache means its snapshot."""
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:  # ~nobody
        raise UserError(f"there is no folder {name}: {error}") from error
    try:
        return snapshot(path) if (path / "snapshots").is_dir() else path
    except (OSError, ValueError) as error:  # too long a name, or a sign no name has
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{brief(name)} cannot be a path: {why}") from error


def snapshot(folder: Path) -> Path:
    """In `models--owner--name`, what the hub's cache holds of its newest state.

    Raises UserError if there are several and nothing says which is meant.
    """
    found = sorted(each for each in (folder / "snapshots").iterdir() if each.is_dir())
    main = folder / "refs" / "main"
    if main.is_file() and (newest := folder / "snapshots" / main.read_text(encoding="utf-8").strip()) in found:
        return newest
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} snapshots and none is called the newest" if found else "no snapshot"
    raise UserError(f"{folder} is a folder of the hub's cache with {what}; give one in {folder / 'snapshots'}")
