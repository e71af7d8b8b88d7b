"""The checks of the soak test: each forecast is correct, each missing one has a reason, no other
files exist, and memory and open files do not grow.
"""

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from soak_faults import SPOILT, Plan, Time, frame_name

Line = Mapping[str, Any]
"""The outcome of a cycle: one line of the log."""

_HISTORY = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ nowcast predict")
# attributes of a forecast that may name files from which it was not made
_OF_FILES = {"attribute method_reason", "attribute input_source_files"}
_CHECKSUM = 4  # bytes of HDF5's checksum of the header that contains the history

MAY_GROW = 0.05, 16 * 2**20  # share of the memory in the first quarter, and bytes
MAY_HOLD_MORE = 2  # file handles


def forecast_name(at: Time) -> str:
    return f"{at.astype('datetime64[s]').item():%Y%m%dT%H%MZ.nc}"


def is_of(line: Line, at: Time) -> bool:
    """Return whether a line of the log belongs to the cycle at that time."""
    return str(line.get("forecast_reference_time"))[:16] == str(at)[:16]


def read_lines(log: Path) -> list[Line]:
    """Return the cycles in a log. Errors: ValueError if a line is not JSON."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if "outcome" in line]


def difference(one: Path, other: Path, disturbed: bool = False) -> str | None:
    """Return how two forecast files differ, apart from their times of creation; None if no byte and
    no value differs.

    disturbed: whether other files than those of the forecast were damaged, late or duplicated; the
    attributes about files may differ then.
    """
    contents = [_HISTORY.sub(b"", path.read_bytes()) for path in (one, other)]
    here, there = _values(one), _values(other)
    names = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
    if disturbed and set(names) <= _OF_FILES:
        return None
    if not names and len(contents[0]) == len(contents[1]):
        a, b = (np.frombuffer(content, np.uint8) for content in contents)
        where = np.flatnonzero(a != b)
        if where.size == 0 or where[-1] - where[0] < _CHECKSUM:
            return None
    return ", ".join(names) or "bytes"


def _values(path: Path) -> dict[str, Any]:
    """Return all attributes and variables of a NetCDF file, except its history."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        stated = {
            f"attribute {name}": str(file.getncattr(name))
            for name in file.ncattrs()
            if name != "history"
        }
        return stated | {
            name: (variable.dimensions, variable[...].tobytes())
            for name, variable in file.variables.items()
        }


def wrong_forecasts(plan: Plan, folder: Path, expected: Mapping[Time, Path]) -> list[str]:
    """Return the problems with forecasts: missing, different from the expected one, or made from a
    frame that was not usable.
    """
    problems = []
    for at in plan.times:
        path = folder / forecast_name(at)
        if not path.exists():
            problems += [f"{path.name}: expected and absent"] * (at in expected)
        elif at not in expected:
            problems.append(f"{path.name}: forecast from a frame that could not be used")
        else:
            differs = difference(path, expected[at], plan.is_disturbed(at))
            problems += [
                f"{path.name}: differs from {expected[at].parent.parent.name} in {differs}"
            ] * (differs is not None)
    return problems


def unexplained(
    plan: Plan, expected: Iterable[Time], live: Sequence[Line], afterwards: Sequence[Line]
) -> list[str]:
    """Return the cycles without a forecast and without a logged reason, and the damaged files that
    no line of the log names.
    """
    there = set(expected)
    problems = [
        f"{at:.16}: no forecast and no reason"
        for at in plan.times
        if at not in there
        and not any(is_of(line, at) and line["exit_code"] and line["reason"] for line in afterwards)
    ]
    said = " ".join(
        " ".join([str(line.get("reason")), *map(str, line.get("remarks", []))]) for line in live
    )
    for at, kind in plan.faults.items():
        if kind in SPOILT and frame_name(at) not in said and f"{at:.16}" not in said:
            problems.append(f"{at:.16}: {kind}, which no line of the log names")
    return problems


def others_in(folder: Path, expected: Iterable[str]) -> list[str]:
    """Return the unexpected and the missing files of a folder."""
    found, wanted = {path.name for path in folder.iterdir()}, set(expected)
    return [f"{folder.name}/{name}: does not belong there" for name in sorted(found - wanted)] + [
        f"{folder.name}/{name}: is missing" for name in sorted(wanted - found)
    ]


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first and the last quarter."""
    length = max(1, len(values) // 4)
    return statistics.median(values[:length]), statistics.median(values[-length:])


def growth(memory: Sequence[float], handles: Sequence[float]) -> list[str]:
    """Return a problem if memory in bytes or the number of file handles, both given after each
    cycle, is larger at the end than at the beginning.
    """
    problems: list[str] = []
    if not memory:
        return problems
    (first, last), (share, more) = quarters(memory), MAY_GROW
    if last > first * (1 + share) + more:
        problems.append(f"memory grows from {first / 2**20:.0f} to {last / 2**20:.0f} MiB")
    first, last = quarters(handles)
    if last > first + MAY_HOLD_MORE:
        problems.append(f"open files grow from {first:g} to {last:g}")
    return problems
