"""The command line: Typer outside, Hydra within, and our errors as exit codes."""

from nowcast.cli.process import main

__all__ = ["main"]

FACE: dict[str, str] = {}
"""No module: other rooms import this one only."""
