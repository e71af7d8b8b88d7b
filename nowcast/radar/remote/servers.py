"""Access to servers by address, and error messages for their answers.

Credentials come only from the environment: AWS_ACCESS_KEY_ID etc. (without them S3 is read
anonymously), GOOGLE_APPLICATION_CREDENTIALS, and the netrc file for HTTP.
"""

import errno
import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

from nowcast.errors import (
    DataError,
    InputOutputError,
    MissingInputError,
    MissingLibraryError,
    NowcastError,
    TryLaterError,
)
from nowcast.radar.reading.storage import first_line, library

CONNECTING, READING = 10.0, 30.0
"""Timeouts in seconds for the server to answer, and to send the next bytes."""
MOST_BYTES = 2**26
"""Maximum size of a metadata file of a Zarr store."""
_NETWORK = ("aiohttp", "botocore", "aiobotocore", "urllib3", "gcsfs", "google")
_MACHINE = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.ENFILE}


def open_server(address: str, *, asynchronous: bool = False) -> tuple[Any, str]:
    """Return the fsspec file system for an address, and the path in it.

    Errors: MissingLibraryError naming the extra to install; for an archive see explain_remote.
    """
    fsspec = library("fsspec", "remote", address)
    last = address.rpartition("::")[2]
    protocol = last.partition("://")[0] if "://" in last else ""
    options = _options(protocol, address)
    if asynchronous and "::" not in address:
        options = {**options, "asynchronous": True}
    try:
        fs, path = fsspec.core.url_to_fs(address, **({protocol: options} if protocol else {}))
    except Exception as error:  # an archive is opened here
        raise explain_remote(address, error) from error
    return fs, path


def _options(protocol: str, address: str) -> dict[str, Any]:
    if protocol in ("http", "https"):
        aiohttp = library("aiohttp", "remote", address)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECTING, sock_read=READING, connect=CONNECTING
        )
        return {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    if protocol == "s3":
        library("s3fs", "remote", address)
        waits = {"connect_timeout": CONNECTING, "read_timeout": READING}
        return {
            "anon": not _has_s3_credentials(),
            "config_kwargs": {**waits, "retries": {"max_attempts": 2}},
        }
    if protocol == "gs":
        try:
            import_module("gcsfs")
        except ImportError as error:
            raise MissingLibraryError(
                f"{address}: reading it needs gcsfs: pip install gcsfs."
            ) from error
    return {}


@lru_cache(maxsize=1)
def _has_s3_credentials() -> bool:
    from botocore.session import Session

    for name in ("botocore", "aiobotocore"):  # they log where they found credentials
        logging.getLogger(name).setLevel(logging.WARNING)
    return Session().get_credentials() is not None


def can_list(address: str) -> bool:
    """Return whether the server of an address can list folders; HTTP cannot."""
    return not address.startswith(("http://", "https://"))


def content_of(fs: Any, path: str) -> bytes | None:
    """Return the content of a small file; None if the server says that it does not exist.

    Many servers deny access to missing files, so denied access counts as missing.

    Errors: DataError if it is too large for metadata of a store; errors of the server.
    """
    try:
        content: bytes = fs.cat_file(path)
    except Exception as error:
        if is_absent(error) or is_refused(error):
            return None
        raise
    if len(content) > MOST_BYTES:
        raise DataError(
            f"{path}: metadata of a store larger than {MOST_BYTES / 2**20:g} MiB; check this file."
        )
    return content


def is_absent(error: BaseException) -> bool:
    """Return whether a server answered that something does not exist, not whether it answered."""
    causes = list(_causes(error))
    status = _status_of(causes)
    if status is not None:
        return status in (404, 410)
    absent = any(isinstance(cause, FileNotFoundError | KeyError) for cause in causes)
    return absent and not any(map(_is_of_the_network, causes))


def is_refused(error: BaseException) -> bool:
    """Return whether a server denied access."""
    causes = list(_causes(error))
    is_denied = any(isinstance(cause, PermissionError) for cause in causes)
    return is_denied or _status_of(causes) in (401, 403, 407)


def explain_remote(address: str, error: BaseException) -> NowcastError:
    """Return the error to raise when reading from an address fails.

    Network errors become a TryLaterError. Missing files, denied access and redirections that are
    not followed become a MissingInputError. Errors of this machine (such as a full disk) become an
    InputOutputError, and all others a DataError.
    """
    if isinstance(error, NowcastError):
        return error
    causes = list(_causes(error))
    status = _status_of(causes)
    redirected = next(filter(None, map(_redirected, causes)), None)
    if redirected is not None:
        return MissingInputError(
            f"{address}: {redirected}; give the address of the file or store itself."
        )
    if is_refused(error):
        return MissingInputError(
            f"{address}: the server denies access; check the address, and the credentials in the"
            " environment."
        )
    if status is not None and status not in (404, 410):
        return TryLaterError(f"{address}: the server answers {status}; try again later.")
    away = next((cause for cause in causes if _is_of_the_network(cause)), None)
    if status is None and away is not None:
        return TryLaterError(
            f"{address}: the server cannot be reached, or closed the connection ({_reason(away)});"
            " check the address and the network, or try again later."
        )
    if is_absent(error):
        return MissingInputError(f"{address}: no such file or store there; check the address.")
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in _MACHINE:
            return InputOutputError(
                f"{address}: cannot be read on this machine ({cause.strerror}); check its disk and"
                " its limits, the data may be fine."
            )
    return DataError(f"{address}: cannot be read as radar data ({_reason(error)}).")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _status_of(causes: list[BaseException]) -> int | None:
    return next((one for cause in causes if (one := _status(cause)) is not None), None)


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of aiohttp or botocore."""
    status = getattr(error, "status", None)
    if status is None and isinstance(response := getattr(error, "response", None), dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) and status >= 400 else None


def _redirected(error: BaseException) -> str | None:
    """Return which redirection aiohttp did not follow; None for any other error."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "TooManyRedirects" in kinds:
        return "redirects too often"
    if "RedirectClientError" not in kinds:
        return None
    # only the protocol: the rest of the address may hold a signature
    protocol = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,20}:", str(error))
    return f"redirects to {protocol[0] if protocol else 'no address'}, which is not followed"


def _is_of_the_network(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return False
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return False
    is_theirs = type(error).__module__.partition(".")[0] in _NETWORK
    return is_theirs or isinstance(error, TimeoutError | ConnectionError | OSError)


def _reason(error: BaseException) -> str:
    """Return an error in one line, without the query of an address, which may hold a signature."""
    said = first_line(error) if isinstance(error, Exception) else type(error).__name__
    words = [word.partition("?")[0] if "://" in word else word for word in said.split()]
    return " ".join(words)[:200] or type(error).__name__
