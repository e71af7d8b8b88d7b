"""The version of nowcast, its folder, and the name of its distribution."""

from pathlib import Path

__version__ = "0.1.0"
PACKAGE = Path(__file__).parent
DISTRIBUTION = "nowcast-radar"
"""The name of the distribution; `nowcast` on the package index is another project."""


def install_command(extra: str) -> str:
    """Return the command that installs nowcast with an extra of its pyproject.toml."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
