"""Local copies of files on servers, in a folder of limited size.

    copies/https/host/radar/rain.nc         a copy, at a path made from its address
    copies/https/host/radar/.rain.nc.about  version, size and date given by the server; if these
                                            change, the file is fetched again
    copies/.using-XXXXXXXX                  the copies that a process uses, locked while it runs

A copy is written completely or not at all. When space is needed the least recently used copies are
removed, except those used by a running process.
"""

import atexit
import errno
import fcntl
import json
import logging
import math
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from nowcast.errors import ConfigError, InputOutputError, MissingInputError, TryLaterError
from nowcast.files import only_writer, refuse_fault_of_machine, written_whole
from nowcast.radar.remote.path import RemotePath
from nowcast.radar.remote.servers import explain_remote, open_server
from nowcast.untrusted.isolation import WAITING, isolated

log = logging.getLogger(__name__)

FOLDER = "copies"
_AT_ONCE = 8
"""Most files fetched at a time."""
_BATCH = 2**26
"""Most bytes fetched at a time, unless one file is larger."""
_SLOWEST = 1e5
"""Bytes per second of the slowest server for which the timeout allows."""
_OWN = 3600.0
"""Seconds after which a process may remove a copy that it has not used again."""


@dataclass(frozen=True)
class _Wanted:
    """A file on a server, its version there, and the path of its copy."""

    source: RemotePath
    size: int
    version: str
    changed_ns: int
    copy: Path

    @property
    def about(self) -> Path:
        return self.copy.with_name(f".{self.copy.name}.about")

    def is_there(self) -> bool:
        """Return whether a complete copy of this version exists."""
        with suppress(OSError):
            return self.copy.stat().st_size == self.size and self.about.read_text() == self.version
        return False


def fetched(
    paths: Sequence[Path], cache: str | Path | None = "data/cache", gigabytes: float = 20.0
) -> list[Path]:
    """Return paths to open: addresses of files become local copies, fetched if missing; local paths
    and addresses of stores are unchanged.

    Args:
        paths: from `find_files`.
        cache: the folder that holds the folder of copies.
        gigabytes: maximum size of all copies.

    Raises:
        ConfigError: if `cache` is None, or these files do not fit.
        MissingInputError: if the server does not have a file, or refuses access.
        TryLaterError: if the server cannot be reached or the connection breaks.
        CannotCreateError, InputOutputError: if the folder cannot be written.
    """
    away = [one for one in paths if isinstance(one, RemotePath) and not one.is_dir()]
    if not away:
        return list(paths)
    if cache is None:
        raise ConfigError(
            "data.cache: remote files are fetched into this folder; set it, or give a Zarr store,"
            " which is read in place."
        )
    folder = Path(cache) / FOLDER
    wanted = [_wanted(one, folder) for one in away]
    with only_writer(folder, wait=math.inf):
        try:
            _session.use(folder, [one.copy for one in wanted])
        except OSError as error:
            _refuse_full(cache, "copies", error)
            raise
        missing = [one for one in wanted if not one.is_there()]
        _make_room(folder, wanted, sum(one.size for one in missing), gigabytes)
    if missing:
        size = sum(one.size for one in missing)
        log.info("fetching %d of %d files (%.3g MB)", len(missing), len(wanted), size / 1e6)
    for some in _batches(sorted(missing, key=lambda one: one.copy)):  # locks in one order
        _fetch(some, Path(cache))
    for one in wanted:
        with suppress(OSError):  # the copy belongs to another user
            os.utime(one.copy, ns=(time.time_ns(), one.changed_ns))
    copies = {str(one.source): one.copy for one in wanted}
    return [copies.get(str(one), one) for one in paths]


def _wanted(source: RemotePath, folder: Path) -> _Wanted:
    """Errors: MissingInputError, also if the server does not give the size; TryLaterError."""
    try:
        about = source.info()
    except FileNotFoundError:
        raise MissingInputError(f"{source}: no such file or store there; check it.") from None
    size = about.get("size")
    if size is None:
        raise MissingInputError(
            f"{source}: the server does not give the size of this file; download it yourself."
        )
    keys = ("ETag", "etag", "LastModified", "Last-Modified", "mtime", "updated", "md5Hash")
    told = {key: str(about[key]) for key in keys if about.get(key)}
    version = json.dumps({"address": str(source), "size": size, **told})
    place = str(source).replace("::", "/").replace("://", "/")
    return _Wanted(source, int(size), version, _changed_ns(about, version), folder / place)


def _changed_ns(about: dict[str, Any], version: str) -> int:
    """Return when a file last changed on its server; if unknown, a time made from its version."""
    said = about.get("LastModified") or about.get("Last-Modified") or about.get("mtime")
    with suppress(ValueError, TypeError):
        when = parsedate_to_datetime(said) if isinstance(said, str) else said
        if when is not None:
            return int(when.timestamp()) * 10**9
    return int(sha256(version.encode()).hexdigest()[:7], 16) * 10**9


