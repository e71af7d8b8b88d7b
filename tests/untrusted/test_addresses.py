"""What an address may be: a few protocols that fetch from a server, and nothing that is secret."""

import pytest

from nowcast.errors import ConfigError
from nowcast.untrusted.addresses import check_address, holds_secret, is_address


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/2018/*.nc", "s3://bucket/rain_?.nc", "gs://bucket/rain.zarr",
        "https://host:8080/a/rain.nc", "https://host:65535/x", "http://[1:2:3:4:5:6:7:8]:80/x",
        "http://[1:2:3:4:5:6:7:8]/x", "http://host/rain.zarr", "zip://rain.zarr::rain.zip",
        "zip://::/abs/rain.zip", "zip://a/rain.nc::https://host/rain.zip",
    ],
)  # fmt: skip
def test_servers_and_archives_are_followed(address: str) -> None:
    assert is_address(address)
    check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd", "local://x", "reference:///refs.json", "memory://x", "ssh://host/x",
        "sftp://host/x", "ftp://host/x", "github://a:b@main/x", "data://x", "hdfs://host/x",
        "simplecache::s3://bucket/x", "filecache::file:///etc/passwd", "blockcache::https://h/x",
        "zip://x::file:///etc/passwd", "zip://x::reference://y", "zip://x",
        "zip://x::simplecache::s3://bucket/x", "tar://x::s3://bucket/x", "dir::file:///etc",
        "zip://x::zip://y::s3://bucket/z", "S3://bucket/x", "s3://bucket/../other", "s3:///x",
        "https:///etc/passwd", "zip://../x::s3://bucket/x.zip",
        "https://host/a\nb.nc", "s3://bucket/a\x7f", "zip://a\tb::https://host/x.zip",
        "http://host:0/x", "http://host:65536/x", "http://host:port/x", "http://host:/x",
        "https://host:-1/x", "https://host:80:80/x", "http://[1:2:3:4:5:6:7:8]:99999/x",
    ],
)  # fmt: skip
def test_all_else_is_refused_by_name(address: str) -> None:
    assert is_address(address)
    with pytest.raises(ConfigError, match=r"^data\.path: "):
        check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@host/x", "http://hunter2@host/x", "s3://key:hunter2@bucket/x",
        "https://host/x?X-Amz-Signature=hunter2", "https://host/x#hunter2",
        "zip://x::https://user:hunter2@host/x.zip",
    ],
)  # fmt: skip
def test_an_address_that_holds_a_secret_is_refused_without_telling_it(address: str) -> None:
    with pytest.raises(ConfigError) as told:
        check_address(address)
    assert "hunter2" not in str(told.value)


def test_a_secret_is_seen_in_any_word_and_other_signs_are_none() -> None:
    assert holds_secret("data.path=https://user:pass@host/x")
    assert holds_secret("http://user:pass/word@host/x.zarr")
    assert holds_secret("https://host/x.zarr?X-Amz-Signature=abc")
    assert holds_secret("HTTPS://host/x?sv=1&sig=abc")
    assert not holds_secret("data.path=s3://bucket/a@b.nc")
    assert not holds_secret("http://localhost:8000/a@b.nc")
    assert not holds_secret("https://host/about?lang=de")
    assert not holds_secret("hydra.sweeper.storage=postgresql://user:pass@host/study")


@pytest.mark.parametrize("path", ["radar/%Y/*.nc", "/abs/a::b.nc", "c:/x", "s3:/bucket"])
def test_a_local_path_is_none(path: str) -> None:
    assert not is_address(path)
