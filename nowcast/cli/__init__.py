"""The command line: a Typer app, Hydra for its configuration, and errors as exit codes."""

from nowcast.cli.process import main

__all__ = ["main"]

FACE: dict[str, str] = {}
"""No modules: other rooms import only this one."""
