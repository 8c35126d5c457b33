"""A compiled denoiser: the same answers up to rounding, sooner once the compiler has run.

Worth it where one process decodes for minutes (a bench, a server): the first answer waits for the compiler. Decoding
meets many shapes, since batches shrink and prompts differ: batch and length are kept symbolic, and lengths are padded
to a multiple so that the compiler and the memory allocator meet fewer of them.
"""

import copy
import os
import shutil
from dataclasses import replace

import torch

from unmask.core.errors import UserError
from unmask.denoisers.folder import TextDenoiser

MULTIPLE = 16  # columns


def compiled(denoiser: TextDenoiser) -> TextDenoiser:
    """A denoiser with the same weights whose trunk is compiled at its first call; the one given stays as it is.

    Raises UserError if the network has no part to compile, or on a CPU without a C++ compiler.
    """
    network = copy.copy(denoiser.network)  # the module, not its weights
    if not hasattr(network, "trunk"):
        raise UserError(f"{type(network).__name__} has no `trunk` to compile; decode without compiling")
    if denoiser.device.type == "cpu":
        check_compiler("decode without compiling")
    network.trunk = torch.compile(network.trunk, dynamic=True)
    return replace(denoiser, network=network, multiple=MULTIPLE)


def check_compiler(otherwise: str) -> None:
    """Raise UserError, with what to do otherwise, where torch would find no C++ compiler."""
    if not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))):
        raise UserError(f"compiling needs a C++ compiler and there is none; install g++ or {otherwise}")
