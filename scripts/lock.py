"""Write requirements/*.txt: what constraints.txt pins, each with the sha256 of every file of its
release, so for every platform.

    pip install uv && python scripts/lock.py

The Makefile installs from them, and pip then takes no archive that is another. PyTorch is not among
them, nor what only it brings: its builds for CPU and CUDA come from several places, each with sums
of its own, so only its version is held. Nor are the packages that pip fetches to build
antlr4-python3-runtime and pysteps, which have no wheel for every platform.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
SETS = {
    "install": (None, ()),
    "test": ("install", ("test",)),
    "dev": ("test", ("dev",)),
    "oracles": ("test", ("test", "oracles")),
    "docs": ("install", ("docs",)),
    "operation": ("install", ("formats", "baselines", "export")),
}
"""Each file, the file that it adds to, and the extras that it holds."""
BUILT_BY = ("hatchling", "editables")  # of nowcast itself
UNSAID = "eccodeslib; sys_platform != 'win32'"
"""What wheels need and their source package, by which uv goes, does not name: of eccodes."""
OF_TORCH = ("torch", "triton", "nvidia-", "cuda-")


def resolve(extras: tuple[str, ...]) -> dict[str, str]:
    """The packages that nowcast needs with these extras on any platform: name → its lines of a
    requirements file.
    """
    more = [*BUILT_BY, *([UNSAID] if {"formats", "test", "dev"} & set(extras) else [])]
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
    ]
    command += [
        "--no-header",
        "--no-annotate",
        "--constraint=constraints.txt",
        *(f"--extra={extra}" for extra in extras),
    ]
    done = subprocess.run(
        [*command, "pyproject.toml", "-"],
        cwd=ROOT,
        input="\n".join(more),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    packages: dict[str, str] = {}
    name = ""
    for line in done.stdout.splitlines(keepends=True):
        name = name if line[0] == " " else line.split("==")[0]
        packages[name] = packages.get(name, "") + line
    return {name: lines for name, lines in packages.items() if not name.startswith(OF_TORCH)}


def main() -> None:
    resolved = {name: resolve(extras) for name, (_, extras) in SETS.items()}
    FOLDER.mkdir(exist_ok=True)
    for name, (base, _) in SETS.items():
        known: set[str] = set()
        below = base
        while below is not None:
            known |= set(resolved[below])
            below = SETS[below][0]
        head = "# Written by scripts/lock.py\n" + (f"-r {base}.txt\n" if base else "")
        body = "".join(
            lines for package, lines in sorted(resolved[name].items()) if package not in known
        )
        (FOLDER / f"{name}.txt").write_text(head + body)


if __name__ == "__main__":
    main()
