"""Layer 3: the command line, one file per verb."""

import sys
from types import ModuleType

from unmask.cli.entry import main

__all__ = ["main"]


class _Package(ModuleType):
    """Its `main` stays the command when the file of that name is imported, which would take its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "main" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
