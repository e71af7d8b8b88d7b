"""Checks of addresses (URLs) of data, such as `s3://bucket/rain.zarr`.

Allowed are a few protocols that fetch from a named server, and zip archives there or in a local
file. All others are refused: fsspec has protocols that read local files, log in to other machines,
or follow references in a file.

An address is stored in checkpoints, forecast files and logs, so it must not contain a secret:
neither user and password nor a query, which may contain a signature. Credentials come from
environment variables.
"""

import re
from pathlib import Path

from nowcast.errors import ConfigError

SERVERS = ("s3", "gs", "https", "http")
"""The protocols that fetch from a server."""
ARCHIVE = "zip"
_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SECRET = re.compile(
    r"\b(?:s3|gs|https?)://"
    r"(?:[^/\s'\"]*@"  # a user before the server
    r"|[^/\s'\"@:]*:(?!\d+(?:/|$))[^\s'\"]*@"  # a password with a slash
    r"|[^\s'\"]*[?&][^\s'\"=]*(?:signature|sig|token|key|password|credential)[^\s'\"=]*=)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PORT = re.compile(r"(?:[^\[\]:]*|\[[0-9A-Fa-f:.]*\])(?::0*([1-9][0-9]{0,4}))?")
_BUCKET = re.compile(r"[\w.-]+")
_ALLOWED = "use s3://, gs://, https://, http://, or zip://inside::… of one of these or of a file"


def is_address(path: str | Path) -> bool:
    """Return whether a path is an address: a URL, or a chain of several."""
    return _PROTOCOL.match(str(path)) is not None or ("::" in str(path) and "://" in str(path))


def holds_secret(text: str) -> bool:
    """Return whether a text contains an address with a user or password before its server, or with
    a signature or key in its query.
    """
    return _SECRET.search(text) is not None


def check_address(address: str, key: str = "data.path") -> None:
    """Errors: ConfigError, without the secret, if nowcast does not accept the address."""
    if _CONTROL.search(address):
        raise ConfigError(
            f"{key}: an address contains a control character, such as a line break; remove it."
        )
    first, *others = address.split("::")
    if len(others) > 1 or (others and not first.startswith(f"{ARCHIVE}://")):
        raise ConfigError(
            f"{key}: {_named(address)} is a chain that nowcast does not support; {_ALLOWED}."
        )
    if first.startswith(f"{ARCHIVE}://"):
        if not others or not others[0]:
            raise ConfigError(
                f"{key}: zip:// names a path inside an archive; also give the archive, as in"
                " zip://rain.zarr::https://host/rain.zip."
            )
        _check_within(first.removeprefix(f"{ARCHIVE}://"), key)
        if not is_address(others[0]):
            return
    _check_server(others[0] if others else first, key)


def _check_server(address: str, key: str) -> None:
    match = _PROTOCOL.match(address)
    protocol = match.group(1) if match else ""
    if protocol not in SERVERS:
        raise ConfigError(f"{key}: nowcast does not support {protocol}://; {_ALLOWED}.")
    server, _, within = address.removeprefix(f"{protocol}://").partition("/")
    if holds_secret(address):
        raise ConfigError(
            f"{key}: a {protocol}:// address contains a password or a signature, which would be"
            " stored with results; leave it out, and give credentials in environment variables"
            f" ({_credentials(protocol)})."
        )
    if protocol in ("http", "https") and ("?" in address or "#" in address):
        raise ConfigError(
            f"{key}: an address of {server} has a query or a fragment, which may contain a"
            " signature and would be stored with results; give one without."
        )
    if not server or (protocol in ("s3", "gs") and not _BUCKET.fullmatch(server)):
        raise ConfigError(f"{key}: {protocol}:// needs a {_kind_of_server(protocol)} name first.")
    if protocol in ("http", "https") and not _has_possible_port(server):
        raise ConfigError(
            f"{key}: the port of a {protocol}:// address must be a number from 1 to 65535; correct"
            " it, or leave it out."
        )
    _check_within(within, key)


def _has_possible_port(server: str) -> bool:
    """Return whether a server has a valid port, or none."""
    match = _PORT.fullmatch(server)
    return match is not None and int(match[1] or 1) < 2**16


def _check_within(path: str, key: str) -> None:
    if ".." in path.split("/") or "\\" in path:
        raise ConfigError(
            f"{key}: an address must not contain '..' or a backslash; give it in full."
        )


def _named(address: str) -> str:
    """Return the protocols of a chain, for messages."""
    return "::".join(
        match.group(0) if (match := _PROTOCOL.match(part)) else "…" if "/" in part else part[:20]
        for part in address.split("::")
    )


def _kind_of_server(protocol: str) -> str:
    return "bucket" if protocol in ("s3", "gs") else "server"


def _credentials(protocol: str) -> str:
    return {
        "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    }.get(protocol, "NETRC names a file of them")
