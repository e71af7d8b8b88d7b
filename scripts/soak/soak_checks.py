"""What the soak proves: each forecast is the one it should be, each lacking one has a reason,
nothing else is there, nothing grows.
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
"""What became of a cycle, as the log has it."""

_HISTORY = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ nowcast predict")
# what a forecast says of files that it is not made of
_OF_FILES = {"attribute method_reason", "attribute input_source_files"}
_CHECKSUM = 4  # bytes of the checksum that HDF5 keeps of the header in which the history stands

MAY_GROW = 0.05, 16 * 2**20  # of the memory held in the first quarter, and bytes
MAY_HOLD_MORE = 2  # file handles


def forecast_name(at: Time) -> str:
    return f"{at.astype('datetime64[s]').item():%Y%m%dT%H%MZ.nc}"


def is_of(line: Line, at: Time) -> bool:
    """Whether a line of the log is of the cycle from that time."""
    return str(line.get("forecast_reference_time"))[:16] == str(at)[:16]


def read_lines(log: Path) -> list[Line]:
    """The cycles that a log tells of. Errors: ValueError where it has a line that is no JSON."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if "outcome" in line]


def difference(one: Path, other: Path, disturbed: bool = False) -> str | None:
    """How two forecast files differ, but for when each was made; None: in no byte and no value.

    disturbed: whether files beside those of the forecast were spoilt, late or twice; what it says
    of these may differ then.
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
    """All that a NetCDF file says, but its history."""
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
    """Forecasts that are not what they should be: absent, other than expected, or there
    although their frame never was.
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
    """Cycles without a forecast that no line gives the reason of, and spoilt files that no line
    names.
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
            problems.append(f"{at:.16}: {kind}, of which no line of the log speaks")
    return problems


def others_in(folder: Path, expected: Iterable[str]) -> list[str]:
    """What else is in a folder, and what is not there."""
    found, wanted = {path.name for path in folder.iterdir()}, set(expected)
    return [f"{folder.name}/{name}: does not belong there" for name in sorted(found - wanted)] + [
        f"{folder.name}/{name}: is gone" for name in sorted(wanted - found)
    ]


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and the last quarter."""
    length = max(1, len(values) // 4)
    return statistics.median(values[:length]), statistics.median(values[-length:])


def growth(memory: Sequence[float], handles: Sequence[float]) -> list[str]:
    """Whether a process holds more in the end than in the beginning: bytes of memory and
    numbers of file handles after each cycle.
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
