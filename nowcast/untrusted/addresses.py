"""Addresses of data that lie elsewhere, as `s3://bucket/rain.zarr`: what one may be.

Allowed are a few protocols that fetch from a named server, and an archive there or here. All else
is refused by its name: fsspec knows protocols that read local files, log in to other machines, or
follow references that a file holds.

An address is stored in checkpoints, forecast files and logs, so it may hold no secret: neither user
and password nor a query, in which signatures travel. Credentials come from the environment.
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
    r"|[^/\s'\"@:]*:(?!\d+(?:/|$))[^\s'\"]*@"  # a password that holds a slash
    r"|[^\s'\"]*[?&][^\s'\"=]*(?:signature|sig|token|key|password|credential)[^\s'\"=]*=)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PORT = re.compile(r"(?:[^\[\]:]*|\[[0-9A-Fa-f:.]*\])(?::0*([1-9][0-9]{0,4}))?")
_BUCKET = re.compile(r"[\w.-]+")
_ALLOWED = "use s3://, gs://, https://, http://, or zip://inside::… of one of these or of a file"


def is_address(path: str | Path) -> bool:
    """Return whether a path is an address: it names a protocol, or chains several."""
    return _PROTOCOL.match(str(path)) is not None or ("::" in str(path) and "://" in str(path))


def holds_secret(text: str) -> bool:
    """Return whether a text holds an address with a user or password before its server, or with a
    signature or key behind it.
    """
    return _SECRET.search(text) is not None


def check_address(address: str, key: str = "data.path") -> None:
    """Errors: ConfigError, without the secret, if the address is none that nowcast follows."""
    if _CONTROL.search(address):
        raise ConfigError(
            f"{key}: an address holds a control character, as the end of a line; give it without."
        )
    first, *others = address.split("::")
    if len(others) > 1 or (others and not first.startswith(f"{ARCHIVE}://")):
        raise ConfigError(
            f"{key}: {_named(address)} chains what nowcast does not chain; {_ALLOWED}."
        )
    if first.startswith(f"{ARCHIVE}://"):
        if not others or not others[0]:
            raise ConfigError(
                f"{key}: zip:// says what lies in an archive; give the archive, too, as"
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
        raise ConfigError(f"{key}: {protocol}:// is no protocol that nowcast follows; {_ALLOWED}.")
    server, _, within = address.removeprefix(f"{protocol}://").partition("/")
    if holds_secret(address):
        raise ConfigError(
            f"{key}: a {protocol}:// address holds a password or a signature, which would be"
            " stored with results; leave it out, and give credentials by the environment"
            f" ({_credentials(protocol)})."
        )
    if protocol in ("http", "https") and ("?" in address or "#" in address):
        raise ConfigError(
            f"{key}: an address of {server} has a query or a fragment, in which a signature may be"
            " stored with results; give one without."
        )
    if not server or (protocol in ("s3", "gs") and not _BUCKET.fullmatch(server)):
        raise ConfigError(f"{key}: {protocol}:// names no {_kind_of_server(protocol)} first.")
    if protocol in ("http", "https") and not _has_possible_port(server):
        raise ConfigError(
            f"{key}: the port of a {protocol}:// address is a number from 1 to 65535; give one, or"
            " none."
        )
    _check_within(within, key)


def _has_possible_port(server: str) -> bool:
    """Whether a server has a port that there may be, or none."""
    match = _PORT.fullmatch(server)
    return match is not None and int(match[1] or 1) < 2**16


def _check_within(path: str, key: str) -> None:
    if ".." in path.split("/") or "\\" in path:
        raise ConfigError(f"{key}: an address may not hold '..' or a backslash; give it in full.")


def _named(address: str) -> str:
    """The protocols of a chain."""
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
