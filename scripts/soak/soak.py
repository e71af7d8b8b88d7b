"""Soak test: does `nowcast predict --watch` survive a day of radar with many faults?

    python scripts/soak/soak.py --checkpoint runs/demo/best.pt --data data/radolan.nc
        [--start 2018-05-16T00:00] [--cycles 288] [--faults 0.25] [--seed 0] [--folder soak]

The day is played at high speed. Frames arrive one by one in a folder, which a process watches with
the settings of operation/five_minutes.yaml. Faults are drawn at random. At the end a back-fill of
the same period makes the forecasts that are still missing. The soak test checks that
  - every forecast equals that of an undisturbed run from the available frames, byte for byte except
    for its time of creation;
  - every cycle without a forecast has a reason in the log, and every damaged file is named there;
  - the folders contain nothing else;
  - the process needs no more memory and no more open files at the end than at the beginning;
  - no cycle takes longer than `--patience`.
The exit code is 1 if one of these checks fails. The fault "disk full" needs permission to mount a
small file system in memory.
"""

import argparse
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import soak_faults as faults
from soak_checks import (
    Line,
    forecast_name,
    growth,
    is_of,
    others_in,
    quarters,
    read_lines,
    unexplained,
    wrong_forecasts,
)
from soak_faults import KINDS, REACH, Plan, Time, frame_name, make_plan
from soak_play import Play, Settings, StuckError, Watcher, environment

STEP = Time(5, "m") - Time(0, "m")
HISTORY = 12  # frames that exist before the first cycle
DISK_MEGABYTES = 128


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system in memory at `folder`; yield whether that was possible."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "nowcast-soak", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and subprocess.run(["mount", *options], capture_output=True).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(settings: Settings, folder: Path, times: Sequence[Time]) -> list[Line]:
    """Make the missing forecasts of these times; return the lines of the log."""
    if times:
        words = settings.words(
            f"from={min(times):.16}", f"to={max(times):.16}", "output=forecasts/%Y%m%dT%H%MZ.nc",
            "keep_hours=null", "latest=null", "deadline=null", "log_file=log.jsonl", "status=null",
            "metrics=null",
        )  # fmt: skip
        with (folder / "stderr.txt").open("ab") as stderr:
            subprocess.run(
                words, cwd=folder, stdout=stderr, stderr=stderr, env=environment(), check=False
            )
    return read_lines(folder / "log.jsonl")


def affected(plan: Plan, frames: set[Time]) -> list[Time]:
    """Return the cycles whose forecast may depend on one of these frames."""
    return [at for at in plan.times if any(frame <= at <= frame + REACH * STEP for frame in frames)]


def reference(
    settings: Settings,
    folder: Path,
    clean: Path,
    lacking: set[Time],
    plan: Plan,
    known: Path | None,
) -> Path:
    """Run undisturbed over all frames except those in `lacking`; forecasts that do not depend on
    these are copied from `known`.
    """
    folder.mkdir()
    faults.copy_frames(clean, folder / "radar", lacking)
    times = list(plan.times) if known is None else affected(plan, lacking)
    if known is not None:
        (folder / "forecasts").mkdir()
        for at in set(plan.times) - set(times) - lacking:
            shutil.copyfile(known / forecast_name(at), folder / "forecasts" / forecast_name(at))
    fill(settings, folder, times)
    lacks = [
        forecast_name(at)
        for at in plan.times
        if at not in lacking and not (folder / "forecasts" / forecast_name(at)).exists()
    ]
    if lacks:
        raise StuckError(
            f"{folder}: the undisturbed run made no {lacks[0]}; see log.jsonl and stderr.txt there"
        )
    return folder / "forecasts"


def expected_forecasts(
    settings: Settings, folder: Path, clean: Path, play: Play
) -> dict[Time, Path]:
    """Return the expected forecast of each cycle, from the frames that were usable when it ran."""
    plan = play.plan
    undisturbed = reference(settings, folder / "undisturbed", clean, set(), plan, None)
    usable = reference(settings, folder / "usable frames", clean, plan.unusable, plan, undisturbed)
    passing = {
        at for at, kind in plan.faults.items() if kind in ("late frame", "differing duplicate")
    }
    then = reference(
        settings, folder / "frames usable then", clean, plan.unusable | passing, plan, usable
    )

    def where(at: Time) -> Path:
        return then if (at in play.live and plan.late_at(at)) or plan.doubtful_at(at) else usable

    return {at: where(at) / forecast_name(at) for at in plan.times if at not in plan.unusable}


