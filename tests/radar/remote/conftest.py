"""Servers on this machine: one of plain HTTP, and one of S3."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import Handler, Web

for library in ("zarr", "fsspec", "aiohttp"):
    pytest.importorskip(library)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    served = Web("", tmp_path / "served")
    served.folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, web=served))
    server.daemon_threads = True
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], str]:
    """Put a folder or file into a bucket. → its address."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "the-key-of-a-test",
        "AWS_SECRET_ACCESS_KEY": "the-secret-of-a-test", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="radar")

    def put(path: Path, key: str) -> str:
        files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        for file in files:
            within = f"{key}/{file.relative_to(path)}" if path.is_dir() else key
            client.upload_file(str(file), "radar", within)
        return f"s3://radar/{key}"

    return put


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    """Start a new reading process for each test, since it keeps its environment."""
    from nowcast.untrusted import isolation

    isolation._state.drop()
    yield
    isolation._state.drop()
