"""Which files a path means: a file, a folder, a glob, or a pattern of times that is followed without listing the world."""

import glob
from pathlib import Path

import numpy as np

from nowcast.errors import MissingInputError
from nowcast.radar.formats import FORMATS, bare_suffix

Span = tuple[np.datetime64, np.datetime64]


def find_files(path: str | Path, period: Span | None = None, form: str = "auto") -> list[Path]:
    """The radar files that `path` means, sorted by name. Errors: MissingInputError where there are none."""
    whole = Path(path).expanduser()
    suffixes = {suffix for name, known in FORMATS.items() if form in ("auto", name) for suffix in known.suffixes}
    if whole.is_dir() and not (whole / "zarr.json").exists():
        inside = [f for f in whole.rglob("*") if f.is_file() and bare_suffix(f) in suffixes and not f.name.startswith(".")]
        if not inside:
            raise MissingInputError(f"{path}: no radar file in this folder or below; check the path.")
        return sorted(inside)
    if whole.exists():
        return [whole]
    if glob.has_magic(str(whole)):
        matching = sorted(Path(f) for f in glob.glob(str(whole), recursive=True) if Path(f).is_file())
        if matching:
            return matching
        raise MissingInputError(f"{path}: no file matches this pattern; check it, and quote it on the command line.")
    raise MissingInputError(f"{path}: no such file or folder; check the path, or run 'nowcast fetch' for the sample.")