def soak(
    settings: Settings,
    data: Path,
    times: Sequence[Time],
    kinds: Sequence[str],
    share: float,
    seed: int,
) -> list[str]:
    """Play the day, print a summary, and return the problems found."""
    folder = settings.folder
    played, clean = folder / "played", folder / "clean"
    before = [times[0] - k * STEP for k in range(HISTORY, 0, -1)]
    faults.split_frames(data, clean, [*before, *times])
    (folder / "kept" / "forecasts").mkdir(parents=True)
    faults.copy_frames(clean, played / "radar", set(times))
    (folder / "kept" / "radar").symlink_to(played.resolve() / "radar")
    with small_disk(played / "disk") as mounted:
        plan = make_plan(
            times, [kind for kind in kinds if kind != "disk full" or mounted], share, seed
        )
        watcher = Watcher(settings, played, "disk/forecasts")
        play = Play(plan, clean, watcher, folder / "kept" / "forecasts", random.Random(seed))
        try:
            play.run()
        except StuckError as stuck:
            play.problems.append(str(stuck))
        finally:
            if watcher.process is not None and watcher.process.poll() is None:
                watcher.end(signal.SIGKILL)
        problems = play.problems + folders_hold_what_they_should(play, before)
    live, afterwards = read_lines(watcher.log), fill(settings, folder / "kept", times)
    try:
        expected = expected_forecasts(settings, folder, clean, play)
    except StuckError as stuck:
        return [*problems, str(stuck)]
    problems += wrong_forecasts(plan, play.kept, expected) + unexplained(
        plan, expected, live, afterwards
    )
    longest = max(range(len(watcher.memory)), key=lambda k: len(watcher.memory[k]))
    problems += growth(watcher.memory[longest], watcher.handles[longest])
    summarise(play, live, afterwards, longest, mounted)
    return problems


def folders_hold_what_they_should(play: Play, before: Sequence[Time]) -> list[str]:
    """Check that the watched folder contains exactly the frames that arrived, and the output folder
    exactly the logged forecasts that are still kept, and latest.nc. Return the problems.
    """
    told = [line for line in read_lines(play.watcher.log) if line["outcome"] != "failed"]
    made = {at for at in play.plan.times if any(is_of(line, at) for line in told)}
    if not made:
        return ["no cycle was forecast"]
    keeps = Time(round(play.watcher.settings.keep_hours * 60), "m") - Time(0, "m")
    forecasts = {forecast_name(at) for at in made if max(made) - at < keeps}
    problems = others_in(play.forecasts, {*forecasts, "latest.nc"})
    problems += others_in(play.radar, {*play.landed, *map(frame_name, before)})
    problems += others_in(
        play.watcher.folder, {"radar", "disk", "log.jsonl", "status.json", "metrics", "stderr.txt"}
    )
    problems += others_in(play.watcher.folder / "metrics", {"nowcast.prom"})
    status = play.watcher.folder / "status.json"
    tells = status.exists() and "last_cycle" in json.loads(status.read_text())
    return problems + ["status.json names no cycle"] * (not tells)


def summarise(
    play: Play, live: Sequence[Line], afterwards: Sequence[Line], longest: int, mounted: bool
) -> None:
    """Print a summary."""
    plan, watcher = play.plan, play.watcher
    made = Counter(
        str(line["method"]) for line in live if line["outcome"] in ("forecast", "fallback")
    )
    later = Counter(
        str(line["method"]) for line in afterwards if line["outcome"] in ("forecast", "fallback")
    )
    failed = Counter(f"{line['exit_code']}" for line in live if line["outcome"] == "failed")
    suffered = Counter(plan.faults.values())
    rows = [
        (
            "cycles",
            f"{len(plan.times)}, {len(play.live)} forecast live, when their frame arrived",
        ),
        ("forecasts", _listed(made)),
        ("made by the back-fill", _listed(later)),
        ("without a forecast", f"{len(plan.unusable)}, each with its reason"),
        ("failed cycles by exit code", _listed(failed)),
        ("faults", _listed(suffered)),
        ("processes", f"{len(watcher.memory)}"),
        (
            "seconds a cycle",
            f"median {statistics.median(play.seconds):.1f}, longest {max(play.seconds):.1f}",
        ),
    ]
    if watcher.memory[longest]:
        memory, handles = quarters(watcher.memory[longest]), quarters(watcher.handles[longest])
        of = (
            f"first and last quarter of the {len(watcher.memory[longest])} cycles of the longest"
            " process"
        )
        rows.append(("memory", f"{memory[0] / 2**20:.0f} and {memory[1] / 2**20:.0f} MiB, {of}"))
        rows.append(("open files", f"{handles[0]:g} and {handles[1]:g}, likewise"))
    if not mounted:
        rows.append(("not tried", "disk full: a file system in memory could not be mounted"))
    print("\n".join(f"{name:28}{value}" for name, value in rows))


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/demo/best.pt"))
    parser.add_argument(
        "--data", type=Path, default=Path("data/radolan.nc"), help="a NetCDF series of 5 minutes"
    )
    parser.add_argument("--start", default="2018-05-16T00:00")
    parser.add_argument("--cycles", type=int, default=288)
    parser.add_argument(
        "--faults", type=float, default=0.25, help="share of the cycles with a fault"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=KINDS,
        default=KINDS,
        metavar="KIND",
        help=f"{', '.join(KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, default=Path("soak"), help="a new folder for all of it"
    )
    parser.add_argument("--patience", type=float, default=120, help="seconds a cycle may take")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        parser.error(f"{arguments.folder}: exists already; choose another folder.")
    methods = ["model", "extrapolation", "persistence", "none"]
    settings = Settings(
        arguments.checkpoint,
        arguments.folder,
        arguments.cycles / 12 / 8,
        methods,
        arguments.patience,
    )
    times = [Time(arguments.start, "ns") + k * STEP for k in range(arguments.cycles)]
    problems = soak(
        settings, arguments.data, times, arguments.kinds, arguments.faults, arguments.seed
    )
    print("\n".join(problems))
    print("NOT SURVIVED" if problems else "survived")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
