"""What is derived from each forecast: answers for places, next to its file; warnings by rule."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.config.predict import PredictConfig
from nowcast.files import written_whole
from nowcast.forecast.dataset import REFERENCE_TIME, open_forecast
from nowcast.places.place import Place, parse_place, read_places
from nowcast.places.rule import Rule, parse_rules
from nowcast.places.zone import zone_of
from nowcast.service.publication import PLACES_CSV, PLACES_JSON, forecast_path, has_codes

if TYPE_CHECKING:
    from nowcast.places.pixels import Pixels

STANDARD_OUTPUT = "-"
"""The file name that means printing the warnings."""

Warned = Mapping[str, Sequence[Mapping[str, Any]] | None]
"""The warnings of each rule, as in JSON; None if there is no forecast for any of its areas."""


def found_in(warned: Warned) -> list[Mapping[str, Any]]:
    """Return the warnings of all rules."""
    return [one for found in warned.values() for one in found or ()]


@dataclass(frozen=True)
class Questions:
    """Places and rules, read before the first forecast is made; areas: by the name of their
    rule.
    """

    places: Sequence[Place]
    rules: Sequence[Rule]
    areas: Mapping[str, Any]
    zone: tzinfo
    file: str | None

    def __bool__(self) -> bool:
        return bool(self.places or self.rules)

    def answer(
        self,
        forecast: xr.Dataset | None,
        observed: NDArray[np.float32] | None,
        path: Path,
        is_newest: bool = True,
    ) -> tuple[Warned, list[str]]:
        """Write the answers for the places of the forecast at `path`, and the warnings.

        forecast: None if the file existed before; then existing files of places are kept.
        observed: the newest frame (y, x) in mm/h, NaN = not covered; None if unavailable.
        is_newest: False keeps an existing file, which has the warnings of a newer forecast.
        Returns the warnings, and remarks on areas without a forecast.
        Errors: DataError if the forecast does not give the place of its pixels; CannotCreateError,
        InputOutputError.
        """
        is_new = forecast is not None
        are_there = all(_next_to(path, one).is_file() for one in (PLACES_CSV, PLACES_JSON))
        write_places = bool(self.places) and (is_new or not are_there)
        if not write_places and not self.rules:
            return {}, []
        from nowcast.places.pixels import pixels_of  # imports PROJ, which few forecasts need

        forecast = open_forecast(path) if forecast is None else forecast
        pixels = pixels_of(forecast, str(path))
        if write_places:
            self._write_places(forecast, observed, path, pixels)
        if not self.rules:
            return {}, []
        found, remarks = self.warned(forecast, pixels)
        self._write_warnings(found, forecast, path, is_new, is_newest)
        return found, remarks

    def warned(self, forecast: xr.Dataset, pixels: "Pixels") -> tuple[Warned, list[str]]:
        """Return the warnings of a forecast, and remarks on areas without a forecast."""
        from nowcast.places.warning import ends_too_early, warning_document, warnings_of

        found, remarks = dict[str, list[dict[str, Any]] | None](), list[str]()
        for rule in self.rules:
            warnings, unknown = warnings_of(forecast, rule, self.areas[rule.name], pixels)
            found[rule.name] = (
                None
                if warnings is None
                else [warning_document(one, forecast, self.zone) for one in warnings]
            )
            remarks += [*unknown, *ends_too_early(forecast, rule)]
        return found, remarks

    def _write_places(
        self,
        forecast: xr.Dataset,
        observed: NDArray[np.float32] | None,
        path: Path,
        pixels: "Pixels",
    ) -> None:
        from nowcast.places.answers import answers_of
        from nowcast.places.curve import curve_at, rate_at
        from nowcast.places.tables import as_csv, document_of

        answers = [
            answers_of(
                curve_at(forecast, place, pixels),
                None if observed is None else rate_at(observed, place, pixels),
            )
            for place in self.places
        ]
        document = document_of(forecast, answers, self.zone, path.name)
        _write(_next_to(path, PLACES_CSV), as_csv(answers, self.zone))
        _write(_next_to(path, PLACES_JSON), f"{_json(document, indent=1)}\n")

    def _write_warnings(
        self, found: Warned, forecast: xr.Dataset, path: Path, is_new: bool, is_newest: bool
    ) -> None:
        """Write one line per warning: into the file, or printed if the forecast is new."""
        lines = "".join(f"{_json({**one, 'forecast': str(path)})}\n" for one in found_in(found))
        if self.file == STANDARD_OUTPUT and is_new:
            print(lines, end="", flush=True)
        elif self.file not in (None, STANDARD_OUTPUT):
            assert self.file is not None
            time: Any = forecast[REFERENCE_TIME].values[()]
            file = forecast_path(self.file, time, "warnings.file")
            if is_newest or has_codes(self.file) or not file.exists():
                _write(file, lines)


def read_questions(config: PredictConfig) -> Questions:
    """Read the places, areas and the user's own map of a configuration, so that errors in them are
    reported before the first forecast.

    Errors: MissingInputError, DataError: naming file and line, or feature.
    """
    places = [] if config.places is None else read_places(config.places)
    if config.place is not None:
        places.append(parse_place("place", config.place))
    rules = parse_rules(config.warnings.rules)
    areas: dict[str, Any] = {rule.name: [] for rule in rules}
    for rule in rules:
        if rule.area is not None:
            from nowcast.places.areas import read_areas

            areas[rule.name] = read_areas(rule.area)
    zone = zone_of("timezone", config.timezone)
    if config.has_own_map:
        from nowcast.places.geojson import read_lines

        read_lines(config.page_map)
    return Questions(places, rules, areas, zone, config.warnings.file)


def _next_to(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.stem}{suffix}")


def _json(document: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent)


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
