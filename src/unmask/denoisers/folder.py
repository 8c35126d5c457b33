"""A denoiser on disk: config.json, model.safetensors, tokenizer.json, codec.json and a README.md as its card."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.files import read_json, replacing_folder, says, write_json
from unmask.core.typed import LARGEST, brief, build
from unmask.denoisers.base import Denoised, Rereader
from unmask.denoisers.bert import Bert, BertConfig
from unmask.denoisers.checkpoint import DTYPES, Stored, damaged, differ, read_header
from unmask.denoisers.codec import Codec, check_ids
from unmask.denoisers.dit import DiT, DiTConfig
from unmask.denoisers.keys import Move, tied_names, ties
from unmask.denoisers.modern_bert import ModernBert, ModernBertConfig
from unmask.denoisers.network import Network, blank, spans
from unmask.denoisers.streaming import stream
from unmask.denoisers.transformer import Transformer, TransformerConfig

FORMAT, VERSION = "unmask-denoiser", 1

Config = TypeVar("Config")


class Architecture(NamedTuple):
    """A kind of network this format can hold: `network(config)` builds it."""

    network: Callable[[Any], Network]
    config: type[Any]


ARCHITECTURES: dict[str, Architecture] = {
    "transformer": Architecture(Transformer, TransformerConfig),
    "dit": Architecture(DiT, DiTConfig),
    "bert": Architecture(Bert, BertConfig),
    "modern_bert": Architecture(ModernBert, ModernBertConfig),
}


@dataclass(frozen=True)
class TextDenoiser:
    """A network with its codec: what `load_denoiser` returns and every command takes.

    The network learns from it which columns of its output head are no tokens (embeddings are padded to round sizes):
    those are impossible from then on, for everything that asks the network.

    response_length: how many positions a response gets unless told otherwise.
    card: what is known of it (recipe, seed, measurements), kept in config.json.
    multiple: lengths are padded to a multiple of this while decoding, see `denoisers.compiled`.
    """

    network: Network
    codec: Codec
    response_length: int
    card: dict[str, Any] = field(default_factory=dict)
    multiple: int = 1

    def __post_init__(self) -> None:
        rows, last = self.network.config.vocabulary, max(self.codec.ids)
        if last >= rows:
            raise UserError(
                f"the tokenizer has `{self.codec.tokenizer.id_to_token(last)}` as token {last} but the embedding has "
                f"{rows} rows; they belong to different denoisers"
            )
        self.network.beyond = spans(self.codec.beyond(rows))

    def __call__(self, canvas: Canvas) -> Denoised:
        """One forward pass, without gradient."""
        with torch.no_grad():  # not inference_mode: an order network that reads the answer may be learning
            return self.network(canvas)  # type: ignore[no-any-return]

    def reread(self, canvas: Canvas, again: Tensor) -> Denoised:
        """One forward pass over masked positions and shadows of the written ones `again`, without gradient.

        Raises UserError if the network cannot do it.
        """
        if not isinstance(self.network, Rereader):
            raise UserError(
                f"a network of kind {type(self.network).__name__} cannot say what it would write where something "
                "stands; name a sampler that does not look again at what it wrote"
            )
        with torch.no_grad():
            return self.network.reread(canvas, again)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @property
    def context(self) -> int:
        """The most positions, prompt and response together; what closes a text is counted off."""
        return self.network.config.context - len(self.codec.closing)


def save_denoiser(denoiser: TextDenoiser, folder: Path, readme: str | None = None) -> None:
    """Write the folder in one go, in place of one that stood there, but of nothing else (UserError)."""
    network = denoiser.network
    kinds = {kind.network: name for name, kind in ARCHITECTURES.items()}
    if type(network) not in kinds:
        raise UserError(
            f"a network of kind {type(network).__name__} cannot be saved in our format, which holds "
            f"{', '.join(ARCHITECTURES)}; add a line to ARCHITECTURES in denoisers/folder.py"
        )
    with replacing_folder(folder, lambda there: says(there / "config.json", format=FORMAT)) as temporary:
        tied = tied_names(network)
        weights = {
            name: value.detach().cpu().contiguous() for name, value in network.state_dict().items() if name not in tied
        }
        write_weights(temporary / "model.safetensors", weights, {"format": "pt"})
        config = {
            "format": FORMAT,
            "version": VERSION,
            "architecture": kinds[type(network)],
            "network": network.config.to_dict(),
            "response_length": denoiser.response_length,
            "card": denoiser.card,
        }
        write_json(temporary / "config.json", config)
        denoiser.codec.save(temporary)
        card = readme or "# A masked-diffusion denoiser, fitted with unmask\n"
        (temporary / "README.md").write_text(card, encoding="utf-8")


def load_folder(
    folder: Path,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    adapt: Callable[[Network, Mapping[str, Stored]], dict[str, Stored]] | None = None,
) -> TextDenoiser:
    """Read a folder. adapt: from what is stored to what is read, as an adapter changes it.

    Raises UserError naming the file that is missing, damaged, foreign or does not fit.
    """
    path = folder / "config.json"
    config = read_json(path)
    (network_of, shape), response_length = read_shape(path, config)
    codec = Codec.load(folder)
    if codec.vocabulary > shape.vocabulary:
        raise UserError(
            f"{folder / 'tokenizer.json'} has {codec.vocabulary} tokens but the embedding has {shape.vocabulary} rows; "
            "they belong to different denoisers"
        )
    check_ids(codec.tokenizer, shape.vocabulary, folder)
    if codec.mask_token != shape.mask_token:
        raise UserError(
            f"the mask token of {folder / 'tokenizer.json'} is {codec.mask_token} but {path} says {shape.mask_token}; "
            "they belong to different denoisers"
        )
    file = folder / "model.safetensors"
    if not file.is_file():
        raise UserError(f"there is no {file.name} in {folder}; is this the folder you meant?")
    weights = read_header(file)
    check_depth(file, shape.layers, weights)
    network = blank(network_of, shape)
    tied = ties(network)
    if adapt is not None:
        weights = adapt(network, weights)
    if any(differ(weights[head], weights[shared]) for head, shared in tied.items() if {head, shared} <= weights.keys()):
        shape = replace(shape, tied=False)  # what is stored is kept, whatever the configuration says
        network, tied = blank(network_of, shape), {}
    weights = {name: value for name, value in weights.items() if name not in tied}
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if name not in tied}
    problems = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    problems += [f"{name} is not expected" for name in weights.keys() - expected.keys()]
    problems += [
        f"{name} has shape {list(weights[name].shape)}, not {list(size)}"
        for name, size in expected.items()
        if name in weights and weights[name].shape != size
    ]
    problems += [
        f"{name} is stored as {value.dtype}, not as one of {', '.join(DTYPES)}"
        for name, value in weights.items()
        if value.dtype not in DTYPES
    ]
    if problems:
        raise UserError(f"{file} does not fit config.json: {'; '.join(sorted(problems)[:3])}")
    stream([Move(name, stored, (name,), None) for name, stored in weights.items()], network, shape, device, dtype)
    return TextDenoiser(network.eval(), codec, response_length, config.get("card", {}))


def check_depth(file: Path, layers: int, names: Iterable[str]) -> None:
    """Raise UserError, before a network is built, if it would have more blocks than there are in the file."""
    blocks = {int(part[1]) for name in names if (part := re.match(r"blocks\.(\d{1,9})\.", name))}
    if layers > len(blocks):
        raise UserError(
            f"{file} does not fit config.json: of {layers} layers it holds {len(blocks)}, "
            f"blocks.{len(blocks)} is missing"
        )


class Shape(NamedTuple):
    """How to build a network, and its configuration."""

    network: Callable[[Any], Network]
    config: Any


def read_shape(path: Path, config: dict[str, Any]) -> tuple[Shape, int]:
    """From the config.json at `path`: the network, and the response length. Raises UserError naming what is wrong."""
    if config.get("format") != FORMAT:
        raise UserError(
            f"{path} is not a denoiser of unmask (format {config.get('format')!r}); "
            "fit one with `unmask fit`"
        )
    if config.get("version") != VERSION:
        raise UserError(
            f"{path} is of version {config.get('version')!r}, this unmask reads version {VERSION}; "
            "save it again with a matching release"
        )
    if extra := sorted(set(config) - {"format", "version", "architecture", "network", "response_length", "card"}):
        raise UserError(f"{path} has unknown entries {brief(extra)}; it is of another version")
    kind = config.get("architecture", "transformer")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise UserError(f"{path} is of architecture {brief(kind)}, this unmask reads {', '.join(ARCHITECTURES)}")
    shape = read_config(path, config, "network", ARCHITECTURES[kind].config)
    response_length = config.get("response_length")
    if type(response_length) is not int or not 1 <= response_length <= LARGEST:
        raise UserError(f"{path} is damaged: response_length cannot be {brief(response_length)}")
    read_card(path, config)
    return Shape(ARCHITECTURES[kind].network, shape), response_length


def read_card(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What is known of a denoiser or an order. Raises UserError if it is no object."""
    card = config.get("card", {})
    if not isinstance(card, dict):
        raise UserError(f"{path} is damaged: card cannot be {brief(card)}")
    return card


