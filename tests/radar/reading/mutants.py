"""Damaged radar files, opened together with intact ones of their series in a process that may
crash.

    python tests/radar/reading/mutants.py FORMAT FIRST COUNT FOLDER

makes COUNT mutants, starting with number FIRST, in FOLDER and prints the outcome of each as a line
of JSON.
"""

import faulthandler
import gzip
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import originals

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import check_grid
from nowcast.radar.grid import TIMESTEP
from nowcast.radar.placing.georeference import place_differs, place_of_grid
from nowcast.radar.reading.file import ReadOptions
from nowcast.radar.series.opening import open_files

# of computing for one mutant, and ten times as many to wait; a sound file takes far less
SECONDS = 20
MEMORY = 4 * 2**30  # bytes of addresses
MAX_RATE = 1000.0
EXTREMES = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x7FFFFFFFFFFFFFFF,
    0xFFFFFFFFFFFFFFFF,
]


def _place(data: bytearray, random: Random) -> int:
    """A byte: every second time one of the first or the last 2048, where headers are."""
    near = min(len(data), 2048)
    return random.choice(
        [
            random.randrange(len(data)),
            random.randrange(near),
            len(data) - 1 - random.randrange(near),
        ][: random.choice([1, 3])]
    )


def _flip(data: bytearray, random: Random) -> None:
    for _ in range(random.choice([1, 1, 2, 4])):
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _overwrite(data: bytearray, random: Random) -> None:
    for _ in range(random.choice([1, 1, 3])):
        data[_place(data, random)] = random.choice([0, 1, 127, 128, 255, random.randrange(256)])


def _number(data: bytearray, random: Random) -> None:
    """A number of 2, 4 or 8 bytes becomes an extreme one."""
    size, order = random.choice([2, 4, 8]), random.choice(["little", "big"])
    at = _place(data, random) // size * size
    data[at : at + size] = (random.choice(EXTREMES) % 256**size).to_bytes(size, order)


def _word(data: bytearray, random: Random) -> None:
    """Replace a digit by another digit and a letter by another letter: the text stays well formed."""
    for _ in range(50):
        at = _place(data, random)
        if chr(data[at]) in "0123456789":
            data[at] = ord(random.choice("0123456789-. "))
            return
        if chr(data[at]).isascii() and chr(data[at]).isalpha() and random.random() < 0.3:
            data[at] = ord(random.choice("abcdeghmnprstxyzABEKMRSWY"))
            return


def _truncate(data: bytearray, random: Random) -> None:
    del data[random.choice([random.randrange(len(data)), _place(data, random)]) :]


