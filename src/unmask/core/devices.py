"""Devices: is it there, and can it do what decoding needs?"""

import torch

from unmask.core.errors import UserError


def check_device(name: str | torch.device) -> None:
    """Raise UserError unless `name` is a device of this machine that computes in float64."""
    try:
        device = torch.device(name)
        if device.type != "mps":  # whose answer is the same wherever it is asked for
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"no device `{name}` on this machine; found {', '.join(usable())}") from error
    check_float64(device)
    if device.type == "meta":
        raise UserError(f"device `{name}` holds shapes and computes nothing; use {' or '.join(usable())}")


def check_float64(device: str | torch.device) -> None:
    """Raise UserError unless a float64 can be made there.

    Draws and the probabilities of whole texts are float64, so that a row's result is the same on every device. Apple's
    `mps` has none.
    """
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError) as error:
        raise UserError(
            f"device `{device}` computes no float64, which random draws need to be the same everywhere; "
            f"use {' or '.join(usable())}"
        ) from error


def usable() -> list[str]:
    """Devices of this machine that do."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