def read_config(
    path: Path, config: dict[str, Any], entry: str, kind: type[Config], later: Collection[str] = ()
) -> Config:
    """The dataclass `kind` from `config[entry]`. Raises UserError naming the file `path` if it does not fit.

    later: fields that older files lack, besides those marked `NEW`.
    """
    values = config.get(entry)
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it has no `{entry}`; copy it again from where it came")
    unknown = set(values) - set(signature(kind).parameters)
    if unknown:
        raise UserError(f"{path} has unknown {entry} entries {brief(sorted(unknown))}")
    # all are written always; one that was lost would be another network, but for those that older files lack
    known = [each for each in fields(kind) if "since" not in each.metadata]  # type: ignore[arg-type]
    if lost := [f"`{each.name}`" for each in known if each.name not in {*values, *later}]:
        raise UserError(f"{path} has a {entry} that cannot be: it has no {', '.join(lost[:3])}; copy it again")
    try:
        return build(kind, values)
    except UserError as error:
        raise UserError(f"{path} has a {entry} that cannot be: {error}") from error


def write_weights(path: Path, weights: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write one safetensors file, for others to read as any other. Raises OSError if the disk refuses."""
    path = Path(path)
    path.touch()
    mode = path.stat().st_mode  # what a new file gets here; the library's own is for its owner alone
    try:
        save_file(weights, path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(str(error).removeprefix("Error while serializing: ")) from error
    path.chmod(mode)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of one safetensors file. Raises UserError if it is missing, truncated or something else."""
    if not path.is_file():
        raise UserError(f"there is no {path.name} in {path.parent}; is this the folder you meant?")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error) from error