def _insert(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    data[at:at] = random.randbytes(random.choice([1, 2, 8, 300]))


def _delete(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    del data[at : at + random.choice([1, 2, 8, 300])]


def _zero(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    size = min(random.choice([4, 64, 512, 4096]), len(data) - at)
    data[at : at + size] = bytes(size)


def _swap(data: bytearray, random: Random) -> None:
    size = min(random.choice([4, 64, 512]), len(data) // 2)
    a, b = sorted((_place(data, random), _place(data, random)))
    if a + size <= b and b + size <= len(data):
        data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


MUTATIONS: list[Callable[[bytearray, Random], None]] = [
    _flip, _flip, _overwrite, _overwrite, _number, _number, _word, _word, _word, _truncate, _insert,
    _delete, _zero, _swap,
]  # fmt: skip


def mutate(content: bytes, other: bytes, random: Random) -> bytes:
    """`content` with damage of one kind, now and then of two; or its head on the body of
    `other`, a file of its series.
    """
    data = bytearray(content)
    if random.random() < 0.05 and len(data) > 1:
        at = min(_place(data, random), len(other))
        return bytes(data[:at]) + other[at:]
    for _ in range(random.choice([1, 1, 1, 2])):
        if data:
            random.choice(MUTATIONS)(data, random)
    return bytes(data)


def _damaged(path: Path, other: Path, to: Path, random: Random) -> None:
    """A damaged copy of a file or store at `to`."""
    if path.is_dir():
        shutil.copytree(path, to)
        parts = sorted(part for part in to.rglob("*") if part.is_file())
        about = [
            part for part in parts if part.name in ("zarr.json", ".zarray", ".zattrs", ".zgroup")
        ]
        part = random.choice(random.choice([about, parts]))
        if random.random() < 0.05:
            part.unlink()
        else:
            twin = other / part.relative_to(to)
            part.write_bytes(
                mutate(part.read_bytes(), twin.read_bytes() if twin.is_file() else b"", random)
            )
        return
    content, second = path.read_bytes(), other.read_bytes()
    # damaged, then packed: its checksum holds
    if content.startswith(b"\x1f\x8b") and random.random() < 0.7:
        to.write_bytes(
            gzip.compress(mutate(gzip.decompress(content), gzip.decompress(second), random), 1)
        )
    else:
        to.write_bytes(mutate(content, second, random))


@dataclass(frozen=True)
class Sound:
    """The intact series: where its pixels are, and how far apart its frames."""

    place: dict[str, Any]
    shape: tuple[int, ...]
    timestep: float


@cache
def _sound(paths: tuple[Path, ...], options: ReadOptions) -> Sound:
    grid = open_files(list(paths), options)
    return Sound(
        place_of_grid(grid.drop_vars("time")),
        grid.precipitation_rate.shape[1:],
        grid.attrs[TIMESTEP],
    )


def wrong(paths: list[Path], mutant: Path, sound: Sound, options: ReadOptions) -> str:
    """Return what is silently wrong in a grid that opens in spite of the mutant, or "".

    Errors: those of nowcast.
    """
    grid = open_files(paths, options)
    check_grid(grid)
    shape, place, timestep = (
        grid.precipitation_rate.shape[1:],
        place_of_grid(grid.drop_vars("time")),
        grid.attrs[TIMESTEP],
    )
    series = grid.encoding["series"]
    mine = [file.path == mutant for file in series.files].index(True)
    values = grid.precipitation_rate[series.file_of == mine].values
    problems = {
        f"shape {shape}": shape != sound.shape,
        f"place: {place_differs(sound.place, place)}": place_differs(sound.place, place) != "",
        f"timestep {timestep}": timestep != sound.timestep,
        "values that are no rain": (
            not (((values >= 0) & (values <= MAX_RATE)) | np.isnan(values)).all()
        ),
    }
    return "; ".join(what for what, is_so in problems.items() if is_so)


def outcome(form: str, k: int, folder: Path, every: bool) -> dict[str, str]:
    """Return the outcome of mutant k: "opened" as the original grid, "refused" with our error, or
    "trouble".
    """
    random = Random(f"{form} {k}")
    series, options = random.choice(originals.of(form, folder, every))
    path, other = random.sample(series, 2)
    mutant = folder / str(k) / path.name
    mutant.parent.mkdir()
    sound = _sound(tuple(series), options)
    paths = [mutant if one == path else one for one in series]
    random.shuffle(paths)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _damaged(path, other, mutant, random)
            problem = wrong(paths, mutant, sound, options)
        result = {"is": "trouble", "why": problem} if problem else {"is": "opened"}
    except (DataError, MissingInputError) as error:
        readable = "\n" not in str(error) and any(str(one) in str(error) for one in paths)
        result = {
            "is": "refused" if readable else "trouble",
            "why": str(error).replace(str(mutant), "PATH"),
        }
    except Exception as error:  # whatever it is, it is what is looked for
        line = next(
            (
                f"{at.filename}:{at.lineno}"
                for at in reversed(traceback.extract_tb(error.__traceback__))
                if "/nowcast/" in at.filename
            ),
            "",
        )
        result = {"is": "trouble", "why": f"{type(error).__name__}: {error} ({line})"}
    if result["is"] != "trouble":
        shutil.rmtree(mutant.parent)
    return {"original": path.name, **result}


def outcomes(form: str, count: int, folder: Path, *, every: bool) -> list[dict[str, Any]]:
    """Return the outcome of each mutant of a format; a crash or hang of the process is "trouble".

    every: use large originals too.
    """
    done: list[dict[str, Any]] = []
    while len(done) < count:
        words = [
            sys.executable,
            __file__,
            form,
            str(len(done)),
            str(count - len(done)),
            str(folder),
            *(["every"] if every else []),
        ]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        ran = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        done += [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        if ran.returncode != 0:
            tail = " | ".join(ran.stderr.strip().splitlines()[-25:])
            done.append(
                {
                    "mutant": len(done),
                    "is": "trouble",
                    "why": f"the process ended with {ran.returncode}: {tail}",
                }
            )
    return done


def main(form: str, first: str, count: str, folder: str, every: str = "") -> None:
    faulthandler.enable()
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for k in range(int(first), int(first) + int(count)):
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends the process
        signal.alarm(10 * SECONDS)
        shutil.rmtree(Path(folder) / str(k), ignore_errors=True)
        print(
            json.dumps({"mutant": k, **outcome(form, k, Path(folder), every == "every")}),
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
