"""Keep the cache of `torch.compile` in a private folder of the user, because PyTorch loads and
runs the code that it finds there.

PyTorch's default is /tmp/torchinductor_USER: any user could create that folder first and put code
into it.
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
    """Set the environment variables for the caches of Inductor and Triton, unless already set."""
    missing = [name for name in (_INDUCTOR, _TRITON) if not os.environ.get(name)]
    if not missing:
        return
    folder = private_folder()
    for name in missing:
        os.environ[name] = str(folder / {_INDUCTOR: "inductor", _TRITON: "triton"}[name])


def private_folder() -> Path:
    """Return the folder `nowcast` in the user's cache folder. If it cannot be private, return a
    temporary folder that is removed when this process ends.
    """
    try:
        folder = _caches() / "nowcast"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (folder, folder / "inductor", folder / "triton"):
            part.mkdir(mode=0o700, exist_ok=True)
            _refuse_shared(part)
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        folder = Path(tempfile.mkdtemp(prefix="nowcast-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        log.info("compiled kernels are cached for this process only: %s", error)
        return folder


def _caches() -> Path:
    """Return XDG_CACHE_HOME if it is an absolute path, else ~/.cache."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def _refuse_shared(folder: Path) -> None:
    """Check that only this user owns the folder and may write to it.

    Errors: PermissionError if not; OSError.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        raise PermissionError(f"{folder}: is not a folder owned by this user.")
    if about.st_mode & _OTHERS_MAY_WRITE:
        raise PermissionError(
            f"{folder}: other users may write to it; prevent that with chmod 700."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: is not writable.")
