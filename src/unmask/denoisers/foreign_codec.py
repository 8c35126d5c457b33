"""How a foreign checkpoint reads text: its own tokenizer, and what its family calls the special tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from unmask.core.errors import UserError
from unmask.core.files import read_json
from unmask.denoisers.codec import Codec, read_names, read_tokenizer
from unmask.denoisers.network import NetworkConfig


def make_codec(folder: Path, frame: Mapping[str, Any], chat: str | None, config: NetworkConfig) -> Codec:
    """The tokenizer of a folder with the special tokens of its family, or those a codec.json beside it names instead.

    frame: entries of a codec.json. chat: the template where the tokenizer has a chat template.
    A mask token the tokenizer has not got gets the next id. Raises UserError if that is not the network's, if the
    tokenizer has more tokens than the network, or lacks one of the others.
    """
    names = {**frame}
    if chat is not None and has_chat_template(folder):
        names["template"] = chat
    if (folder / "codec.json").is_file():
        names |= read_names(folder / "codec.json")
    tokenizer = find_tokenizer(folder)
    own, mask = int(tokenizer.get_vocab_size()), config.mask_token
    if tokenizer.token_to_id(names["mask"]) is None:
        tokenizer.add_special_tokens([AddedToken(names["mask"], special=True, normalized=False)])
    codec = Codec(tokenizer, **names)
    if codec.mask_token != mask:
        raise UserError(
            f"the tokenizer in {folder} has {own} tokens, with the mask token {codec.mask} at {codec.mask_token}, but "
            f"the weights have it at {mask}; they belong to different checkpoints"
        )
    if codec.vocabulary > config.vocabulary:
        raise UserError(
            f"the tokenizer in {folder} has {own} tokens but the embedding has {config.vocabulary} rows; they "
            "belong to different checkpoints"
        )
    for token in (codec.end, codec.pad, *codec.stops):
        if tokenizer.token_to_id(token) is None:
            raise UserError(
                f"the tokenizer in {folder} has no token {token}; name the right one in a codec.json beside it, "
                f'e.g. {{"end": "</s>"}}'
            )
    return codec


def find_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder. Raises UserError if there is none."""
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"there is no tokenizer.json in {folder}; copy the one of the checkpoint there")
    return read_tokenizer(folder / "tokenizer.json")


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer was made for conversations."""
    if (folder / "chat_template.jinja").is_file():
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(read_json(path).get("chat_template"))


def token_of(folder: Path, token: str) -> int:
    """The id of a token, for families whose config.json does not say it. Raises UserError if there is none."""
    found = find_tokenizer(folder).token_to_id(token)
    if found is None:
        raise UserError(f"the tokenizer in {folder} has no token {token}; it belongs to another checkpoint")
    return int(found)
