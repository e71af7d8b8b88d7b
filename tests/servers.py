"""A server of plain HTTP on this machine, with the troubles of a network, and a Zarr store to serve."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

FRAMES, SIZE = 30, 12
RAIN = (np.arange(FRAMES * SIZE * SIZE).reshape(FRAMES, SIZE, SIZE) % 700).astype(np.uint16)
"""In hundredths of mm/h, a frame each 5 minutes from 2020-01-01 on."""


@dataclass
class Web:
    """folder: what is served at `address`. asked: (method, path) of each request.

    trouble: by a part of a path, what becomes of a request: a status, "slow", "cut" or
    "to URL".
    """

    address: str
    folder: Path
    asked: list[tuple[str, str]] = field(default_factory=list)
    trouble: dict[str, int | str] = field(default_factory=dict)

    def count(self, part: str, method: str = "GET") -> int:
        return sum(part in path and method == asked for asked, path in self.asked)


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, web: Web, **more: Any) -> None:
        self.web = web
        super().__init__(*args, directory=str(web.folder), **more)

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.web.asked.append(("HEAD", self.path))
        self._answer(super().do_HEAD)

    def do_GET(self) -> None:
        self.web.asked.append(("GET", self.path))
        self._answer(super().do_GET)

    def _answer(self, plainly: Callable[[], None]) -> None:
        trouble = next((it for part, it in self.web.trouble.items() if part in self.path), None)
        if isinstance(trouble, int):
            self.send_error(trouble)
        elif trouble == "slow":
            time.sleep(3)
            self.close_connection = True
        elif isinstance(trouble, str) and trouble.startswith("to "):
            self.send_response(302)
            self.send_header("Location", trouble.removeprefix("to "))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif trouble == "cut" and self.command == "GET":
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            plainly()


def write_zarr(
    path: Path, version: int = 3, *, consolidated: bool = True, sharded: bool = False
) -> Path:
    """RAIN as a store of chunks of 5 frames, in shards of 10 if so asked."""
    import warnings

    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=version)

    def add(name: str, values: Any, dims: tuple[str, ...], **attrs: Any) -> None:
        about: dict[str, Any] = {"dimension_names": dims} if version == 3 else {}
        if values.ndim == 3:
            about |= {"chunks": (5, SIZE, SIZE)}
            about |= {"shards": (10, SIZE, SIZE)} if sharded else {}
        array = root.create_array(
            name, shape=values.shape, dtype=values.dtype, fill_value=None, **about
        )
        array.attrs.update(attrs if version == 3 else {**attrs, "_ARRAY_DIMENSIONS": list(dims)})
        array[:] = values

    metres = np.arange(SIZE) * 1000.0
    add("time", np.arange(FRAMES) * 5, ("time",), units="minutes since 2020-01-01", axis="T",
        standard_name="time")  # fmt: skip
    for name, axis in (("y", "Y"), ("x", "X")):
        add(name, metres, (name,), units="m", axis=axis,
            standard_name=f"projection_{name}_coordinate")  # fmt: skip
    add("rain", RAIN, ("time", "y", "x"), units="mm h-1", standard_name="rainfall_rate",
        scale_factor=0.01)  # fmt: skip
    if consolidated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path)
    return path
