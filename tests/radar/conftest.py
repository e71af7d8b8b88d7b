"""Tiny NetCDF files, written by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write("a.nc", values, minutes)`: `values` (time, y, x), or (y, x) with a scalar time, at
    `minutes` since 2020-01-01.
    """

    def write_file(
        name: str,
        values: Any,
        minutes: Any = None,
        *,
        variable: str = "rain",
        time_attrs: dict[str, Any] | None = None,
        form: str = "NETCDF4",
        extra: Callable[[netCDF4.Dataset], None] | None = None,
        **attrs: Any,
    ) -> Path:
        values = np.asarray(values)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        times = np.asarray(np.arange(len(values)) * 5 if minutes is None else minutes)
        with netCDF4.Dataset(path, "w", format=form) as file:
            dims = {1: ("time",), 2: ("y", "x"), 3: ("time", "y", "x")}[values.ndim]
            for dim, size in zip(dims, values.shape, strict=True):
                file.createDimension(dim, size)
            time = file.createVariable("time", times.dtype, ("time",) if times.ndim else ())
            time.setncatts({"units": "minutes since 2020-01-01", **(time_attrs or {})})
            time[...] = times
            fill = attrs.pop("_FillValue", None)
            endian = "big" if values.dtype.byteorder == ">" else "native"
            rain = file.createVariable(variable, values.dtype, dims, fill_value=fill, endian=endian)
            rain.setncatts(
                {
                    name: value
                    for name, value in {"units": "mm h-1", **attrs}.items()
                    if value is not None
                }
            )
            rain.set_auto_maskandscale(False)
            rain[...] = values
            if extra is not None:
                extra(file)
        return path

    return write_file


@pytest.fixture
def ramp() -> np.ndarray:
    """Frame k is k everywhere: (6, 3, 4) float32."""
    return np.arange(6, dtype=np.float32)[:, None, None] * np.ones((1, 3, 4), np.float32)
