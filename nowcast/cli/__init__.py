"""The command line: Typer outside, Hydra within, and our errors as exit codes."""

from nowcast.cli.process import main

__all__ = ["main"]
