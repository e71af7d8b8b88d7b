"""`nowcast point`: print the forecast for a place, or for each place of a list."""

import json
from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path

import xarray as xr
from rich.console import Console
from rich.table import Table

from nowcast.config.point import PointConfig
from nowcast.console import console, printable
from nowcast.errors import DataError, UsageError
from nowcast.forecast.dataset import open_forecast
from nowcast.places.answers import Answers, answers_of
from nowcast.places.curve import curve_at
from nowcast.places.pixels import pixels_of
from nowcast.places.place import Place, parse_place, read_places
from nowcast.places.tables import document_of, table_of
from nowcast.places.words import forecast_in_words, in_words
from nowcast.places.zone import zone_of


def point(config: PointConfig, files: Sequence[str], as_json: bool) -> None:
    """Print the answers of each forecast file, in words or as one JSON document.

    Errors: UsageError without a file; DataError, after everything is printed, if a forecast does
    not cover the single place asked for.
    """
    if not files:
        raise UsageError(
            "point: give a forecast file, as 'nowcast point forecast.nc place=52.5,13.4'; see"
            " 'nowcast point --help'."
        )
    zone = zone_of("timezone", config.timezone)
    places = read_places(config.places) if config.places else [parse_place("place", config.place)]
    documents, unknown = [], ""
    for file in files:
        forecast = open_forecast(Path(file).expanduser())
        answers = answers_at(forecast, places, file)
        documents.append(document_of(forecast, answers, zone, file))
        if not as_json:
            print_answers(forecast, answers, zone, file, with_table=config.places is None)
        if config.places is None and answers[0].curve.status != "covered":
            unknown = unknown or f"{file}: {places[0].name}: {in_words(answers[0], zone)}"
    if as_json:
        print(json.dumps({"forecasts": documents}, indent=1, allow_nan=False))
    if unknown:
        raise DataError(f"{unknown} Give another place, or another forecast.")


def answers_at(forecast: xr.Dataset, places: Sequence[Place], where: str) -> list[Answers]:
    """Return the answers for each place. Errors: DataError if the pixels have no place."""
    pixels = pixels_of(forecast, where)
    return [answers_of(curve_at(forecast, place, pixels)) for place in places]


def print_answers(
    forecast: xr.Dataset, answers: Sequence[Answers], zone: tzinfo, file: str, with_table: bool
) -> None:
    """Print a sentence for each place, and the curve below it if a table is wanted."""
    screen = console(markup=False)
    screen.print(printable(f"{file}: {forecast_in_words(forecast, zone)}"), style="bold")
    for one in answers:
        said = printable(f"  {one.curve.place.name}: {in_words(one, zone)}")
        screen.print(said, soft_wrap=True)
        if with_table and one.curve.status == "covered":
            _print_table(screen, *table_of(one, zone))


def _print_table(screen: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, padding=(0, 2))
    for name in header:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    with screen.capture() as drawn:
        screen.print(table)
    # without the spaces that a table adds at the end of each line
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))