def _batches(wanted: Sequence[_Wanted]) -> Iterator[list[_Wanted]]:
    """Yield batches of files of limited number and total size."""
    batch: list[_Wanted] = []
    for one in wanted:
        if batch and (len(batch) == _AT_ONCE or sum(b.size for b in batch) + one.size > _BATCH):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _fetch(wanted: Sequence[_Wanted], cache: Path) -> None:
    """Fetch files, each written completely or not at all; skip those that another process has
    fetched meanwhile.
    """
    with ExitStack() as stack:
        for one in wanted:
            folder = one.copy.parent / f".{one.copy.name}.lock.d"
            stack.enter_context(only_writer(folder, wait=math.inf))
        missing = [one for one in wanted if not one.is_there()]
        temporary = [stack.enter_context(written_whole(one.copy)) for one in missing]
        jobs = [
            (str(one.source), str(to), one.size) for one, to in zip(missing, temporary, strict=True)
        ]
        seconds = WAITING + sum(one.size for one in missing) / _SLOWEST
        if jobs:
            isolated(missing[0].source, _get, jobs, str(cache), waiting=seconds)
    for one in missing:
        with written_whole(one.about) as about:
            about.write_text(one.version)


def _get(jobs: Sequence[tuple[str, str, int]], cache: str) -> None:
    """Fetch files concurrently to local paths. Errors: see explain_remote; InputOutputError if the
    disk of the cache is full.
    """
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(partial(_get_one, cache), jobs))


def _get_one(cache: str, job: tuple[str, str, int]) -> None:
    address, local, expected = job
    try:
        fs, path = open_server(address)
        fs.get_file(path, local)
    except Exception as error:
        _refuse_full(cache, f"{address} ({expected / 1e9:.3g} GB)", error)
        refuse_fault_of_machine(local, error)
        raise explain_remote(address, error) from error
    size = os.stat(local).st_size
    if size != expected:
        raise TryLaterError(
            f"{address}: received {size} of {expected} bytes; the file is changing, or the server"
            " closed the connection: try again later."
        )


def _refuse_full(cache: str | Path, what: str, error: Exception) -> None:
    """Errors: InputOutputError if `what` did not fit on the disk of the cache."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise InputOutputError(
            f"data.cache: {cache}: no space left on the disk for {what}; free some space, or give"
            " another folder."
        ) from error


def _make_room(folder: Path, wanted: Sequence[_Wanted], needed: int, gigabytes: float) -> None:
    """Remove the least recently used copies until these fit.

    Errors: ConfigError if they cannot fit; then none is removed.
    """
    limit = gigabytes * 1e9
    copies = sorted(_copies(folder), key=lambda copy: copy.stat().st_atime_ns)
    too_much = sum(copy.stat().st_size for copy in copies) + needed - limit
    if too_much <= 0:
        return
    kept = _session.in_use(folder) | {str(one.copy) for one in wanted}
    removable = [copy for copy in copies if str(copy) not in kept]
    if too_much > sum(copy.stat().st_size for copy in removable):
        raise _no_room(wanted, gigabytes)
    for copy in removable:
        if too_much > 0:
            too_much -= copy.stat().st_size
            copy.unlink()
            copy.with_name(f".{copy.name}.about").unlink(missing_ok=True)
            log.info("removed %s: data.cache_gb=%g", copy, gigabytes)


def _no_room(wanted: Sequence[_Wanted], gigabytes: float) -> ConfigError:
    largest = max(wanted, key=lambda one: one.size)
    size = f"{sum(one.size for one in wanted) / 1e9:.3g} GB"
    told = (
        f"1 file of {size} ({largest.source}) does"
        if len(wanted) == 1
        else f"{len(wanted)} files of {size} (the largest: {largest.source}) do"
    )
    return ConfigError(
        f"data.cache_gb: {told} not fit into {gigabytes:g} GB next to copies in use; increase it,"
        " or read fewer files at a time with a time pattern and a period."
    )


def _copies(folder: Path) -> Iterator[Path]:
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(above, name) for name in names if not name.startswith("."))


class _Session:
    """The copies that this process uses, listed for other processes in a locked file."""

    def __init__(self) -> None:
        self.files: dict[Path, int] = {}
        self.used: dict[str, float] = {}
        self.pid = os.getpid()

    def use(self, folder: Path, copies: Sequence[Path]) -> None:
        now = time.monotonic()
        self.used = {copy: at for copy, at in self.used.items() if now - at < _OWN}
        self.used |= {str(copy): now for copy in copies}
        if folder not in self.files:
            path = folder / f".using-{secrets.token_hex(4)}"
            self.files[folder] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            fcntl.flock(self.files[folder], fcntl.LOCK_EX)
        os.ftruncate(self.files[folder], 0)
        os.pwrite(self.files[folder], "\n".join(self.used).encode(), 0)

    def in_use(self, folder: Path) -> set[str]:
        """Return the copies that running processes use; remove the lists of ended processes."""
        found = set(self.used)
        for path in folder.glob(".using-*"):
            file = os.open(path, os.O_RDWR)
            try:
                if self._is_own(folder, file):
                    continue
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                found |= set(path.read_text().splitlines())
            finally:
                os.close(file)
        return found

    def _is_own(self, folder: Path, file: int) -> bool:
        own = self.files.get(folder)
        return own is not None and os.path.samestat(os.fstat(file), os.fstat(own))

    def end(self) -> None:
        """Release all copies; in a forked process they stay in use by the parent."""
        for folder, file in self.files.items():
            for path in folder.glob(".using-*") if os.getpid() == self.pid else ():
                with suppress(OSError):
                    if os.path.samestat(path.stat(), os.fstat(file)):
                        path.unlink()


_session = _Session()
atexit.register(_session.end)
