"""Layer 3: the command line, one file per verb."""

from unmask.cli.entry import main

__all__ = ["main"]
