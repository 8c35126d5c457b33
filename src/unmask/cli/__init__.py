"""Layer 3: the command line, one file per verb."""

from unmask.cli.main import main

__all__ = ["main"]
