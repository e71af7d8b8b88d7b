"""Where `torch.compile` keeps what it made: in a folder of the user's own, because it loads and
runs what it finds there.

PyTorch's default is /tmp/torchinductor_USER: anyone may make that folder first, and put code into
it.
"""

import atexit
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

_INDUCTOR, _TRITON = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def keep_cache_private() -> None:
    """Name the folders of Inductor and Triton in the environment, each unless the user has."""
    missing = [name for name in (_INDUCTOR, _TRITON) if not os.environ.get(name)]
    if not missing:
        return
    folder = private_folder()
    for name in missing:
        os.environ[name] = str(folder / {_INDUCTOR: "inductor", _TRITON: "triton"}[name])


def private_folder() -> Path:
    """`nowcast` in the user's folder of caches; a folder for this process only, removed at its
    end, if that cannot be private.
    """
    try:
        folder = _caches() / "nowcast"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (folder, folder / "inductor", folder / "triton"):
            part.mkdir(mode=0o700, exist_ok=True)
            _refuse_shared(part)
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        folder = Path(tempfile.mkdtemp(prefix="nowcast-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        log.info("compiled kernels are kept for this process only: %s", error)
        return folder


def _caches() -> Path:
    """XDG_CACHE_HOME, which must be absolute to count, or ~/.cache."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def _refuse_shared(folder: Path) -> None:
    """Errors: PermissionError where another user owns the folder or may write in it, or this
    one may not; OSError.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        raise PermissionError(f"{folder}: is not a folder of this user's own.")
    if about.st_mode & _OTHERS_MAY_WRITE:
        raise PermissionError(
            f"{folder}: other users may write in it; take that away with chmod 700."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: cannot be written.")
