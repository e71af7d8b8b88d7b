"""What a model was trained with: versions of libraries, and the commit of the code."""

import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import torch

from nowcast.version import __version__

CHECKOUT = Path(__file__).parents[2]


@cache
def versions() -> dict[str, str]:
    """Return the versions recorded with a run; `commit` only if nowcast runs from a checkout."""
    found = {
        "nowcast": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    commit = commit_of(CHECKOUT)
    return found if commit is None else {**found, "commit": commit}


def commit_of(checkout: Path) -> str | None:
    """Return the commit of a checkout, with "+" if files differ from it; None if there is no
    checkout or git fails.
    """
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return None
    try:
        called = [
            subprocess.run(
                [git, "-C", str(checkout), *words], capture_output=True, text=True, timeout=60
            )
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    if any(one.returncode for one in called):
        return None
    commit, changed = (one.stdout.strip() for one in called)
    return f"{commit}+" if changed else commit
