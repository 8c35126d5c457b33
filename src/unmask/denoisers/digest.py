"""Two denoisers with the same digest answer alike."""

from unmask.core.digest import digest
from unmask.denoisers.codec import CHAT
from unmask.denoisers.folder import TextDenoiser


def denoiser_digest(denoiser: TextDenoiser) -> str:
    """sha256 of the weights and of how text is read: two denoisers with the same digest answer alike."""
    codec = denoiser.codec
    names = [codec.mask, codec.end, codec.pad, codec.template, *codec.stops]
    if codec.template == CHAT and codec.chat is not None:
        names += [codec.chat.source, *(word for pair in codec.chat.tokens for word in pair)]
    return digest([denoiser.network, codec.tokenizer.to_str(), names])
