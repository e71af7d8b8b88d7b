"""Counts in files: write, read, add.

Counts of rain sums over some minutes are groups of the file, such as `accumulation_30min`. They
have the same form as the counts of rates, which are not in a group.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import xarray as xr

from nowcast.errors import DataError, MissingInputError, NowcastError
from nowcast.files import refuse_fault_of_machine, settled, written_whole
from nowcast.probability.options import RATE_BY
from nowcast.signals import uninterrupted
from nowcast.untrusted.files import refuse_unsound
from nowcast.untrusted.isolation import isolated
from nowcast.verification.remarks import CUTS_FITTED_ON, remarks_attr, remarks_of
from nowcast.verification.tally import DIMS

RATES = ""
"""The key of the counts of rates in the counts of a file."""
NO_AMOUNTS: Mapping[str, xr.Dataset] = MappingProxyType({})
_ALIKE = ("forecast", "lead_time", "threshold", "scale", "wavenumber", "members")
"""What added counts must have in common; `has_probabilities` too, if any of them has it."""
_ALIKE_ATTRS = ("timed", "common_pixels", "grid", "pixels", "region")
_OF_A_BLOCK = ("observed_wet", "observed_covered", "total", "minutes", "cases", "unscored_cases")
_WHOLE = {
    "joint",
    "frames",
    "missing",
    "fss_difference",
    "fss_reference",
    "probability",
    "rank",
    "crps_pixels",
    "members",
    "has_probabilities",
    *_OF_A_BLOCK,
}
"""Whole numbers, which are counted; all others are sums of float64."""
_SUMS = """squared_error absolute_error error forecast_sum observed_sum forecast_square
    observed_square product weighted_squared_error
    weighted_absolute_error forecast_power observed_power"""
_ALWAYS = {"joint", "frames", "missing", "block", *_OF_A_BLOCK, *_ALIKE, *_SUMS.split()} - {"scale"}
"""What every counts file contains."""
_SINCE_FRAMES = {"frames", "unscored_cases"}
"""What the counts files of earlier versions lack."""


def write_counts(
    counts: xr.Dataset, path: str | Path, amounts: Mapping[str, xr.Dataset] = NO_AMOUNTS
) -> Path:
    """Write counts, and those of rain sums by group, completely or not at all, compressed.

    Errors: CannotCreateError, InputOutputError.
    """
    with written_whole(path) as temporary, uninterrupted():
        _append(counts, temporary, None)
        for group, one in amounts.items():
            _append(one, temporary, group)
    return Path(path)


def _append(counts: xr.Dataset, path: Path, group: str | None) -> None:
    stored = {
        name: {"zlib": True, "complevel": 4, "shuffle": True}
        for name in counts.data_vars
        if counts[name].ndim > 2
    }
    clock = {"units": "hours since 1970-01-01 00:00:00", "dtype": "int64"}
    mode: Literal["a", "w"] = "a" if group else "w"
    encoding: dict[Any, dict[str, Any]] = {**stored, "block": clock}
    counts.to_netcdf(path, mode=mode, group=group, engine="netcdf4", encoding=encoding)


def open_counts(path: str | Path) -> xr.Dataset:
    """Read the counts of rates in a counts file into memory.

    Errors: MissingInputError, InputOutputError, DataError.
    """
    return open_all_counts(path)[RATES]


def open_all_counts(path: str | Path) -> dict[str, xr.Dataset]:
    """Read a whole counts file into memory: the counts of rates under `RATES`, and those of rain
    sums by group.

    Errors: MissingInputError, InputOutputError, DataError.
    """
    path = settled(Path(path))
    if not path.is_file():
        raise MissingInputError(
            f"{path}: no such counts file; give a counts.nc that 'nowcast evaluate' wrote."
        )
    try:
        groups = isolated(path, _load, path)
    except NowcastError:
        raise
    except PermissionError as error:
        raise MissingInputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error
    except Exception as error:  # libraries raise many kinds for a file that they cannot read
        refuse_fault_of_machine(path, error)
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition(
            "\n"
        )[0]
        raise DataError(f"{path}: not a whole NetCDF file ({reason}); evaluate again.") from error
    return {name: _checked(counts, path) for name, counts in groups.items()}


def _checked(counts: xr.Dataset, path: Path) -> xr.Dataset:
    """Return the counts of a file in the form of this version. Errors: DataError."""
    lacking = _ALWAYS - set(map(str, counts.variables))
    if lacking == _SINCE_FRAMES and {*_ALIKE_ATTRS} <= set(counts.attrs):
        counts, lacking = _with_frames(counts, path), set()
    if lacking or not {*_ALIKE_ATTRS} <= set(counts.attrs):
        raise DataError(
            f"{path}: not a counts file (it lacks {', '.join(sorted(lacking)) or 'attributes'});"
            " give a counts.nc."
        )
    if "crps_error" in counts and "crps_pixels" not in counts:  # earlier versions: all pixels
        pixels = counts["joint"].sum(("forecast_class", "observed_class"))
        counts = counts.assign(crps_pixels=pixels)
    problem = _problem(counts)
    if problem:
        raise DataError(f"{path}: not as 'nowcast evaluate' wrote it ({problem}); evaluate again.")
    return counts


def _load(path: Path) -> dict[str, xr.Dataset]:
    refuse_unsound(path)
    groups = xr.open_groups(path.absolute(), engine="netcdf4")
    try:
        return {name.strip("/"): group.load() for name, group in groups.items()}
    finally:
        for group in groups.values():
            group.close()


def _with_frames(counts: xr.Dataset, path: Path) -> xr.Dataset:
    """Add to the counts of an earlier version the number of frames with a scored pixel, if it
    follows from them.

    A frame has a known number of pixels. So if more pixels were counted than all cases but one
    could have, all cases have scored pixels.
    Errors: DataError if it does not follow.
    """
    cases, pixels = counts["cases"], counts["joint"].sum(("forecast_class", "observed_class"))
    all_scored = pixels > (cases - 1) * counts.attrs["pixels"]
    unclear = ~(all_scored | (pixels == 0)).transpose("block", ...).values
    if unclear.any():
        hour = counts["block"].values[unclear.reshape(len(unclear), -1).any(axis=1)][0]
        raise DataError(
            f"{path}: counts of an earlier version, which do not show how many of the cases of"
            f" {hour:.13} h UTC have a scored pixel; evaluate these cases again."
        )
    frames = cases.where(all_scored, 0).transpose(*pixels.dims).astype(np.int64)
    scored = frames.max(("forecast", "lead_time"))
    return counts.assign(frames=frames, cases=scored, unscored_cases=cases - scored)


def _problem(counts: xr.Dataset) -> str:
    """Return what no tally could have counted, in a file changed or made by another program; empty
    if there is nothing.
    """
    for key, one in counts.data_vars.items():
        if one.dims != _dims_of(str(key)):
            return f"{key} lies over {', '.join(map(str, one.dims)) or 'nothing'}"
        if one.dtype != (np.int64 if key in _WHOLE else np.float64):
            return f"{key} is of {one.dtype}"
        if key in _WHOLE and key != "minutes" and (one.values < 0).any():
            return f"{key} is below 0"
    classes = counts.sizes["threshold"] + 1
    if counts["joint"].shape[-2:] != (classes, classes):
        return f"joint has {counts['joint'].shape[-1]} classes for {classes - 1} thresholds"
    if (
        not counts.sizes["block"]
        or counts["block"].dtype.kind != "M"
        or np.any(np.diff(counts["block"].values) <= np.timedelta64(0))
    ):
        return "its blocks are not rising hours"
    return ""


def _dims_of(key: str) -> tuple[str, ...]:
    if key in _OF_A_BLOCK:
        return ("block",)
    if key in ("members", "has_probabilities"):
        return ("forecast",)
    if key == "missing":
        return ("forecast", "block")
    return ("forecast", "block", "lead_time", *DIMS.get(key, ()))


def merge_counts(parts: Sequence[xr.Dataset], names: Sequence[str]) -> xr.Dataset:
    """Add counts of different cases, as if they had been counted together.

    `names`: of the parts, for messages.

    Errors: DataError, naming the part, if two do not belong together or contain the same case.
    """
    first = parts[0]
    for part, name in zip(parts, names, strict=True):
        _refuse_unlike(first, part, names[0], name)
    blocks = np.unique(np.concatenate([part["block"].values for part in parts]))
    merged: dict[str, Any] = {}
    for key, one in first.data_vars.items():
        if "block" not in one.dims:
            merged[str(key)] = one
            continue
        axis = one.dims.index("block")
        whole = np.zeros((*one.shape[:axis], blocks.size, *one.shape[axis + 1 :]), one.dtype)
        for part, name in zip(parts, names, strict=True):
            place = np.searchsorted(blocks, part["block"].values)
            if key == "minutes":
                _refuse_twice(whole[place] & part[key].values, part, name)
            whole[(slice(None),) * axis + (place,)] += part[key].values
        merged[str(key)] = (one.dims, whole, one.attrs)
    coords = {name: first[name] for name in first.coords if name != "block"}
    remarks = remarks_attr([remark for part in parts for remark in remarks_of(part)])
    return xr.Dataset(merged, {**coords, "block": blocks}, {**first.attrs, **remarks})


def merge_all_counts(
    parts: Sequence[Mapping[str, xr.Dataset]], names: Sequence[str]
) -> dict[str, xr.Dataset]:
    """Add counts of rates, and those of rain sums, each as `merge_counts`.

    Errors: as there; DataError, naming the part, if a part has other rain sums.
    """
    for part, name in zip(parts, names, strict=True):
        if set(part) != set(parts[0]):
            raise DataError(
                f"{name}: counted in another way than {names[0]} (accumulations differ); evaluate"
                " both in the same way."
            )
    return {group: merge_counts([part[group] for part in parts], names) for group in parts[0]}


def _refuse_unlike(first: xr.Dataset, part: xr.Dataset, first_name: str, name: str) -> None:
    unlike = [
        key
        for key in (*_ALIKE_ATTRS, "checkpoint_sha256", RATE_BY, CUTS_FITTED_ON)
        if first.attrs.get(key) != part.attrs.get(key)
    ]
    unlike += [
        key
        for key in (*_ALIKE, "has_probabilities")
        if (key in first) != (key in part) or (key in first and not _equal(first[key], part[key]))
    ]
    unlike += sorted(map(str, (set(first.data_vars) ^ set(part.data_vars)).difference(unlike)))
    if unlike:
        raise DataError(
            f"{name}: counted in another way than {first_name} ({', '.join(unlike)} differ);"
            " evaluate both in the same way."
        )


def _equal(a: xr.DataArray, b: xr.DataArray) -> bool:
    return bool(np.array_equal(a.values, b.values))


def _refuse_twice(both: Any, part: xr.Dataset, name: str) -> None:
    twice = np.flatnonzero(both)
    if twice.size:
        hour = part["block"].values[twice[0]]
        raise DataError(
            f"{name}: cases of {hour:.13} h UTC are also in another of these files; give each case"
            " once."
        )
