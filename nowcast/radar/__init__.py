"""Radar files → one canonical grid of rain rates (time, y, x) in mm/h; also synthetic rain in the
same form.

Names are imported on first use: reading a configuration needs only `reading.options`.
"""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.radar.finding.files import find_files, newest_files, would_find
    from nowcast.radar.grid import RATE, build_grid, check_grid, timestep_of
    from nowcast.radar.reading.options import ReadOptions
    from nowcast.radar.reading.units import ZR_RELATIONS, dbz_to_rate, rate_factor, rate_to_dbz
    from nowcast.radar.series.opening import open_files, open_grid
    from nowcast.radar.synthetic import Weather, synthetic_frames, synthetic_grid, write_synthetic
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "finding.files": ("find_files", "newest_files", "would_find"),
            "grid": ("RATE", "build_grid", "check_grid", "timestep_of"),
            "reading.options": ("ReadOptions",),
            "reading.units": ("ZR_RELATIONS", "dbz_to_rate", "rate_factor", "rate_to_dbz"),
            "series.opening": ("open_files", "open_grid"),
            "synthetic": ("Weather", "synthetic_frames", "synthetic_grid", "write_synthetic"),
        },
    )

__all__ = [
    "RATE", "ZR_RELATIONS", "ReadOptions", "Weather", "build_grid", "check_grid", "dbz_to_rate",
    "find_files", "newest_files", "open_files", "open_grid", "rate_factor", "rate_to_dbz",
    "synthetic_frames", "synthetic_grid", "timestep_of", "would_find",
    "write_synthetic",
]  # fmt: skip

FACE = {
    "reading.options": "the options for reading files",
    "grid": "the canonical grid and its names",
    "times": "times and the regular clock",
    "finding.time_patterns": "time patterns in paths",
    "reading.file": "the description of one file",
    "reading.formats": "the formats and their readers",
    "reading.rates": "frames of a series in mm/h",
    "reading.storage": "files kept open between reads",
    "reading.units": "conversion of units to mm/h",
    "placing.georeference": "where pixels are",
    "placing.place": "where a grid lies, in words",
    "placing.north_up": "a regular grid, first row in the north",
    "placing.grid_match": "whether two grids match",
    "placing.regions": "parts of a grid",
    "placing.cropping": "boxes in degrees",
    "placing.resampling": "larger pixels, or the pixels of another grid",
    "remote.path": "addresses as paths",
    "remote.copies": "local copies of files on servers",
    "series.series": "many files as one series",
    "series.describing": "descriptions of files, and their problems",
    "series.building": "files ordered in time",
    "series.opening": "a series as one grid",
    "series.fields_ahead": "forecasts of further fields on the grid",
    "series.other_forecasts": "forecasts of rain by other programs",
    "series.fields": "further fields on the grid",
    "series.neighbours": "frames that do not fit their neighbours",
    "series.cadence": "a coarser clock",
    "store.store": "a store of prepared rain",
    "store.preparation": "the days of a store",
    "store.processes": "work in several processes",
    "inspection.inspection": "statistics and problems of a series",
    "inspection.survey": "a survey of files of any kind",
}
"""The modules that other rooms may import, and what each provides."""
